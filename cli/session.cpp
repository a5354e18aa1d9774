#include "cli/session.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iostream>

#include "core/error.h"
#include "pipeline/content_digest.h"
#include "pipeline/logging.h"
#include "pipeline/plan.h"
#include "pipeline/signals.h"

namespace vtissue::cli {

namespace {

constexpr int kCoresPerIoThread = 4;

std::optional<std::chrono::milliseconds> time_limit(const CommonOptions& options) {
  const auto seconds = options.max_seconds();
  if (!seconds) return std::nullopt;
  return std::chrono::milliseconds(static_cast<std::int64_t>(*seconds * 1000));
}

std::string human_bytes(std::int64_t bytes) {
  if (bytes >= 1'000'000'000) return fmt::format("{:.1f} GB", static_cast<double>(bytes) * 1e-9);
  if (bytes >= 1'000'000) return fmt::format("{:.1f} MB", static_cast<double>(bytes) * 1e-6);
  return fmt::format("{:.1f} kB", static_cast<double>(bytes) * 1e-3);
}

std::string describe(const pipeline::Estimate& estimate) {
  std::vector<std::string> parts;
  if (!estimate.note.empty()) parts.push_back(estimate.note);
  if (estimate.chunks) parts.push_back(fmt::format("{} chunks", *estimate.chunks));
  if (estimate.seconds) parts.push_back(fmt::format("about {:.0f} s", *estimate.seconds));
  if (estimate.memory_bytes) parts.push_back(human_bytes(*estimate.memory_bytes) + " of memory");
  if (estimate.disk_bytes) parts.push_back(human_bytes(*estimate.disk_bytes) + " on disk");
  return fmt::format("{}", fmt::join(parts, ", "));
}

/// Which shards of a stage that would run are there, and what the one asked for has to do.
std::vector<std::string> describe_shards(const pipeline::Graph& graph, const pipeline::NodePlan& plan,
                                         const std::vector<pipeline::NodePlan>& plans,
                                         const pipeline::Sharding& sharding) {
  std::vector<std::string> lines;
  if (plan.decision == pipeline::Decision::kUpToDate || plan.stage == nullptr) return lines;
  const pipeline::Node& node = graph.node(plan.node);
  if (!plan.fingerprint.empty()) {
    std::vector<pipeline::Shard> there;
    for (const auto& file : pipeline::NodeShards(node, sharding).matching(plan.fingerprint)) {
      there.push_back(file->info().shard);
    }
    if (!there.empty()) lines.push_back(fmt::format("computed already: shards {}", pipeline::list_shards(there)));
  }
  if (sharding.own) {
    pipeline::Bindings inputs;
    for (const auto& [port, source] : node.inputs) inputs[port] = graph.path_of(source);
    if (!plan.stage->divisible(inputs)) {
      lines.emplace_back("is not divided into shards: one run does it while the others wait");
    } else if (const std::string own = describe(
                   plan.stage->estimate_shard(pipeline::available_inputs(graph, plan.node, plans), *sharding.own));
               !own.empty()) {
      lines.push_back(own);
    }
  }
  return lines;
}

void say_what_was_done(const pipeline::Executor& executor) {
  const auto& outcomes = executor.outcomes();
  const bool nothing = std::all_of(outcomes.begin(), outcomes.end(), [](const auto& outcome) {
    return outcome.kind == pipeline::OutcomeKind::kUpToDate;
  });
  if (nothing && outcomes.size() > 1) {
    spdlog::info("nothing to do: all {} stages are up to date", outcomes.size());
    return;
  }
  for (const auto& outcome : outcomes) {
    if (outcome.kind == pipeline::OutcomeKind::kRan) {
      spdlog::info("{}: done in {:.1f} s ({})", outcome.name, outcome.wall_seconds, fmt::join(outcome.reasons, "; "));
    } else if (outcome.kind == pipeline::OutcomeKind::kShard && !outcome.missing.empty()) {
      spdlog::info(
          "{}: this shard is done in {:.1f} s; not there yet: shards {}; run the same command again once they "
          "are, or with --wait",
          outcome.name, outcome.wall_seconds, pipeline::list_shards(outcome.missing));
    } else {
      spdlog::info("{}: {}", outcome.name, pipeline::to_string(outcome.kind));
    }
  }
}

/// First of all: what is wrong with the other options is said through it.
const CommonOptions& with_logging(const CommonOptions& options) {
  pipeline::configure_logging(options.log_format == "json" ? pipeline::LogFormat::kJson : pipeline::LogFormat::kText);
  return options;
}

}  // namespace

ThreadShares share_threads(int threads) {
  // The networks need nearly all the time; a reader keeps up with several of their cores.
  const int io = std::max(1, threads / kCoresPerIoThread);
  return {.device = threads < kCoresPerIoThread ? std::max(1, threads) : threads - io, .io = io};
}

Session::Session(const CommonOptions& options)
    : options_(with_logging(options)),
      threads_(share_threads(options.resolved_threads())),
      stop_(std::make_unique<pipeline::StopOnSignal>(time_limit(options))),
      progress_(pipeline::make_progress(options.progress_style())) {}

Session::~Session() = default;

std::stop_token Session::stop_token() const { return stop_->token(); }

void Session::run(const pipeline::Graph& graph, const pipeline::RunFolders& folders, const pipeline::Sharding& sharding,
                  const std::filesystem::path& record_file,
                  const std::function<void(const pipeline::Executor&, const Error*)>& finished) {
  if (options_.dry_run) {
    const auto plans = make_plan(graph, folders);
    pipeline::check_before_run(graph, plans, folders, record_file, options_.overwrite);
    print(graph, plans, sharding);
    return;
  }
  pipeline::ExecutorOptions executor_options;
  executor_options.resources = {.threads = threads_.io, .in_flight = options_.in_flight};
  executor_options.overwrite = options_.overwrite;
  executor_options.record_file = record_file;
  executor_options.finished = finished;
  executor_options.sharding = sharding;
  pipeline::Executor executor(graph, folders, executor_options, *progress_);
  executor.run(stop_->token());
  say_what_was_done(executor);
}

std::vector<pipeline::NodePlan> Session::make_plan(const pipeline::Graph& graph, const pipeline::RunFolders& folders) {
  pipeline::DigestCache digests(folders.digests());  // never saved: a plan writes nothing
  return pipeline::make_plan(graph, folders, digests, stop_->token());
}

std::vector<std::string> Session::print_plan(const pipeline::Graph& graph, const pipeline::RunFolders& folders,
                                             const pipeline::Sharding& sharding) {
  const auto plans = make_plan(graph, folders);
  std::vector<std::string> names;
  for (const pipeline::NodePlan& plan : plans) {
    if (plan.decision == pipeline::Decision::kUpToDate) continue;
    names.push_back(plan.name);
    try {
      graph.node(plan.node).stage->preflight(pipeline::available_inputs(graph, plan.node, plans));
    } catch (Error& error) {
      error.add_context(plan.name);
      throw;
    }
  }
  print(graph, plans, sharding);
  return names;
}

void Session::print(const pipeline::Graph& graph, const std::vector<pipeline::NodePlan>& plans,
                    const pipeline::Sharding& sharding) const {
  for (const pipeline::NodePlan& plan : plans) {
    std::cout << fmt::format("{:<11} {}", plan.name, pipeline::to_string(plan.decision));
    if (!plan.reasons.empty()) std::cout << fmt::format(": {}", fmt::join(plan.reasons, "; "));
    const std::string estimate = describe(plan.estimate);
    if (plan.decision != pipeline::Decision::kUpToDate && !estimate.empty())
      std::cout << fmt::format("\n{:<11}   {}", "", estimate);
    std::cout << '\n';
    for (const std::string& line : describe_shards(graph, plan, plans, sharding)) {
      std::cout << fmt::format("{:<11}   {}\n", "", line);
    }
    for (const auto& path : plan.foreign) {
      std::cout << fmt::format("{:<11}   {} is in the way: no run of this folder wrote it; --overwrite replaces it\n",
                               "", path.string());
    }
  }
}

}  // namespace vtissue::cli
