#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "pipeline/stage.h"

namespace vtissue::pipeline {

using NodeId = std::size_t;

/// An output port of another node.
struct OutputRef {
  NodeId node = 0;
  std::string port;
};

/// What an input port is bound to: a file or folder from outside, or what another node makes.
using Source = std::variant<std::filesystem::path, OutputRef>;

/// What a stage that is done has to say besides its outputs.
struct StageNotes {
  std::string name;
  std::vector<std::string> warnings;
  nlohmann::json reported;
};

/// A stage with its inputs and outputs bound.
struct Node {
  std::shared_ptr<const Stage> stage;
  std::map<std::string, Source, std::less<>> inputs;  ///< an optional port that is left out is unbound
  Bindings outputs;                                   ///< every output port → where its result goes
  std::string name;  ///< of the record and the work folder; empty: the stage's name. Unique in a graph
  /// Of a stage that shows what those before it had to say (a report): makes it from their notes once they are
  /// done or up to date. Until then `stage` stands for it, of the same name and ports.
  std::function<std::shared_ptr<const Stage>(const std::vector<StageNotes>&)> with_notes = {};
};

/// Stages and what flows between them. Built on one thread, then only read.
class Graph {
 public:
  /// Nodes may refer to nodes that are added later. An output's trailing slash is taken off.
  NodeId add(Node node);

  const std::vector<Node>& nodes() const { return nodes_; }
  const Node& node(NodeId id) const { return nodes_.at(id); }

  /// Throws Error kUsage: unknown port, required input unbound, output without a path, two nodes of one
  /// name or writing one path, cycle.
  void check() const;

  /// Every node after those it depends on, otherwise as added. Throws Error kUsage on a cycle.
  std::vector<NodeId> order() const;

  /// Nodes whose outputs `id` reads, each once, ascending.
  std::vector<NodeId> upstream(NodeId id) const;

  /// Nodes that `id` depends on, directly or not, in order().
  std::vector<NodeId> ancestors(NodeId id) const;

  /// Where an input lies: an outside path, or the other node's output path.
  const std::filesystem::path& path_of(const Source& source) const;

 private:
  void check_ports(const Node& node) const;
  std::vector<Node> nodes_;
};

}  // namespace vtissue::pipeline
