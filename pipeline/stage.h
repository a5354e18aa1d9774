#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vtissue::pipeline {

class RunContext;
struct Shard;

/// A named input or output of a stage: one file, or one folder that has an `index.json`.
struct Port {
  std::string name;        ///< unique among the stage's inputs or outputs: "slide", "tiles", "features" …
  bool optional = false;   ///< inputs only: may be left unbound
  bool is_folder = false;  ///< outputs: a folder instead of a file
};

/// Port name → path. An unbound optional input is absent.
using Bindings = std::map<std::string, std::filesystem::path, std::less<>>;

/// What `vtissue plan` shows of a stage that would run. Unknown figures stay empty.
struct Estimate {
  std::optional<std::int64_t> chunks;
  std::optional<double> seconds;
  std::optional<std::int64_t> memory_bytes;
  std::optional<std::int64_t> disk_bytes;
  std::string note;  ///< "192 tiles of 128 px"
};

/// One step of the line. Immutable; run() may be called from any thread, one call at a time for each
/// output. The same object serves the subcommand and the graph, so that both give equal bytes.
class Stage {
 public:
  virtual ~Stage() = default;

  virtual std::string_view name() const = 0;

  /// Raised when the bytes of the outputs change for equal inputs and identity.
  virtual int format_version() const = 0;

  virtual std::vector<Port> inputs() const = 0;
  virtual std::vector<Port> outputs() const = 0;

  /// Everything besides the inputs' contents that decides the outputs' bytes: parameters, digests of
  /// weights, numerics class, micro-batch. Never: threads, --in-flight, paths, times.
  virtual nlohmann::json identity() const = 0;

  /// Checks what can be checked without computing; inputs that an earlier stage has yet to make are
  /// absent. Throws Error.
  virtual void preflight(const Bindings& /*available_inputs*/) const {}

  /// Of a folder bound to an input port: the files that the stage reads, relative to the folder, which alone
  /// then decide whether it runs again. Nothing: all of them. Throws Error kBadInput if the folder is not one
  /// the stage can read.
  virtual std::optional<std::vector<std::filesystem::path>> files_read(std::string_view /*port*/,
                                                                       const std::filesystem::path& /*folder*/) const {
    return std::nullopt;
  }

  /// `available_inputs` as in preflight().
  virtual Estimate estimate(const Bindings& /*available_inputs*/) const { return {}; }

  /// Whether the work on these inputs can be computed in shards: run() with a RunContext::shard() commits the share's
  /// chunks and returns without touching `outputs`, which is empty then; run() without one, where the chunks of all
  /// shards are there, lays them out and gives the same bytes as if it had computed them.
  virtual bool divisible(const Bindings& /*inputs*/) const { return false; }

  /// estimate() of one shard's work.
  virtual Estimate estimate_shard(const Bindings& available_inputs, Shard shard) const;

  /// Computes the outputs. `outputs` are temporary paths beside their targets; the engine flushes and
  /// renames them when run() has returned. Work is committed through ctx.chunks() as it is done, so
  /// that a repeated call after a kill goes on from the last committed chunk and ends in equal bytes.
  /// Ends with Error kInterrupted (RunContext::throw_if_stopped) after the current chunk when a stop
  /// is asked for. Throws Error.
  virtual void run(const Bindings& inputs, const Bindings& outputs, RunContext& ctx) const = 0;
};

}  // namespace vtissue::pipeline
