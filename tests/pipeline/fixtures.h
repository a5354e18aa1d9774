#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/hash.h"
#include "pipeline/executor.h"
#include "pipeline/graph.h"
#include "pipeline/progress.h"
#include "pipeline/run_context.h"

namespace vtissue::pipeline::testing {

/// A folder of the test's own, removed at its end.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (parent() / "vtissue-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  /// Memory if there is some: these tests flush thousands of files.
  static std::filesystem::path parent() {
    if (std::getenv("TMPDIR") == nullptr && ::access("/dev/shm", W_OK) == 0) return "/dev/shm";
    return std::filesystem::temp_directory_path();
  }
  std::filesystem::path path_;
};

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void spill(const std::filesystem::path& path, std::string_view text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
}

/// The Error that `body` throws; fails the test if it does not.
template <typename Body>
Error expect_error(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error was thrown";
  return Error(ErrorCode::kUsage, "none");
}

/// What a FakeStage counts over all its runs.
struct Counts {
  std::atomic<int> runs = 0;
  std::atomic<int> computed = 0;
  std::atomic<int> alive = 0;
  std::atomic<int> most_alive = 0;
};

/// An item that is counted while it exists.
class CountedItem {
 public:
  CountedItem(std::shared_ptr<Counts> counts, std::string text) : counts_(std::move(counts)), text_(std::move(text)) {
    const int now = ++counts_->alive;
    int most = counts_->most_alive;
    while (now > most && !counts_->most_alive.compare_exchange_weak(most, now)) {
    }
  }
  CountedItem(CountedItem&& other) noexcept : counts_(std::move(other.counts_)), text_(std::move(other.text_)) {}
  ~CountedItem() {
    if (counts_) --counts_->alive;
  }
  std::string& text() { return text_; }

 private:
  std::shared_ptr<Counts> counts_;
  std::string text_;
};

/// A stage whose output is a function of inputs, identity and chunk ids, in chunks.
class FakeStage : public Stage {
 public:
  explicit FakeStage(std::string name) : name_(std::move(name)) {}

  std::string_view name() const override { return name_; }
  int format_version() const override { return format; }
  std::vector<Port> inputs() const override { return input_ports; }
  std::vector<Port> outputs() const override { return output_ports; }
  nlohmann::json identity() const override { return settings; }
  void preflight(const Bindings& available) const override {
    if (on_preflight) on_preflight(available);
  }
  bool divisible(const Bindings&) const override { return divided; }
  Estimate estimate(const Bindings&) const override { return {.chunks = static_cast<std::int64_t>(chunks)}; }

  void run(const Bindings& in, const Bindings& out, RunContext& ctx) const override {
    ++counts->runs;
    std::string seen;
    for (const auto& [port, path] : in) {
      const std::string text = std::filesystem::is_directory(path) ? slurp(path / "data") : slurp(path);
      seen += port + "=" + (use_inputs ? text : "") + ";";
    }
    const ChunkIds own = ctx.share(chunks);
    ctx.set_total(static_cast<std::int64_t>(own.count), "chunks");
    for_each_chunk<CountedItem>(
        ctx, own,
        [&](std::uint64_t id) {
          if (on_read) on_read(id);
          return CountedItem(counts, fmt::format("{} {} {}", seen, settings.dump(), id));
        },
        [&](std::uint64_t id, CountedItem& item) {
          if (on_compute) on_compute(id);
          ++counts->computed;
          item.text() += " computed\n";
        },
        [&](std::uint64_t id, CountedItem& item) {
          if (on_encode) on_encode(id);
          const auto bytes = std::as_bytes(std::span(item.text()));
          return std::vector<std::byte>(bytes.begin(), bytes.end());
        });
    if (ctx.shard()) return;
    if (on_layout) on_layout(ctx);
    std::string all;
    for (std::uint64_t id = 0; id < chunks; ++id) {
      const std::vector<std::byte> part = ctx.chunks().read(id).value();
      all.append(reinterpret_cast<const char*>(part.data()), part.size());
    }
    for (const Port& port : output_ports) {
      if (port.is_folder) {
        spill(out.at(port.name) / "data", all);
        spill(out.at(port.name) / "index.json", nlohmann::json{{"data", sha256(all)}}.dump());
      } else {
        spill(out.at(port.name), all);
      }
    }
  }

  std::vector<Port> input_ports;
  std::vector<Port> output_ports = {{"out"}};
  nlohmann::json settings = {{"size_px", 128}};
  int format = 1;
  std::uint64_t chunks = 8;
  bool divided = true;
  bool use_inputs = true;  ///< false: the output does not depend on what the inputs contain
  std::function<void(std::uint64_t)> on_read, on_compute, on_encode;
  std::function<void(RunContext&)> on_layout;
  std::function<void(const Bindings&)> on_preflight;
  std::shared_ptr<Counts> counts = std::make_shared<Counts>();

 private:
  std::string name_;
};

/// slide → tile → embed → stitch, and tile → count on the side.
struct FakeLine {
  std::shared_ptr<FakeStage> tile = std::make_shared<FakeStage>("tile");
  std::shared_ptr<FakeStage> embed = std::make_shared<FakeStage>("embed");
  std::shared_ptr<FakeStage> stitch = std::make_shared<FakeStage>("stitch");
  std::shared_ptr<FakeStage> count = std::make_shared<FakeStage>("count");

  FakeLine() {
    tile->input_ports = {{"slide"}};
    embed->input_ports = {{"tiles"}};
    stitch->input_ports = {{"features"}};
    count->input_ports = {{"tiles"}};
    embed->output_ports = {{.name = "out", .is_folder = true}};
  }

  Graph graph(const std::filesystem::path& slide, const std::filesystem::path& out) const {
    Graph graph;
    const NodeId tile_id = graph.add({tile, {{"slide", slide}}, {{"out", out / "tiles"}}});
    const NodeId embed_id = graph.add({embed, {{"tiles", OutputRef{tile_id, "out"}}}, {{"out", out / "features"}}});
    graph.add({stitch, {{"features", OutputRef{embed_id, "out"}}}, {{"out", out / "virtual"}}});
    graph.add({count, {{"tiles", OutputRef{tile_id, "out"}}}, {{"out", out / "counts"}}});
    return graph;
  }

  std::vector<int> runs() const {
    return {tile->counts->runs, embed->counts->runs, stitch->counts->runs, count->counts->runs};
  }
};

/// Runs a graph into `out` and returns the outcomes.
inline std::vector<StageOutcome> execute(const Graph& graph, const std::filesystem::path& out,
                                         ExecutorOptions options = {.resources = {.threads = 2, .in_flight = 3}},
                                         std::stop_token stop = {}) {
  const std::unique_ptr<Progress> progress = make_progress(ProgressStyle::kOff);
  Executor executor(graph, folders_for_run(out), options, *progress);
  executor.run(stop);
  return executor.outcomes();
}

/// Name → content of all results below a folder, without the engine's own files.
inline std::map<std::string, std::string> results_in(const std::filesystem::path& out) {
  std::map<std::string, std::string> results;
  if (!std::filesystem::exists(out)) return results;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(out)) {
    const std::string name = entry.path().lexically_relative(out).string();
    if (entry.is_regular_file() && !name.starts_with(".vtissue")) results[name] = slurp(entry.path());
  }
  return results;
}

}  // namespace vtissue::pipeline::testing
