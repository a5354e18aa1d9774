#include "pipeline/run_chunks.h"

#include <oneapi/tbb/parallel_pipeline.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "pipeline/run_context.h"

namespace vtissue::pipeline {
namespace {

/// What travels through the pipeline. Without an item the chunk failed or was given up on its way.
struct Token {
  std::uint64_t id = 0;
  std::shared_ptr<void> item;
};

/// Keeps the failure of the lowest id, so that equal input gives the same message whatever the threads did.
class FirstFailure {
 public:
  bool any() const { return any_.load(std::memory_order_acquire); }

  void record(std::uint64_t id) {
    std::lock_guard lock(mutex_);
    if (!error_ || id < id_) {
      id_ = id;
      error_ = std::current_exception();
    }
    any_.store(true, std::memory_order_release);
  }

  void rethrow() {
    try {
      std::rethrow_exception(error_);
    } catch (Error& error) {
      error.add("chunk {}", id_);
      throw;
    }
  }

 private:
  std::mutex mutex_;
  std::atomic<bool> any_ = false;
  std::uint64_t id_ = 0;
  std::exception_ptr error_;
};

class ChunkLine {
 public:
  ChunkLine(RunContext& ctx, std::uint64_t first, std::uint64_t count, const ChunkBody& body)
      : ctx_(ctx), end_(first + count), body_(body), next_id_(first) {}

  void run() {
    using tbb::filter_mode;
    const auto line =
        tbb::make_filter<void, Token>(filter_mode::serial_in_order,
                                      [this](tbb::flow_control& flow) { return next(flow); }) &
        tbb::make_filter<Token, Token>(filter_mode::parallel, [this](Token token) { return read(std::move(token)); }) &
        tbb::make_filter<Token, Token>(filter_mode::serial_in_order,
                                       [this](Token token) { return compute(std::move(token)); }) &
        tbb::make_filter<Token, void>(filter_mode::parallel, [this](Token token) { encode(std::move(token)); });
    const int tokens = std::max(1, ctx_.resources().in_flight);
    tbb::parallel_pipeline(static_cast<std::size_t>(tokens), line);
    if (failure_.any()) failure_.rethrow();
    if (gave_up_) ctx_.throw_if_stopped();
  }

 private:
  Token next(tbb::flow_control& flow) {
    while (next_id_ < end_ && !failure_.any()) {
      if (ctx_.stop_requested()) {
        gave_up_ = true;
        break;
      }
      const std::uint64_t id = next_id_++;
      try {
        if (!ctx_.chunks().has(id)) return {id, nullptr};
        ctx_.advance(body_.units(id));
      } catch (...) {
        failure_.record(id);
      }
    }
    flow.stop();
    return {};
  }

  Token read(Token token) {
    try {
      token.item = body_.read(token.id);
    } catch (...) {
      failure_.record(token.id);
    }
    return token;
  }

  /// After a failure the chunks under way are finished. After a stop only those already computed are:
  /// what a scheduler allows between SIGTERM and SIGKILL is short, and a read is cheap to repeat.
  Token compute(Token token) {
    if (!token.item) return token;
    if (ctx_.stop_requested()) {
      gave_up_ = true;
      token.item.reset();
      return token;
    }
    try {
      body_.compute(token.id, token.item.get());
    } catch (...) {
      failure_.record(token.id);
      token.item.reset();
    }
    return token;
  }

  void encode(Token token) {
    if (!token.item) return;
    try {
      const std::vector<std::byte> bytes = body_.encode(token.id, token.item.get());
      token.item.reset();
      ctx_.chunks().commit(token.id, bytes);
      ctx_.advance(body_.units(token.id));
    } catch (...) {
      failure_.record(token.id);
    }
  }

  RunContext& ctx_;
  std::uint64_t end_;
  const ChunkBody& body_;
  std::uint64_t next_id_;
  std::atomic<bool> gave_up_ = false;
  FirstFailure failure_;
};

}  // namespace

void run_chunks(RunContext& ctx, std::uint64_t first, std::uint64_t count, const ChunkBody& body) {
  ChunkLine(ctx, first, count, body).run();
}

}  // namespace vtissue::pipeline
