#include "pipeline/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <ctime>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

namespace vtissue::pipeline {
namespace {

class TerminalSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit TerminalSink(Terminal& terminal) : terminal_(terminal) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    terminal_.print({line.data(), line.size()});
  }
  void flush_() override {}

 private:
  Terminal& terminal_;
};

/// spdlog's patterns do not escape.
class JsonFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const std::time_t time = spdlog::log_clock::to_time_t(message.time);
    std::tm utc{};
    ::gmtime_r(&time, &utc);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    const spdlog::string_view_t level = spdlog::level::to_string_view(message.level);
    const nlohmann::ordered_json line = {{"event", "log"},
                                         {"time", text},
                                         {"level", std::string(level.data(), level.size())},
                                         {"message", std::string(message.payload.data(), message.payload.size())}};
    const std::string dumped = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    out.append(dumped.data(), dumped.data() + dumped.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

}  // namespace

void configure_logging(LogFormat format, spdlog::level::level_enum level, Terminal& terminal) {
  auto logger = std::make_shared<spdlog::logger>("vtissue", std::make_shared<TerminalSink>(terminal));
  if (format == LogFormat::kJson) {
    logger->set_formatter(std::make_unique<JsonFormatter>());
  } else {
    logger->set_pattern("%Y-%m-%d %H:%M:%S %l: %v");
  }
  logger->set_level(level);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace vtissue::pipeline
