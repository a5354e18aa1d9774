#include "pipeline/run_context.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "core/error.h"
#include "pipeline/shard.h"

namespace vtissue::pipeline {

RunContext::RunContext(std::string stage, ChunkStore chunks, Resources resources, Progress& progress,
                       std::stop_token stop, std::map<std::string, std::string, std::less<>> inputs,
                       std::optional<Shard> shard)
    : stage_(std::move(stage)),
      chunks_(std::move(chunks)),
      resources_(resources),
      progress_(progress),
      stop_(std::move(stop)),
      inputs_(std::move(inputs)),
      shard_(shard) {}

ChunkIds RunContext::share(std::uint64_t count) {
  if (!shard_) return count;
  const ChunkIds own = share_of(count, *shard_);
  for (std::uint64_t id = own.first; id < own.first + own.count; ++id) add_to_shard(id);
  return own;
}

void RunContext::add_to_shard(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  shard_chunks_.push_back(id);
}

std::vector<std::uint64_t> RunContext::shard_chunks() const {
  std::lock_guard lock(mutex_);
  return shard_chunks_;
}

std::string RunContext::input_sha256(std::string_view port, const std::filesystem::path& path) const {
  const auto known = inputs_.find(port);
  return known != inputs_.end() ? known->second : DigestCache().digest(path).sha256;
}

void RunContext::set_total(std::int64_t units, std::string_view unit) { progress_.stage_started(stage_, units, unit); }

void RunContext::advance(std::int64_t units) {
  // Told under the lock: the display must not see an older count after a newer one.
  std::lock_guard lock(mutex_);
  done_ += units;
  progress_.advanced(stage_, done_);
}

void RunContext::throw_if_stopped() const {
  if (stop_requested()) {
    throw Error(ErrorCode::kInterrupted, "stopped as asked; what is done is kept, run the same command again to go on");
  }
}

void RunContext::warn(std::string message) {
  spdlog::warn("{}: {}", stage_, message);
  std::lock_guard lock(mutex_);
  warnings_.push_back(std::move(message));
}

void RunContext::report(std::string_view key, nlohmann::json value) {
  std::lock_guard lock(mutex_);
  reported_[std::string(key)] = std::move(value);
}

std::vector<std::string> RunContext::warnings() const {
  std::lock_guard lock(mutex_);
  return warnings_;
}

nlohmann::json RunContext::reported() const {
  std::lock_guard lock(mutex_);
  return reported_;
}

}  // namespace vtissue::pipeline
