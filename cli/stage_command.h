#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "cli/app.h"
#include "cli/common_options.h"
#include "cli/engines.h"
#include "pipeline/sharding.h"
#include "pipeline/stage.h"

namespace vtissue::cli {

/// A subcommand that runs one stage with explicit inputs and outputs: each port of the stage is an option
/// of the same name ("--tiles"). The stage is run by the same engine as in `vtissue run`, so that it
/// resumes, says when it is up to date, and gives the same bytes.
class StageCommand : public std::enable_shared_from_this<StageCommand> {
 public:
  using MakeStage = std::function<std::shared_ptr<const pipeline::Stage>(const pipeline::Config&, Engines&)>;

  static std::shared_ptr<StageCommand> add(CLI::App& app, const std::string& name, const std::string& description);

  StageCommand& input(const std::string& port, const std::string& description, bool required = true);
  /// An optional input that a path in the configuration names where the option is not given.
  StageCommand& input_or_key(const std::string& port, const std::string& key, const std::string& description);
  StageCommand& output(const std::string& port, const std::string& description);
  /// Empty if not given; parsed when the subcommand runs.
  const std::filesystem::path& input_path(const std::string& port) const { return inputs_.at(port); }

  /// Binds a port that only the configuration knows of.
  void bind_input(const std::string& port, std::filesystem::path path) { inputs_[port] = std::move(path); }

  /// What happens when the subcommand is chosen.
  void runs(Action& action, MakeStage make_stage);

  /// --shard and --join, for the stages whose work can be divided.
  StageCommand& with_shards();

  /// Values of --mpp and --region, for the stages that have them.
  void with_slide_options();

 private:
  int execute(const MakeStage& make_stage);
  pipeline::Sharding sharding() const;

  CLI::App* app_ = nullptr;
  CommonOptions common_;
  std::optional<double> mpp_;
  std::vector<double> region_;
  std::string shard_;
  int join_ = 0;
  std::map<std::string, std::filesystem::path> inputs_;
  std::map<std::string, std::string> input_keys_;                     ///< port → key
  std::list<std::pair<std::string, std::filesystem::path>> outputs_;  // in order of declaration; addresses stay
};

}  // namespace vtissue::cli
