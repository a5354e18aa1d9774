#include "cli/stage_command.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "cli/session.h"
#include "core/error.h"
#include "pipeline/graph.h"
#include "pipeline/run_folders.h"

namespace vtissue::cli {

namespace {

std::string option_name(std::string port) {
  std::replace(port.begin(), port.end(), '_', '-');
  return "--" + port;
}

}  // namespace

std::shared_ptr<StageCommand> StageCommand::add(CLI::App& app, const std::string& name,
                                                const std::string& description) {
  auto command = std::make_shared<StageCommand>();
  command->app_ = app.add_subcommand(name, description);
  return command;
}

StageCommand& StageCommand::input(const std::string& port, const std::string& description, bool required) {
  CLI::Option* option = app_->add_option(option_name(port), inputs_[port], description);
  if (required) option->required();
  return *this;
}

StageCommand& StageCommand::input_or_key(const std::string& port, const std::string& key,
                                         const std::string& description) {
  input_keys_[port] = key;
  return input(port, fmt::format("{} ({})", description, key), false);
}

StageCommand& StageCommand::output(const std::string& port, const std::string& description) {
  const std::string option = outputs_.empty() ? "--out" : "--out-" + port;
  app_->add_option(option, outputs_.emplace_back(port, "").second, description)->required();
  return *this;
}

void StageCommand::with_slide_options() {
  app_->add_option("--mpp", mpp_, "µm/px of the slide's level 0, instead of what the file says");
  app_->add_option("--region", region_, "x,y,width,height in level-0 pixels: only this part")
      ->delimiter(',')
      ->expected(4);
}

StageCommand& StageCommand::with_shards() {
  app_->add_option("--shard", shard_,
                   "compute one of several shares of the work, such as 2/3, into <out>.shard-2-of-3 instead of the "
                   "output")
      ->type_name("I/N");
  app_->add_option("--join", join_, "lay out the output from so many shards, which must all lie beside it")
      ->type_name("N")
      ->check(CLI::Range(1, 100'000));
  return *this;
}

/// Throws Error kUsage.
pipeline::Sharding StageCommand::sharding() const {
  pipeline::Sharding sharding{.join = join_};
  if (shard_.empty()) return sharding;
  if (join_ > 0) throw Error(ErrorCode::kUsage, "--shard and --join: a shard is computed or the shards are joined");
  sharding.own = pipeline::parse_shard(shard_);
  return sharding;
}

void StageCommand::runs(Action& action, MakeStage make_stage) {
  common_.add_to(*app_, true);
  app_->callback([self = shared_from_this(), make_stage = std::move(make_stage), &action] {
    action = [self, make_stage] { return self->execute(make_stage); };
  });
}

int StageCommand::execute(const MakeStage& make_stage) {
  Session session(common_);
  const pipeline::Sharding sharding = this->sharding();
  pipeline::Config config = common_.load_config();
  if (mpp_) config.set_value("tile.slide_mpp", *mpp_);
  if (!region_.empty()) config.set_value("tile.region", region_);
  Engines engines(config, common_, session.threads().device);

  pipeline::Node node{.stage = make_stage(config, engines)};
  for (const auto& [port, key] : input_keys_) {
    if (const auto path = config.get_optional<std::string>(key)) node.inputs[port] = std::filesystem::path(*path);
  }
  for (const auto& [port, path] : inputs_) {
    if (!path.empty()) node.inputs[port] = path;
  }
  node.outputs.insert(outputs_.begin(), outputs_.end());
  const auto folders = pipeline::folders_for_output(outputs_.front().second,
                                                    common_.work.empty() ? std::nullopt : std::optional(common_.work));
  pipeline::Graph graph;
  graph.add(node);
  session.run(graph, folders, sharding);
  if (common_.dry_run) return 0;
  if (sharding.own) {
    std::cout << pipeline::NodeShards(graph.nodes().front(), sharding).path(*sharding.own).string() << '\n';
    return 0;
  }
  for (const auto& [port, path] : outputs_) std::cout << path.string() << '\n';
  return 0;
}

}  // namespace vtissue::cli
