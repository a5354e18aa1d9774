#pragma once

#include <spdlog/fmt/fmt.h>

#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vtissue {

/// Why an operation failed. The numeric value is the exit code of the command line (DESIGN 4).
enum class ErrorCode : int {
  kUsage = 2,         ///< wrong arguments or configuration
  kBadInput = 3,      ///< a slide, table or store that cannot be used
  kModel = 4,         ///< weights missing, damaged or of another network
  kDevice = 5,        ///< device not available, or out of memory
  kOutput = 6,        ///< an output could not be written
  kInterrupted = 130  ///< SIGINT, SIGTERM or --max-time; the work so far is committed
};

std::string_view to_string(ErrorCode code);

/// The one exception type. The message names the file, the value and the remedy; each frame that
/// passes it on may add what only that frame knows:
///
///     throw Error(ErrorCode::kBadInput, "{}: no µm/px in the slide; pass --mpp", path.string());
///     catch (Error& e) { e.add("tile ({}, {})", column, row); throw; }
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message);

  template <typename... Args>
  requires(sizeof...(Args) > 0) Error(ErrorCode code, fmt::format_string<Args...> format, Args&&... args)
      : Error(code, fmt::format(format, std::forward<Args>(args)...)) {}

  ErrorCode code() const { return code_; }
  int exit_code() const { return static_cast<int>(code_); }

  /// The message without contexts.
  const std::string& message() const { return message_; }

  /// Contexts, innermost first.
  const std::vector<std::string>& contexts() const { return contexts_; }

  /// Adds a context around the ones already there.
  Error& add_context(std::string context);

  template <typename... Args>
  Error& add(fmt::format_string<Args...> format, Args&&... args) {
    return add_context(fmt::format(format, std::forward<Args>(args)...));
  }

  /// "outer context: inner context: message".
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  ErrorCode code_;
  std::string message_;
  std::vector<std::string> contexts_;
  std::string what_;
};

}  // namespace vtissue
