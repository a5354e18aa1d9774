#pragma once

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/artifact_record.h"
#include "pipeline/graph.h"
#include "pipeline/run_folders.h"

namespace vtissue::pipeline {

enum class Decision {
  kUpToDate,
  kRun,
  kWaits  ///< its own record holds; whether it runs depends on what an earlier stage makes
};

std::string_view to_string(Decision decision);

/// What is known of an input when a node is decided on.
struct InputState {
  std::optional<std::string> sha256;  ///< nothing: an earlier stage has yet to make it
  std::string producer;               ///< that stage's name; empty for an outside file
};

/// What would be done with a node, and why.
struct NodePlan {
  NodeId node = 0;
  std::string name;
  std::shared_ptr<const Stage> stage;  ///< what would run; nothing while Node::with_notes waits for the notes
  Decision decision = Decision::kRun;
  std::vector<std::string> reasons;            ///< empty if up to date; "tile.size_px changed 128 → 256"
  std::string fingerprint;                     ///< empty while an input is unknown
  InputDigests inputs;                         ///< those known
  std::optional<ArtifactRecord> record;        ///< of the last run of this node, if it left one
  std::vector<std::filesystem::path> foreign;  ///< outputs in the way that no run of this node wrote
  Estimate estimate;                           ///< filled by make_plan() unless up to date
};

/// Decides on one node. `notes` of its ancestors, for Node::with_notes; used once all inputs are known. Reads the
/// record and the outputs, writes nothing. Throws Error kBadInput if an output that exists cannot be read,
/// kInterrupted.
NodePlan decide(const Graph& graph, NodeId id, const std::map<std::string, InputState, std::less<>>& inputs,
                const std::vector<StageNotes>& notes, const RunFolders& folders, DigestCache& digests,
                const std::stop_token& stop = {});

/// Decides on all nodes, in graph.order(), as far as can be said before anything ran. Writes nothing. Throws Error
/// kUsage (Graph::check), kBadInput (an outside input is missing or unreadable), kInterrupted.
std::vector<NodePlan> make_plan(const Graph& graph, const RunFolders& folders, DigestCache& digests,
                                const std::stop_token& stop = {});

/// Whether two plans of one graph come to the same: then what was checked for one need not be for the other.
bool same_plan(const std::vector<NodePlan>& a, const std::vector<NodePlan>& b);

/// Checks everything that can be checked before the first stage, of every stage that may run: that outputs go where
/// they can be written and replace nothing foreign (unless `overwrite`), and Stage::preflight(). Writes nothing.
/// Throws Error with the stage's name as context.
void preflight(const Graph& graph, const std::vector<NodePlan>& plans, bool overwrite);

/// Throws Error kOutput: the file exists and no run here wrote it.
[[noreturn]] void throw_foreign(const std::filesystem::path& path);

/// Paths of the inputs that are there and will not be made anew: what preflight() and estimate() get.
Bindings available_inputs(const Graph& graph, NodeId id, const std::vector<NodePlan>& plans);

}  // namespace vtissue::pipeline
