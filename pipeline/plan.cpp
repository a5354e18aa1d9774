#include "pipeline/plan.h"

#include <algorithm>

#include "core/error.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

namespace {

/// A path that cannot be looked at counts as there: it will be said why when it is read or written.
bool may_be_there(const fs::path& path) {
  std::error_code failure;
  return fs::exists(path, failure) || failure;
}

std::vector<StageNotes> notes_of(const Graph& graph, NodeId id, const std::vector<NodePlan>& plans) {
  std::vector<StageNotes> notes;
  if (!graph.node(id).with_notes) return notes;
  for (const NodeId other : graph.ancestors(id)) {
    const auto plan = std::find_if(plans.begin(), plans.end(), [&](const NodePlan& p) { return p.node == other; });
    if (plan != plans.end() && plan->record) {
      notes.push_back({plan->name, plan->record->warnings, plan->record->reported});
    }
  }
  return notes;
}

ContentDigest digest_input(const Stage& stage, const std::string& port, const fs::path& path, DigestCache& digests,
                           const std::stop_token& stop) {
  std::error_code unknown;
  if (fs::is_directory(path, unknown)) {
    if (const auto files = stage.files_read(port, path)) return digests.digest_files(path, *files, stop);
  }
  return digests.digest(path, stop);
}

/// Reasons that lie in the inputs.
void compare_inputs(const NodePlan& plan, const std::map<std::string, InputState, std::less<>>& inputs,
                    const ArtifactRecord& record, std::vector<std::string>& reasons) {
  for (const auto& [port, state] : inputs) {
    const auto before = record.inputs.find(port);
    if (before == record.inputs.end()) {
      reasons.push_back(fmt::format("input {} is new", port));
    } else if (state.sha256 && *state.sha256 != before->second) {
      reasons.push_back(fmt::format("input {} changed", port));
    }
  }
  for (const auto& [port, digest] : record.inputs) {
    if (!inputs.contains(port)) reasons.push_back(fmt::format("input {} is gone", port));
  }
  // Equal parts but another hash: the record was edited or comes from another version of the engine.
  if (reasons.empty() && !plan.fingerprint.empty() && plan.fingerprint != record.fingerprint) {
    reasons.push_back("fingerprint changed");
  }
}

/// Reasons that lie in the outputs as they are on the disk now.
void compare_outputs(const Node& node, const ArtifactRecord& record, DigestCache& digests, const std::stop_token& stop,
                     std::vector<std::string>& reasons) {
  for (const auto& [port, path] : node.outputs) {
    const auto written = record.outputs.find(port);
    if (!may_be_there(path)) {
      reasons.push_back(fmt::format("output {} missing", path.filename().string()));
    } else if (written == record.outputs.end() || digests.digest(path, stop) != written->second) {
      reasons.push_back(fmt::format("output {} is not what was written", path.filename().string()));
    }
  }
}

}  // namespace

std::string_view to_string(Decision decision) {
  switch (decision) {
    case Decision::kUpToDate:
      return "up to date";
    case Decision::kRun:
      return "run";
    case Decision::kWaits:
      return "waits";
  }
  return "unknown";
}

NodePlan decide(const Graph& graph, NodeId id, const std::map<std::string, InputState, std::less<>>& inputs,
                const std::vector<StageNotes>& notes, const RunFolders& folders, DigestCache& digests,
                const std::stop_token& stop) {
  const Node& node = graph.node(id);
  NodePlan plan;
  plan.node = id;
  plan.name = node.name;
  bool all_known = true;
  for (const auto& [port, state] : inputs) {
    if (state.sha256) {
      plan.inputs[port] = *state.sha256;
    } else {
      all_known = false;
    }
  }
  if (!node.with_notes) {
    plan.stage = node.stage;
  } else if (all_known) {
    plan.stage = node.with_notes(notes);
  }
  if (all_known) plan.fingerprint = fingerprint(*plan.stage, plan.inputs);

  plan.record = read_record(record_path(folders.state, node.name));
  if (!plan.record || plan.record->stage != node.stage->name()) {
    plan.record.reset();
    plan.reasons.push_back("never run");
    for (const auto& [port, path] : node.outputs) {
      if (may_be_there(path)) plan.foreign.push_back(path);
    }
  } else if (!plan.record->complete) {
    plan.reasons.push_back("was interrupted while its outputs were put in place");
  } else {
    const ArtifactRecord& record = *plan.record;
    if (record.stage_format != node.stage->format_version()) {
      plan.reasons.push_back(
          fmt::format("format version changed {} → {}", record.stage_format, node.stage->format_version()));
    }
    if (plan.stage) {
      for (std::string& change : describe_changes(node.name, record.identity, plan.stage->identity())) {
        plan.reasons.push_back(std::move(change));
      }
    }
    compare_inputs(plan, inputs, record, plan.reasons);
    compare_outputs(node, record, digests, stop, plan.reasons);
  }
  plan.decision = plan.reasons.empty() ? Decision::kUpToDate : Decision::kRun;

  if (!all_known) {
    if (plan.decision == Decision::kUpToDate) plan.decision = Decision::kWaits;
    for (const auto& [port, state] : inputs) {
      if (!state.sha256) plan.reasons.push_back(fmt::format("will follow: {} of {} may change", port, state.producer));
    }
  }
  return plan;
}

Bindings available_inputs(const Graph& graph, NodeId id, const std::vector<NodePlan>& plans) {
  Bindings available;
  for (const auto& [port, source] : graph.node(id).inputs) {
    if (const auto* ref = std::get_if<OutputRef>(&source)) {
      const auto producer =
          std::find_if(plans.begin(), plans.end(), [&](const NodePlan& plan) { return plan.node == ref->node; });
      if (producer == plans.end() || producer->decision != Decision::kUpToDate) continue;
    }
    available[port] = graph.path_of(source);
  }
  return available;
}

std::vector<NodePlan> make_plan(const Graph& graph, const RunFolders& folders, DigestCache& digests,
                                const std::stop_token& stop) {
  graph.check();
  std::vector<NodePlan> plans;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    try {
      std::map<std::string, InputState, std::less<>> inputs;
      for (const auto& [port, source] : node.inputs) {
        InputState state;
        if (const auto* ref = std::get_if<OutputRef>(&source)) {
          const auto producer =
              std::find_if(plans.begin(), plans.end(), [&](const NodePlan& plan) { return plan.node == ref->node; });
          state.producer = producer->name;
          if (producer->decision == Decision::kUpToDate) state.sha256 = producer->record->outputs.at(ref->port).sha256;
        } else {
          try {
            state.sha256 = digest_input(*node.stage, port, std::get<fs::path>(source), digests, stop).sha256;
          } catch (Error& error) {
            error.add("input {}", port);
            throw;
          }
        }
        inputs[port] = std::move(state);
      }
      plans.push_back(decide(graph, id, inputs, notes_of(graph, id, plans), folders, digests, stop));
      NodePlan& plan = plans.back();
      if (plan.decision != Decision::kUpToDate)
        plan.estimate = node.stage->estimate(available_inputs(graph, id, plans));
    } catch (Error& error) {
      error.add_context(node.name);
      throw;
    }
  }
  return plans;
}

bool same_plan(const std::vector<NodePlan>& a, const std::vector<NodePlan>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const NodePlan& one, const NodePlan& other) {
    return one.decision == other.decision && one.fingerprint == other.fingerprint && one.inputs == other.inputs &&
           one.reasons == other.reasons && one.foreign == other.foreign;
  });
}

void throw_foreign(const fs::path& path) {
  throw Error(ErrorCode::kOutput,
              "{}: exists and was not written by an earlier run here; pass --overwrite to replace it or choose "
              "another output",
              path.string());
}

void preflight(const Graph& graph, const std::vector<NodePlan>& plans, bool overwrite) {
  for (const NodePlan& plan : plans) {
    if (plan.decision == Decision::kUpToDate) continue;
    const Node& node = graph.node(plan.node);
    try {
      for (const auto& [port, path] : node.outputs) require_writable(path.parent_path());
      if (!plan.foreign.empty() && !overwrite) throw_foreign(plan.foreign.front());
      node.stage->preflight(available_inputs(graph, plan.node, plans));
    } catch (Error& error) {
      error.add_context(node.name);
      throw;
    }
  }
}

}  // namespace vtissue::pipeline
