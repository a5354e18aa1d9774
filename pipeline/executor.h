#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "core/error.h"
#include "pipeline/graph.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"
#include "pipeline/run_context.h"
#include "pipeline/run_folders.h"
#include "pipeline/sharding.h"

namespace vtissue::pipeline {

enum class OutcomeKind {
  kRan,
  kUpToDate,
  kShard,  ///< this run's shard is there, the others are not yet: nothing was laid out
  kFailed,
  kInterrupted,
  kNotReached
};

std::string_view to_string(OutcomeKind kind);

/// How one stage ended.
struct StageOutcome {
  std::string name;
  OutcomeKind kind = OutcomeKind::kNotReached;
  std::vector<std::string> reasons;  ///< why it ran
  std::vector<Shard> missing;        ///< kShard: the shards that are not there
  std::string fingerprint;
  InputDigests inputs;
  std::map<std::string, ContentDigest, std::less<>> outputs;
  double wall_seconds = 0;
  std::vector<std::string> warnings;
  nlohmann::json reported = nlohmann::json::object();
};

class Executor;

struct ExecutorOptions {
  Resources resources;
  /// Replace outputs that no run of this folder wrote. Without it they are refused with Error kOutput.
  bool overwrite = false;
  /// `run.json`, which `finished` writes; refused like an output if something else lies there. Empty: none.
  std::filesystem::path record_file = {};
  /// Called under the lock once the stages have ended, with the error that ended them if one did; not where
  /// the run was refused or nothing came of it. What it throws beside an error is only logged.
  std::function<void(const Executor&, const Error*)> finished = {};
  /// Whether this run computes a shard, or lays out what shards have computed.
  Sharding sharding = {};
};

/// Everything that a run checks before it makes its first folder: preflight(), the state and work folders, the
/// record file. Writes nothing. Throws Error.
void check_before_run(const Graph& graph, const std::vector<NodePlan>& plans, const RunFolders& folders,
                      const std::filesystem::path& record_file, bool overwrite);

/// Brings a graph's outputs up to date. What a stage does for one of its outputs, in this order, is what
/// makes a kill at any moment harmless:
///
///  1. plan and preflight every stage that may run, before the first folder is made; again under the lock, where
///     the plan has changed by then; only then compute. What is refused leaves nothing behind.
///  2. the stage computes chunks, each committed under its fingerprint, and lays out its outputs under
///     temporary names (a folder output exists, empty, when run() starts).
///  3. the record is written with complete = false: from here the outputs in place are known as ours.
///  4. outputs are flushed and renamed; digests are taken; the record is written with complete = true.
///  5. the stage's parts are removed, and those that earlier runs for this output left (PartsLedger); also what
///     a killed run left of a stage that is up to date.
///
/// Runs of different shards work in one folder at the same time; each has a lock of its own, and what they share is
/// written by one of them at a time. A stage that is not divisible is run by the one that comes first.
///
/// Independent stages overlap, on Resources::threads threads in all. A stage whose inputs turn out to
/// have the content they had before does not run, though an earlier stage did (early cutoff).
class Executor {
 public:
  Executor(const Graph& graph, RunFolders folders, ExecutorOptions options, Progress& progress);
  ~Executor();

  /// Call once. Throws the first Error, with the stage's name as context, after other stages under way
  /// have ended at their current chunk; kInterrupted if `stop` ended it.
  void run(std::stop_token stop);

  /// In graph.order(); also after run() has thrown.
  const std::vector<StageOutcome>& outcomes() const;

  /// "stage.port" → path, digest, of the files that came from outside.
  struct OutsideInput {
    std::filesystem::path path;
    std::string sha256;
  };
  const std::map<std::string, OutsideInput>& outside_inputs() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vtissue::pipeline
