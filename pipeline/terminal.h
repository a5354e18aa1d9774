#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace vtissue::pipeline {

/// Lines that stay (log, JSON) above lines that are redrawn (bars). Both go through here so that a log
/// line does not land inside a bar. Thread-safe.
class Terminal {
 public:
  using Write = std::function<void(std::string_view)>;

  explicit Terminal(Write write) : write_(std::move(write)) {}

  /// The one on stderr that logging and progress share.
  static Terminal& standard_error();

  /// Writes text that stays; ends it with a newline if it has none.
  void print(std::string_view text);

  /// Replaces the redrawn lines.
  void set_status(std::vector<std::string> lines);

 private:
  void erase_status(std::string& out) const;
  void draw_status(std::string& out) const;
  std::mutex mutex_;
  Write write_;
  std::vector<std::string> status_;
};

/// Columns of the terminal on stderr; 80 if it does not say.
int terminal_width();

}  // namespace vtissue::pipeline
