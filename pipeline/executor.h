#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "pipeline/graph.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"
#include "pipeline/run_context.h"
#include "pipeline/run_folders.h"

namespace vtissue::pipeline {

enum class OutcomeKind { kRan, kUpToDate, kFailed, kInterrupted, kNotReached };

std::string_view to_string(OutcomeKind kind);

/// How one stage ended.
struct StageOutcome {
  std::string name;
  OutcomeKind kind = OutcomeKind::kNotReached;
  std::vector<std::string> reasons;  ///< why it ran
  std::string fingerprint;
  InputDigests inputs;
  std::map<std::string, ContentDigest, std::less<>> outputs;
  double wall_seconds = 0;
  std::vector<std::string> warnings;
  nlohmann::json reported = nlohmann::json::object();
};

struct ExecutorOptions {
  Resources resources;
  /// Replace outputs that no run of this folder wrote. Without it they are refused with Error kOutput.
  bool overwrite = false;
};

/// Brings a graph's outputs up to date. What a stage does for one of its outputs, in this order, is what
/// makes a kill at any moment harmless:
///
///  1. under the lock, plan; preflight every stage that may run; only then compute.
///  2. the stage computes chunks, each committed under its fingerprint, and lays out its outputs under
///     temporary names (a folder output exists, empty, when run() starts).
///  3. the record is written with complete = false: from here the outputs in place are known as ours.
///  4. outputs are flushed and renamed; digests are taken; the record is written with complete = true.
///  5. the stage's parts, and those of its other fingerprints, are removed.
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
