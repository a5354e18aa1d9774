#include "pipeline/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

namespace vtissue::pipeline {
namespace {

void write_to_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // a closed stderr must not end a run
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

Terminal& Terminal::standard_error() {
  // Never destroyed: spdlog may log while the program's statics go down.
  static Terminal& terminal = *new Terminal(write_to_stderr);
  return terminal;
}

void Terminal::print(std::string_view text) {
  std::lock_guard lock(mutex_);
  std::string out;
  erase_status(out);
  out += text;
  if (!text.ends_with('\n')) out += '\n';
  draw_status(out);
  write_(out);
}

void Terminal::set_status(std::vector<std::string> lines) {
  std::lock_guard lock(mutex_);
  std::string out;
  erase_status(out);
  status_ = std::move(lines);
  draw_status(out);
  if (!out.empty()) write_(out);
}

/// The cursor rests at the end of the last redrawn line.
void Terminal::erase_status(std::string& out) const {
  for (std::size_t i = 0; i < status_.size(); ++i) out += i == 0 ? "\r\033[2K" : "\033[1A\033[2K";
}

void Terminal::draw_status(std::string& out) const {
  for (std::size_t i = 0; i < status_.size(); ++i) {
    if (i > 0) out += '\n';
    out += status_[i];
  }
}

int terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

}  // namespace vtissue::pipeline
