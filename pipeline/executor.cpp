#include "pipeline/executor.h"

#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>

#include "core/atomic_file.h"
#include "core/error.h"
#include "pipeline/lock.h"
#include "pipeline/parts_folder.h"
#include "pipeline/run_record.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

namespace {

/// Outputs under their temporary names; what has not been published is removed again.
class TemporaryOutputs {
 public:
  explicit TemporaryOutputs(const Node& node) : node_(node) {
    for (const Port& port : node.stage->outputs()) {
      const fs::path& target = node.outputs.at(port.name);
      if (target.has_parent_path()) make_folder(target.parent_path());
      const fs::path temporary = temporary_name(target);
      remove_leftovers(target);  // of a run that was killed
      if (port.is_folder) make_folder(temporary);
      paths_[port.name] = temporary;
    }
  }
  ~TemporaryOutputs() {
    std::error_code ignored;
    for (const auto& [port, path] : paths_) fs::remove_all(path, ignored);
  }
  TemporaryOutputs(const TemporaryOutputs&) = delete;
  TemporaryOutputs& operator=(const TemporaryOutputs&) = delete;

  const Bindings& paths() const { return paths_; }

  void check_written() const {
    for (const auto& [port, path] : paths_) {
      std::error_code absent;
      if (!fs::exists(path, absent)) throw std::logic_error(node_.name + " ended without writing its output " + port);
    }
  }

  void publish_all() {
    for (const auto& [port, path] : paths_) publish(path, node_.outputs.at(port));
  }

 private:
  const Node& node_;
  Bindings paths_;
};

/// Stages of one run that got somewhere. A run without any leaves nothing behind.
bool achieved_something(const std::vector<StageOutcome>& outcomes) {
  return std::any_of(outcomes.begin(), outcomes.end(), [](const StageOutcome& outcome) {
    return outcome.kind == OutcomeKind::kRan || outcome.kind == OutcomeKind::kUpToDate ||
           outcome.kind == OutcomeKind::kInterrupted || outcome.kind == OutcomeKind::kShard;
  });
}

bool holds_only(const fs::path& folder, std::string_view name) {
  std::error_code failure;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure)) {
    if (entry->path().filename() != name) return false;
  }
  return !failure;
}

constexpr std::string_view kLockName = "lock";
constexpr std::string_view kJoinLockName = "join.lock";

/// Locks of the output folder: one run, or one run of each shard.
struct OutputLocks {
  FolderLock folder;
  std::optional<FolderLock> shard;
};

OutputLocks lock_output(const RunFolders& folders, const std::optional<Shard>& own) {
  const fs::path file = folders.state / kLockName;
  if (!own) return {FolderLock(folders.output, file), std::nullopt};
  OutputLocks locks{FolderLock::shared(folders.output, file), std::nullopt};
  try {
    locks.shard.emplace(folders.output, shard_path(file, *own));
  } catch (Error& error) {
    error.add_context(fmt::format("shard {}", to_string(*own)));
    throw;
  }
  return locks;
}

}  // namespace

std::string_view to_string(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::kRan:
      return "ran";
    case OutcomeKind::kUpToDate:
      return "up to date";
    case OutcomeKind::kShard:
      return "shard done";
    case OutcomeKind::kFailed:
      return "failed";
    case OutcomeKind::kInterrupted:
      return "interrupted";
    case OutcomeKind::kNotReached:
      return "not reached";
  }
  return "unknown";
}

void check_before_run(const Graph& graph, const std::vector<NodePlan>& plans, const RunFolders& folders,
                      const fs::path& record_file, bool overwrite) {
  preflight(graph, plans, overwrite);
  for (const fs::path& folder : {folders.state, folders.work}) require_writable(folder);
  std::error_code absent;
  if (!record_file.empty() && !overwrite && fs::exists(record_file, absent) && !is_run_record(record_file)) {
    throw_foreign(record_file);
  }
}

struct Executor::Impl {
  Impl(const Graph& graph_in, RunFolders folders_in, ExecutorOptions options_in, Progress& progress_in)
      : graph(graph_in), folders(std::move(folders_in)), options(options_in), progress(progress_in) {}

  void run(const Executor& self, std::stop_token outside_stop);
  void check(const std::vector<NodePlan>& plans) const {
    // A shard that is not laid out replaces nothing.
    const bool only_shard = options.sharding.own && !options.sharding.go_on;
    check_before_run(graph, plans, folders, options.record_file, options.overwrite || only_shard);
  }
  void run_locked(const Executor& self);
  void finish(const Executor& self, const Error* error);
  void run_flow_graph();
  void visit(NodeId id);
  void run_node(const NodePlan& plan, StageOutcome& outcome);
  void run_sharded(const NodePlan& plan, StageOutcome& outcome);
  void run_shard(const NodePlan& plan, const NodeShards& shards, StageOutcome& outcome);
  bool all_shards_there(const NodePlan& plan, const NodeShards& shards, StageOutcome& outcome) const;
  bool is_on_record(const NodePlan& plan) const;
  void take_from_record(const NodePlan& plan, StageOutcome& outcome);
  Bindings inputs_of(const NodePlan& plan) const;
  void compute(const NodePlan& plan, const Bindings& outputs, RunContext& ctx);
  void put_in_place(const NodePlan& plan, TemporaryOutputs& temporary, StageOutcome& outcome);
  void clean_up_to_date(const NodePlan& plan);
  std::vector<StageNotes> notes_of(NodeId id) const;
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

void Executor::Impl::run(const Executor& self, std::stop_token outside_stop) {
  const std::stop_callback forward(outside_stop, [this] { stop.request_stop(); });
  graph.check();
  digests.emplace(folders.digests());
  const std::vector<NodePlan> seen = make_plan(graph, folders, *digests, stop.get_token());
  check(seen);

  NewFolders made;
  for (const fs::path& folder : {folders.work, folders.state, folders.output}) made.note(folder);
  make_folder(folders.output);
  {
    OutputLocks locks = lock_output(folders, options.sharding.own);
    try {
      const std::vector<NodePlan> plans = make_plan(graph, folders, *digests, stop.get_token());
      if (!same_plan(plans, seen)) check(plans);
      for (const NodePlan& plan : plans) {
        for (const auto& [port, source] : graph.node(plan.node).inputs) {
          if (const auto* path = std::get_if<fs::path>(&source)) {
            outside[plan.name + "." + port] = {*path, plan.inputs.at(port)};
          }
        }
      }
      run_locked(self);
      if (locks.shard) locks.shard->remove_file();
    } catch (...) {
      if (!achieved_something(outcomes)) {
        made.remove_empty();  // the work folder may be in the state's
        if (locks.shard) locks.shard->remove_file();
        if (!locks.shard && holds_only(folders.state, kLockName)) locks.folder.remove_file();
        made.remove_empty();
      }
      throw;
    }
  }
}

void Executor::Impl::run_locked(const Executor& self) {
  for (const NodeId id : graph.order()) {
    position[id] = outcomes.size();
    outcomes.emplace_back().name = graph.node(id).name;
  }
  try {
    run_flow_graph();
    if (first_error) std::rethrow_exception(first_error);
    if (stop.stop_requested() && std::any_of(outcomes.begin(), outcomes.end(), [](const StageOutcome& outcome) {
          return outcome.kind == OutcomeKind::kNotReached;
        })) {
      throw Error(ErrorCode::kInterrupted,
                  "stopped as asked; what is done is kept, run the same command again to go on");
    }
  } catch (const Error& error) {
    finish(self, &error);
    throw;
  }
  finish(self, nullptr);
}

/// With an error throws nothing: that is what the user has to hear of.
void Executor::Impl::finish(const Executor& self, const Error* error) {
  if (error != nullptr && !achieved_something(outcomes)) return;
  std::optional<FolderLock> alone;
  try {
    if (options.sharding.own) {
      // One that is stopped does not wait for another's evaluation.
      if (error == nullptr) {
        alone.emplace(FolderLock::wait_for(folders.state / kJoinLockName, stop.get_token()));
      } else if (auto lock = FolderLock::try_lock(folders.state / kJoinLockName)) {
        alone.emplace(*std::move(lock));
      } else {
        return;
      }
    }
    digests->save();
  } catch (const Error& failure) {
    spdlog::warn("{}", failure.what());  // only saves time later
  }
  if (!options.finished) return;
  try {
    options.finished(self, error);
  } catch (const Error& failure) {
    if (error == nullptr) throw;
    spdlog::warn("{}", failure.what());
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
    const NodePlan plan = decide(graph, id, input_states(id), notes_of(id), folders, *digests, stop.get_token());
    outcome.fingerprint = plan.fingerprint;
    outcome.inputs = plan.inputs;
    outcome.reasons = plan.reasons;
    const bool only_shard = options.sharding.own && !options.sharding.go_on;  // which is wanted in any case
    if (plan.decision == Decision::kUpToDate && !only_shard) {
      take_from_record(plan, outcome);
    } else if (options.sharding.own) {
      run_sharded(plan, outcome);
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

std::vector<StageNotes> Executor::Impl::notes_of(NodeId id) const {
  std::vector<StageNotes> notes;
  if (!graph.node(id).with_notes) return notes;
  for (const NodeId other : graph.ancestors(id)) {
    const StageOutcome& outcome = outcome_of(other);
    notes.push_back({outcome.name, outcome.warnings, outcome.reported});
  }
  return notes;
}

void Executor::Impl::take_from_record(const NodePlan& plan, StageOutcome& outcome) {
  outcome.outputs = plan.record->outputs;
  outcome.warnings = plan.record->warnings;
  outcome.reported = plan.record->reported;
  if (!options.sharding.own) clean_up_to_date(plan);
  outcome.kind = OutcomeKind::kUpToDate;
}

/// The own shard, and where all are there and that is asked for, the outputs.
void Executor::Impl::run_sharded(const NodePlan& plan, StageOutcome& outcome) {
  const Sharding& sharding = options.sharding;
  const NodeShards shards(graph.node(plan.node), sharding);
  const bool divisible = plan.stage->divisible(inputs_of(plan));
  // Shards are removed once the stage is on record: so the record is looked at after them.
  if ((divisible || !sharding.go_on) && shards.find(*sharding.own, plan.fingerprint) == nullptr &&
      !(sharding.go_on && is_on_record(plan))) {
    run_shard(plan, shards, outcome);
  }
  outcome.kind = OutcomeKind::kShard;
  if (!sharding.go_on || (divisible && !all_shards_there(plan, shards, outcome))) return;
  const FolderLock alone = FolderLock::wait_for(folders.state / kJoinLockName, stop.get_token());
  const NodePlan now =
      decide(graph, plan.node, input_states(plan.node), notes_of(plan.node), folders, *digests, stop.get_token());
  if (now.decision == Decision::kUpToDate) {  // another shard's run was here first
    take_from_record(now, outcome);
    if (!sharding.folder.empty()) shards.remove(plan.fingerprint);
    return;
  }
  run_node(now, outcome);
  outcome.kind = OutcomeKind::kRan;
}

bool Executor::Impl::is_on_record(const NodePlan& plan) const {
  const auto record = read_record(record_path(folders.state, plan.name));
  return record && record->complete && record->fingerprint == plan.fingerprint;
}

/// Also true once another run has laid them out and removed them.
bool Executor::Impl::all_shards_there(const NodePlan& plan, const NodeShards& shards, StageOutcome& outcome) const {
  constexpr std::chrono::milliseconds kBetween{200};
  bool said = false;
  while (true) {
    outcome.missing = shards.missing(options.sharding.own->count, plan.fingerprint);
    if (outcome.missing.empty()) return true;
    if (is_on_record(plan)) return true;
    if (!options.sharding.wait) return false;
    if (!said) spdlog::info("{}: waiting for the shards {}", plan.name, list_shards(outcome.missing));
    said = true;
    if (stop.stop_requested()) {
      throw Error(ErrorCode::kInterrupted,
                  "stopped as asked while waiting for the shards {}; run the same command again",
                  list_shards(outcome.missing));
    }
    std::this_thread::sleep_for(kBetween);
  }
}

void Executor::Impl::run_shard(const NodePlan& plan, const NodeShards& shards, StageOutcome& outcome) {
  const Shard own = *options.sharding.own;
  const fs::path target = shards.path(own);
  std::error_code absent;
  if (!options.overwrite && fs::exists(target, absent)) {
    try {
      const ShardFile earlier(target);  // one of other parameters may be replaced, another file not
    } catch (const Error&) {
      throw_foreign(target);
    }
  }
  make_folder(target.has_parent_path() ? target.parent_path() : fs::path("."));
  remove_leftovers(target);
  const std::string key = shard_path(plan.name, own).string();
  PartsLedger ledger(folders.state, key);
  PartsFolder parts = PartsFolder::take(folders.work, key, plan.fingerprint);
  ledger.add(parts.name());
  RunContext ctx(plan.name, ChunkStore(parts.path()), options.resources, progress, stop.get_token(), plan.inputs, own);
  try {
    const Bindings inputs = inputs_of(plan);
    if (plan.stage->divisible(inputs)) {
      plan.stage->run(inputs, {}, ctx);
    } else {
      ctx.warn("is not divided into shards; --join does the whole work");
    }
    outcome.warnings = ctx.warnings();
    write_shard_file(target, shard_info(plan, own), ctx.chunks(), ctx.shard_chunks());
  } catch (...) {
    parts.leave();
    ledger.forget_removed(folders.work);
    throw;
  }
  parts.remove();
  ledger.remove_folders(folders.work);
}

Bindings Executor::Impl::inputs_of(const NodePlan& plan) const {
  Bindings inputs;
  for (const auto& [port, source] : graph.node(plan.node).inputs) inputs[port] = graph.path_of(source);
  return inputs;
}

void Executor::Impl::run_node(const NodePlan& plan, StageOutcome& outcome) {
  for (const std::string& reason : plan.reasons) spdlog::debug("{}: runs: {}", plan.name, reason);
  const NodeShards shards(graph.node(plan.node), options.sharding);
  const std::vector<std::shared_ptr<const ShardFile>> computed =
      options.sharding.join > 0 ? shards.require_all(options.sharding.join, plan) : shards.matching(plan.fingerprint);
  PartsLedger ledger(folders.state, plan.name);
  PartsFolder parts = PartsFolder::take(folders.work, plan.name, plan.fingerprint);
  ledger.add(parts.name());
  ChunkStore chunks(parts.path());
  for (const auto& shard : computed) chunks.attach(shard);
  RunContext ctx(plan.name, std::move(chunks), options.resources, progress, stop.get_token(), plan.inputs);
  try {
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
  } catch (...) {
    parts.leave();
    ledger.forget_removed(folders.work);
    throw;
  }
  // The result is safe by now: what cannot be removed costs space, not the run.
  parts.remove();
  ledger.remove_folders(folders.work);
  if (!options.sharding.folder.empty()) shards.remove(plan.fingerprint);
}

/// What a run that was killed right after publishing, or under another fingerprint, left here.
void Executor::Impl::clean_up_to_date(const NodePlan& plan) {
  for (const auto& [port, path] : graph.node(plan.node).outputs) remove_leftovers(path);
  PartsLedger(folders.state, plan.name).remove_folders(folders.work);
}

void Executor::Impl::compute(const NodePlan& plan, const Bindings& outputs, RunContext& ctx) {
  plan.stage->run(inputs_of(plan), outputs, ctx);
}

void Executor::Impl::put_in_place(const NodePlan& plan, TemporaryOutputs& temporary, StageOutcome& outcome) {
  const Node& node = graph.node(plan.node);
  ArtifactRecord record;
  record.stage = plan.stage->name();
  record.stage_format = plan.stage->format_version();
  record.fingerprint = plan.fingerprint;
  record.identity = plan.stage->identity();
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

Executor::Executor(const Graph& graph, RunFolders folders, ExecutorOptions options, Progress& progress)
    : impl_(std::make_unique<Impl>(graph, std::move(folders), options, progress)) {}

Executor::~Executor() = default;

void Executor::run(std::stop_token stop) { impl_->run(*this, std::move(stop)); }

const std::vector<StageOutcome>& Executor::outcomes() const { return impl_->outcomes; }

const std::map<std::string, Executor::OutsideInput>& Executor::outside_inputs() const { return impl_->outside; }

}  // namespace vtissue::pipeline
