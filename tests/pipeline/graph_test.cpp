#include "pipeline/graph.h"

#include <gmock/gmock.h>

#include "fixtures.h"

namespace vtissue::pipeline {
namespace {

using ::testing::ElementsAre;
using testing::expect_error;
using testing::FakeStage;
using ::testing::HasSubstr;

std::shared_ptr<FakeStage> stage(const std::string& name, std::vector<Port> inputs = {}) {
  auto made = std::make_shared<FakeStage>(name);
  made->input_ports = std::move(inputs);
  return made;
}

void expect_refused(const Graph& graph, const std::string& message) {
  const Error error = expect_error([&] { graph.check(); });
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_THAT(error.what(), HasSubstr(message));
}

TEST(Graph, OrdersByDependencyWhateverTheOrderOfAdding) {
  Graph graph;
  graph.add({stage("last", {{"in"}}), {{"in", OutputRef{2, "out"}}}, {{"out", "c"}}});
  graph.add({stage("first"), {}, {{"out", "a"}}});
  graph.add({stage("middle", {{"in"}}), {{"in", OutputRef{1, "out"}}}, {{"out", "b"}}});
  graph.check();
  EXPECT_THAT(graph.order(), ElementsAre(1, 2, 0));
  EXPECT_THAT(graph.upstream(0), ElementsAre(2));
  EXPECT_EQ(graph.path_of(OutputRef{1, "out"}), "a");
}

TEST(Graph, AcceptsAnUnboundOptionalInput) {
  Graph graph;
  graph.add({stage("express", {{.name = "spots", .optional = true}}), {}, {{"out", "e"}}});
  EXPECT_NO_THROW(graph.check());
}

TEST(Graph, RefusesWhatCannotRun) {
  {
    Graph graph;
    graph.add({stage("tile", {{"slide"}}), {{"slid", "x"}}, {{"out", "a"}}});
    expect_refused(graph, "tile: no input 'slid'; its inputs are: slide");
  }
  {
    Graph graph;
    graph.add({stage("tile", {{"slide"}}), {}, {{"out", "a"}}});
    expect_refused(graph, "tile: input 'slide' is required");
  }
  {
    Graph graph;
    graph.add({stage("tile"), {}, {{"tiles", "a"}}});
    expect_refused(graph, "tile: no output 'tiles'");
  }
  {
    Graph graph;
    graph.add({stage("tile"), {}, {}});
    expect_refused(graph, "tile: output 'out' needs a path");
  }
  {
    Graph graph;
    graph.add({stage("tile"), {}, {{"out", "a"}}});
    graph.add({stage("embed", {{"tiles"}}), {{"tiles", OutputRef{0, "tiles"}}}, {{"out", "b"}}});
    expect_refused(graph, "embed: input 'tiles' comes from output 'tiles' of tile, whose outputs are: out");
  }
  {
    Graph graph;
    graph.add({stage("embed", {{"tiles"}}), {{"tiles", OutputRef{9, "out"}}}, {{"out", "b"}}});
    expect_refused(graph, "embed: input 'tiles' comes from stage number 9");
  }
  {
    Graph graph;
    graph.add({stage("one"), {}, {{"out", "x/a"}}});
    graph.add({stage("two"), {}, {{"out", "x/../x/a"}}});
    expect_refused(graph, "written by both one and two");
  }
  {
    Graph graph;
    graph.add({stage("one"), {}, {{"out", "a"}}});
    graph.add({stage("one"), {}, {{"out", "b"}}});
    expect_refused(graph, "two stages are named 'one'");
  }
  {
    Graph graph;
    graph.add({stage("one"), {}, {{"out", "a"}}});
    graph.add({stage("two", {{"in"}}), {{"in", std::filesystem::path("./a")}}, {{"out", "b"}}});
    expect_refused(graph, "two: input 'in' is ./a, which one writes");
  }
}

TEST(Graph, NamesTheMembersOfACircle) {
  Graph graph;
  graph.add({stage("free"), {}, {{"out", "f"}}});
  graph.add({stage("hen", {{"egg"}}), {{"egg", OutputRef{2, "out"}}}, {{"out", "h"}}});
  graph.add({stage("egg", {{"hen"}}), {{"hen", OutputRef{1, "out"}}}, {{"out", "e"}}});
  expect_refused(graph, "in a circle: hen, egg");
}

TEST(Graph, ATrailingSlashOfAnOutputIsTakenOff) {
  const auto stage = std::make_shared<testing::FakeStage>("synthesize");
  stage->output_ports = {{.name = "out", .is_folder = true}};
  Graph graph;
  const NodeId id = graph.add({stage, {}, {{"out", "some/latents/"}}});
  EXPECT_NO_THROW(graph.check());
  EXPECT_EQ(graph.node(id).outputs.at("out"), "some/latents");
}

}  // namespace
}  // namespace vtissue::pipeline
