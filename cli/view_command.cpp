#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <stop_token>
#include <thread>

#include "cli/app.h"
#include "core/error.h"
#include "pipeline/signals.h"
#include "viewer/content.h"
#include "viewer/export_site.h"
#include "viewer/server.h"

namespace vtissue::cli {
namespace fs = std::filesystem;

namespace {

struct ViewArguments {
  viewer::ContentOptions content;
  viewer::ServerOptions server;
  fs::path site;
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
};

int write_site(const ViewArguments& arguments, viewer::ContentOptions options) {
  options.is_static = true;
  const pipeline::StopOnSignal signals;
  viewer::Content content(options);
  viewer::export_site(content, arguments.site,
                      {.threads = arguments.threads, .stop = [&] { return signals.token().stop_requested(); }});
  std::cout << arguments.site.string() << '\n';
  if (!options.search.without) {
    std::cerr << arguments.site.string()
              << ": shows pixels of the real slide where it was found: it is as confidential as that\n";
  }
  return 0;
}

int serve(const ViewArguments& arguments, const viewer::ContentOptions& options) {
  const pipeline::StopOnSignal signals;  // before the address is out: whoever has it may end this
  viewer::ServerOptions server_options = arguments.server;
  if (!viewer::is_loopback(server_options.address) && server_options.token.empty())
    server_options.token = viewer::random_token();
  const auto content = std::make_shared<viewer::Content>(options);
  viewer::Server server(content, server_options);
  std::cout << server.url() << '\n' << std::flush;
  std::cerr << "vtissue view: open that address in a browser; Ctrl-C ends it\n";
  std::jthread waiting([&](const std::stop_token& done) {
    while (!done.stop_requested() && !signals.token().stop_requested())
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    server.stop();
  });
  server.run();
  return 0;
}

}  // namespace

void add_view_command(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("view", "Show real and virtual slide beside each other in a browser, with maps over them");
  const auto arguments = std::make_shared<ViewArguments>();
  command->add_option("dir", arguments->content.root, "a run's output folder, or a folder of such")->required();
  command->add_option("--slide", arguments->content.search.slide,
                      "the real slide of a single run, if it is not where the run found it");
  command->add_option("--slides", arguments->content.search.folder,
                      "a folder of real slides, looked up by the name that run.json has");
  command->add_flag("--without-real", arguments->content.search.without, "do not show the real slide");
  command->add_option("--port", arguments->server.port, "port to listen at (0: any that is free)")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command
      ->add_option("--bind", arguments->server.address,
                   "IP address to listen at; for any but this machine's own a token is asked for")
      ->capture_default_str();
  command->add_option("--token", arguments->server.token, "the token, instead of one made up");
  command->add_option("--host-name", arguments->server.names,
                      "a name, besides IP addresses, that others call this host by");
  command->add_option("--export", arguments->site, "write a folder for any web server instead of serving");
  command->add_option("--threads", arguments->threads, "threads that write the export")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->callback([&action, arguments] {
    action = [arguments] {
      viewer::ContentOptions options = arguments->content;
      options.page = viewer::find_page();
      options.software = "vtissue " + std::string(version());
      return arguments->site.empty() ? serve(*arguments, options) : write_site(*arguments, options);
    };
  });
}

}  // namespace vtissue::cli
