#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/common_options.h"
#include "pipeline/executor.h"
#include "pipeline/graph.h"
#include "pipeline/run_folders.h"

namespace vtissue::pipeline {
class StopOnSignal;
}

namespace vtissue::cli {

/// How --threads is divided between the networks' OpenMP team and readers, codecs and writers.
struct ThreadShares {
  int device = 1;
  int io = 1;
};
ThreadShares share_threads(int threads);

/// Logging, signals and progress of one invocation, and what is done with a graph. One at a time.
class Session {
 public:
  explicit Session(const CommonOptions& options);
  ~Session();

  const CommonOptions& options() const { return options_; }
  ThreadShares threads() const { return threads_; }
  std::stop_token stop_token() const;

  /// Brings the graph's outputs up to date, or computes a shard; `sharding`, `record_file` and `finished` as in
  /// ExecutorOptions. Says on stderr what ran. With --dry-run: checks what a run would check first, then as
  /// print_plan().
  void run(const pipeline::Graph& graph, const pipeline::RunFolders& folders, const pipeline::Sharding& sharding = {},
           const std::filesystem::path& record_file = {},
           const std::function<void(const pipeline::Executor&, const Error* error)>& finished = {});

  /// What would run, and why, in shards, too; to stdout. Computes nothing, writes nothing.
  /// Returns the names of the stages that would or may run.
  std::vector<std::string> print_plan(const pipeline::Graph& graph, const pipeline::RunFolders& folders,
                                      const pipeline::Sharding& sharding = {});

 private:
  std::vector<pipeline::NodePlan> make_plan(const pipeline::Graph& graph, const pipeline::RunFolders& folders);
  void print(const pipeline::Graph& graph, const std::vector<pipeline::NodePlan>& plans,
             const pipeline::Sharding& sharding) const;
  const CommonOptions& options_;
  ThreadShares threads_;
  std::unique_ptr<pipeline::StopOnSignal> stop_;
  std::unique_ptr<pipeline::Progress> progress_;
};

}  // namespace vtissue::cli
