#include "pipeline/executor.h"

#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <mutex>
#include <optional>
#include <stdexcept>

#include "core/atomic_file.h"
#include "core/error.h"
#include "pipeline/lock.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

namespace {

fs::path parts_folder(const fs::path& work, const std::string& name, const std::string& fingerprint) {
  return work / (name + "-" + fingerprint.substr(0, 16));
}

/// "tile-0123456789abcdef" is a folder of parts of `tile`; "tile-set-…" is not.
bool is_parts_folder(const fs::path& folder, const std::string& name) {
  const std::string text = folder.filename().string();
  return text.size() == name.size() + 17 && text.starts_with(name + "-") &&
         text.find_first_not_of("0123456789abcdef", name.size() + 1) == std::string::npos;
}

void remove_quietly(const fs::path& path) {
  std::error_code failure;
  fs::remove_all(path, failure);
  if (failure) spdlog::warn("{}: cannot be removed: {}", path.string(), failure.message());
}

/// Outputs under their temporary names; what has not been published is removed again.
class TemporaryOutputs {
 public:
  explicit TemporaryOutputs(const Node& node) : node_(node) {
    for (const Port& port : node.stage->outputs()) {
      const fs::path& target = node.outputs.at(port.name);
      if (target.has_parent_path()) make_folder(target.parent_path());
      const fs::path temporary = temporary_name(target);
      remove_quietly(temporary);  // of a run that was killed
      if (port.is_folder) make_folder(temporary);
      paths_[port.name] = temporary;
    }
  }
  ~TemporaryOutputs() {
    for (const auto& [port, path] : paths_) remove_quietly(path);
  }
  TemporaryOutputs(const TemporaryOutputs&) = delete;
  TemporaryOutputs& operator=(const TemporaryOutputs&) = delete;

  const Bindings& paths() const { return paths_; }

  void check_written() const {
    for (const auto& [port, path] : paths_) {
      if (!fs::exists(path)) throw std::logic_error(node_.name + " ended without writing its output " + port);
    }
  }

  void publish_all() {
    for (const auto& [port, path] : paths_) publish(path, node_.outputs.at(port));
  }

 private:
  const Node& node_;
  Bindings paths_;
};

/// The folders that outputs go to must exist or be made before hours of work, not after.
void check_output_folders(const Node& node) {
  for (const auto& [port, path] : node.outputs) {
    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    make_folder(folder);
    if (::access(folder.c_str(), W_OK) != 0) throw_output_error(folder, "write to the folder", errno);
  }
}

}  // namespace

std::string_view to_string(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::kRan:
      return "ran";
    case OutcomeKind::kUpToDate:
      return "up to date";
    case OutcomeKind::kFailed:
      return "failed";
    case OutcomeKind::kInterrupted:
      return "interrupted";
    case OutcomeKind::kNotReached:
      return "not reached";
  }
  return "unknown";
}

struct Executor::Impl {
  Impl(const Graph& graph_in, RunFolders folders_in, ExecutorOptions options_in, Progress& progress_in)
      : graph(graph_in), folders(std::move(folders_in)), options(options_in), progress(progress_in) {}

  void run(std::stop_token outside_stop);
  void preflight(const std::vector<NodePlan>& plans);
  void run_flow_graph();
  void visit(NodeId id);
  void run_node(const NodePlan& plan, StageOutcome& outcome);
  void compute(const NodePlan& plan, const Bindings& outputs, RunContext& ctx);
  void put_in_place(const NodePlan& plan, TemporaryOutputs& temporary, StageOutcome& outcome);
  void remove_parts(const NodePlan& plan, RunContext& ctx);
  void keep_first(const Error* error, StageOutcome& outcome);
  std::map<std::string, InputState, std::less<>> input_states(NodeId id) const;
  StageOutcome& outcome_of(NodeId id) { return outcomes[position.at(id)]; }
  const StageOutcome& outcome_of(NodeId id) const { return outcomes[position.at(id)]; }

  const Graph& graph;
  RunFolders folders;
  ExecutorOptions options;
  Progress& progress;
  std::optional<DigestCache> digests;
  std::stop_source stop;
  std::map<NodeId, std::size_t> position;  ///< of a node in outcomes
  std::vector<StageOutcome> outcomes;      ///< each written by its own node only, read by those downstream
  std::map<std::string, OutsideInput> outside;
  std::mutex mutex;  ///< of the two below
  std::exception_ptr first_error;
  bool first_is_interruption = false;
};

void Executor::Impl::run(std::stop_token outside_stop) {
  graph.check();
  make_folder(folders.output);
  const FolderLock output_lock(folders.output, folders.state / "lock");
  std::optional<FolderLock> work_lock;
  if (folders.work_is_elsewhere()) work_lock.emplace(folders.work, folders.work / ".vtissue" / "lock");

  digests.emplace(folders.work / "digests.json");
  for (const NodeId id : graph.order()) {
    position[id] = outcomes.size();
    outcomes.emplace_back().name = graph.node(id).name;
  }
  const std::vector<NodePlan> plans = make_plan(graph, folders, *digests);
  for (const NodePlan& plan : plans) {
    for (const auto& [port, source] : graph.node(plan.node).inputs) {
      if (const auto* path = std::get_if<fs::path>(&source)) {
        outside[plan.name + "." + port] = {*path, plan.inputs.at(port)};
      }
    }
  }
  preflight(plans);

  const std::stop_callback forward(outside_stop, [this] { stop.request_stop(); });
  run_flow_graph();
  try {
    digests->save();
  } catch (const Error& error) {
    spdlog::warn("{}", error.what());  // only saves time later; must not hide why the run ended
  }
  if (first_error) std::rethrow_exception(first_error);
  if (stop.stop_requested() && std::any_of(outcomes.begin(), outcomes.end(), [](const StageOutcome& outcome) {
        return outcome.kind == OutcomeKind::kNotReached;
      })) {
    throw Error(ErrorCode::kInterrupted, "stopped as asked; what is done is kept, run the same command again to go on");
  }
}

void Executor::Impl::preflight(const std::vector<NodePlan>& plans) {
  for (const NodePlan& plan : plans) {
    if (plan.decision == Decision::kUpToDate) continue;
    const Node& node = graph.node(plan.node);
    try {
      if (!plan.foreign.empty() && !options.overwrite) {
        throw Error(ErrorCode::kOutput,
                    "{}: exists and was not written by an earlier run here; pass --overwrite to replace it or choose "
                    "another output",
                    plan.foreign.front().string());
      }
      check_output_folders(node);
      node.stage->preflight(available_inputs(graph, plan.node, plans));
    } catch (Error& error) {
      error.add_context(node.name);
      throw;
    }
  }
}

void Executor::Impl::run_flow_graph() {
  // An arena of our own bounds the threads of stages and of the pipelines inside them alike. oneTBB makes
  // threads for the cores it sees, which in a container is not what was granted: hence the control.
  const int threads = std::max(1, options.resources.threads);
  const tbb::global_control control(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  tbb::task_arena arena(threads);
  arena.execute([this] {
    using tbb::flow::continue_msg;
    using StageNode = tbb::flow::continue_node<continue_msg>;
    tbb::flow::graph flow;
    tbb::flow::broadcast_node<continue_msg> start(flow);
    std::map<NodeId, std::unique_ptr<StageNode>> nodes;
    for (const NodeId id : graph.order()) {
      nodes[id] = std::make_unique<StageNode>(flow, [this, id](const continue_msg&) {
        // Isolated: a thread that waits inside this stage must not pick up another stage and come back hours later.
        tbb::this_task_arena::isolate([this, id] { visit(id); });
        return continue_msg();
      });
      const std::vector<NodeId> upstream = graph.upstream(id);
      if (upstream.empty()) tbb::flow::make_edge(start, *nodes[id]);
      for (const NodeId other : upstream) tbb::flow::make_edge(*nodes[other], *nodes[id]);
    }
    start.try_put(continue_msg());
    flow.wait_for_all();
  });
}

/// Never throws: an exception would cancel the flow graph and with it stages that are to end in order.
void Executor::Impl::visit(NodeId id) {
  StageOutcome& outcome = outcome_of(id);
  for (const NodeId other : graph.upstream(id)) {
    const OutcomeKind kind = outcome_of(other).kind;
    if (kind != OutcomeKind::kRan && kind != OutcomeKind::kUpToDate) return;
  }
  if (stop.stop_requested()) return;
  const auto started = std::chrono::steady_clock::now();
  try {
    const NodePlan plan = decide(graph, id, input_states(id), folders, *digests);
    outcome.fingerprint = plan.fingerprint;
    outcome.inputs = plan.inputs;
    outcome.reasons = plan.reasons;
    if (plan.decision == Decision::kUpToDate) {
      outcome.outputs = plan.record->outputs;
      outcome.warnings = plan.record->warnings;
      outcome.reported = plan.record->reported;
      outcome.kind = OutcomeKind::kUpToDate;
    } else {
      run_node(plan, outcome);
      outcome.kind = OutcomeKind::kRan;
    }
  } catch (Error& error) {
    error.add_context(outcome.name);
    keep_first(&error, outcome);
  } catch (...) {
    keep_first(nullptr, outcome);
  }
  outcome.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  progress.stage_finished(outcome.name, to_string(outcome.kind));
}

void Executor::Impl::keep_first(const Error* error, StageOutcome& outcome) {
  const bool interruption = error != nullptr && error->code() == ErrorCode::kInterrupted;
  outcome.kind = interruption ? OutcomeKind::kInterrupted : OutcomeKind::kFailed;
  std::lock_guard lock(mutex);
  // Stages that end because another failed are not what the user needs to hear of.
  if (!first_error || (first_is_interruption && !interruption)) {
    first_error = std::current_exception();
    first_is_interruption = interruption;
  } else if (!interruption && error != nullptr) {
    spdlog::error("{}", error->what());
  }
  stop.request_stop();
}

std::map<std::string, InputState, std::less<>> Executor::Impl::input_states(NodeId id) const {
  std::map<std::string, InputState, std::less<>> states;
  for (const auto& [port, source] : graph.node(id).inputs) {
    if (const auto* ref = std::get_if<OutputRef>(&source)) {
      const StageOutcome& producer = outcome_of(ref->node);
      states[port] = {producer.outputs.at(ref->port).sha256, producer.name};
    } else {
      states[port] = {outside.at(graph.node(id).name + "." + port).sha256, {}};
    }
  }
  return states;
}

void Executor::Impl::run_node(const NodePlan& plan, StageOutcome& outcome) {
  for (const std::string& reason : plan.reasons) spdlog::debug("{}: runs: {}", plan.name, reason);
  RunContext ctx(plan.name, ChunkStore(parts_folder(folders.work, plan.name, plan.fingerprint)), options.resources,
                 progress, stop.get_token());
  TemporaryOutputs temporary(graph.node(plan.node));
  try {
    compute(plan, temporary.paths(), ctx);
    temporary.check_written();
  } catch (...) {
    outcome.warnings = ctx.warnings();
    outcome.reported = ctx.reported();
    throw;
  }
  outcome.warnings = ctx.warnings();
  outcome.reported = ctx.reported();
  put_in_place(plan, temporary, outcome);
  remove_parts(plan, ctx);
}

void Executor::Impl::compute(const NodePlan& plan, const Bindings& outputs, RunContext& ctx) {
  Bindings inputs;
  for (const auto& [port, source] : graph.node(plan.node).inputs) inputs[port] = graph.path_of(source);
  graph.node(plan.node).stage->run(inputs, outputs, ctx);
}

void Executor::Impl::put_in_place(const NodePlan& plan, TemporaryOutputs& temporary, StageOutcome& outcome) {
  const Node& node = graph.node(plan.node);
  ArtifactRecord record;
  record.stage = node.stage->name();
  record.stage_format = node.stage->format_version();
  record.fingerprint = plan.fingerprint;
  record.identity = node.stage->identity();
  record.inputs = plan.inputs;
  record.warnings = outcome.warnings;
  record.reported = outcome.reported;
  const fs::path path = record_path(folders.state, node.name);
  write_record(path, record);
  temporary.publish_all();
  for (const auto& [port, output] : node.outputs) record.outputs[port] = digests->digest(output);
  record.complete = true;
  write_record(path, record);
  outcome.outputs = record.outputs;
}

/// The result is safe by now: what cannot be removed costs space, not the run.
void Executor::Impl::remove_parts(const NodePlan& plan, RunContext& ctx) {
  try {
    ctx.chunks().clear();
  } catch (const Error& error) {
    spdlog::warn("{}", error.what());
  }
  std::error_code absent;
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(folders.work, absent)) {
    if (is_parts_folder(entry.path(), plan.name)) stale.push_back(entry.path());
  }
  for (const fs::path& folder : stale) remove_quietly(folder);
}

Executor::Executor(const Graph& graph, RunFolders folders, ExecutorOptions options, Progress& progress)
    : impl_(std::make_unique<Impl>(graph, std::move(folders), options, progress)) {}

Executor::~Executor() = default;

void Executor::run(std::stop_token stop) { impl_->run(std::move(stop)); }

const std::vector<StageOutcome>& Executor::outcomes() const { return impl_->outcomes; }

const std::map<std::string, Executor::OutsideInput>& Executor::outside_inputs() const { return impl_->outside; }

}  // namespace vtissue::pipeline
