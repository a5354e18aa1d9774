#include "pipeline/graph.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/error.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

namespace {

std::string list_names(const std::vector<Port>& ports) {
  std::string names;
  for (const Port& port : ports) names += (names.empty() ? "" : ", ") + port.name;
  return names.empty() ? "none" : names;
}

bool has_port(const std::vector<Port>& ports, std::string_view name) {
  return std::any_of(ports.begin(), ports.end(), [&](const Port& port) { return port.name == name; });
}

}  // namespace

NodeId Graph::add(Node node) {
  if (node.name.empty()) node.name = node.stage->name();
  // "latents/" names the same folder as "latents"; temporary and state names are made from the last part.
  for (auto& [port, path] : node.outputs) {
    if (!path.has_filename() && path.has_parent_path()) path = path.parent_path();
  }
  nodes_.push_back(std::move(node));
  return nodes_.size() - 1;
}

void Graph::check_ports(const Node& node) const {
  const std::vector<Port> inputs = node.stage->inputs();
  const std::vector<Port> outputs = node.stage->outputs();
  for (const auto& [name, source] : node.inputs) {
    if (!has_port(inputs, name)) {
      throw Error(ErrorCode::kUsage, "{}: no input '{}'; its inputs are: {}", node.name, name, list_names(inputs));
    }
    const auto* ref = std::get_if<OutputRef>(&source);
    if (ref == nullptr) continue;
    if (ref->node >= nodes_.size()) {
      throw Error(ErrorCode::kUsage, "{}: input '{}' comes from stage number {}, but there are only {}", node.name,
                  name, ref->node, nodes_.size());
    }
    const Node& producer = nodes_[ref->node];
    if (!has_port(producer.stage->outputs(), ref->port)) {
      throw Error(ErrorCode::kUsage, "{}: input '{}' comes from output '{}' of {}, whose outputs are: {}", node.name,
                  name, ref->port, producer.name, list_names(producer.stage->outputs()));
    }
  }
  for (const Port& port : inputs) {
    if (!port.optional && !node.inputs.contains(port.name)) {
      throw Error(ErrorCode::kUsage, "{}: input '{}' is required; give a file or the stage that makes it", node.name,
                  port.name);
    }
  }
  for (const auto& [name, path] : node.outputs) {
    if (!has_port(outputs, name)) {
      throw Error(ErrorCode::kUsage, "{}: no output '{}'; its outputs are: {}", node.name, name, list_names(outputs));
    }
  }
  for (const Port& port : outputs) {
    const auto bound = node.outputs.find(port.name);
    if (bound == node.outputs.end() || bound->second.filename().empty()) {
      throw Error(ErrorCode::kUsage, "{}: output '{}' needs a path", node.name, port.name);
    }
  }
}

void Graph::check() const {
  std::set<std::string> names;
  std::map<fs::path, std::string> writers;
  for (const Node& node : nodes_) {
    if (!names.insert(node.name).second) throw Error(ErrorCode::kUsage, "two stages are named '{}'", node.name);
    check_ports(node);
    for (const auto& [port, path] : node.outputs) {
      const auto [other, first] = writers.emplace(fs::absolute(path).lexically_normal(), node.name);
      if (!first) {
        throw Error(ErrorCode::kUsage, "{}: written by both {} and {}; give them different outputs", path.string(),
                    other->second, node.name);
      }
    }
  }
  for (const Node& node : nodes_) {
    for (const auto& [port, source] : node.inputs) {
      const auto* outside = std::get_if<fs::path>(&source);
      if (outside == nullptr) continue;
      const auto writer = writers.find(fs::absolute(*outside).lexically_normal());
      if (writer != writers.end()) {
        throw Error(ErrorCode::kUsage,
                    "{}: input '{}' is {}, which {} writes; connect the two or choose another output", node.name, port,
                    outside->string(), writer->second);
      }
    }
  }
  order();
}

std::vector<NodeId> Graph::order() const {
  std::vector<NodeId> sorted;
  std::vector<bool> placed(nodes_.size(), false);
  while (sorted.size() < nodes_.size()) {
    const std::size_t before = sorted.size();
    for (NodeId id = 0; id < nodes_.size(); ++id) {
      if (placed[id]) continue;
      const std::vector<NodeId> needed = upstream(id);
      if (!std::all_of(needed.begin(), needed.end(), [&](NodeId other) { return placed[other]; })) continue;
      placed[id] = true;
      sorted.push_back(id);
    }
    if (sorted.size() == before) {
      std::string members;
      for (NodeId id = 0; id < nodes_.size(); ++id) {
        if (!placed[id]) members += (members.empty() ? "" : ", ") + nodes_[id].name;
      }
      throw Error(ErrorCode::kUsage, "the stages wait for each other in a circle: {}", members);
    }
  }
  return sorted;
}

std::vector<NodeId> Graph::upstream(NodeId id) const {
  std::set<NodeId> found;
  for (const auto& [port, source] : nodes_.at(id).inputs) {
    if (const auto* ref = std::get_if<OutputRef>(&source)) found.insert(ref->node);
  }
  return {found.begin(), found.end()};
}

std::vector<NodeId> Graph::ancestors(NodeId id) const {
  std::set<NodeId> found;
  std::vector<NodeId> waiting = {id};
  while (!waiting.empty()) {
    const NodeId next = waiting.back();
    waiting.pop_back();
    for (const NodeId other : upstream(next)) {
      if (found.insert(other).second) waiting.push_back(other);
    }
  }
  std::vector<NodeId> sorted = order();
  std::erase_if(sorted, [&](NodeId other) { return !found.contains(other); });
  return sorted;
}

const fs::path& Graph::path_of(const Source& source) const {
  if (const auto* outside = std::get_if<fs::path>(&source)) return *outside;
  const auto& ref = std::get<OutputRef>(source);
  return nodes_.at(ref.node).outputs.at(ref.port);
}

}  // namespace vtissue::pipeline
