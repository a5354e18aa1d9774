#pragma once

#include <filesystem>
#include <functional>
#include <memory>
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

  /// Brings the graph's outputs up to date; `record_file` and `finished` as in ExecutorOptions. Says on stderr
  /// what ran. With --dry-run: checks what a run would check first, then as print_plan().
  void run(const pipeline::Graph& graph, const pipeline::RunFolders& folders,
           const std::filesystem::path& record_file = {},
           const std::function<void(const pipeline::Executor&, const Error* error)>& finished = {});

  /// What would run, and why; to stdout. Computes nothing, writes nothing.
  void print_plan(const pipeline::Graph& graph, const pipeline::RunFolders& folders);

 private:
  std::vector<pipeline::NodePlan> make_plan(const pipeline::Graph& graph, const pipeline::RunFolders& folders);
  void print(const std::vector<pipeline::NodePlan>& plans) const;
  const CommonOptions& options_;
  ThreadShares threads_;
  std::unique_ptr<pipeline::StopOnSignal> stop_;
  std::unique_ptr<pipeline::Progress> progress_;
};

}  // namespace vtissue::cli
