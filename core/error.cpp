#include "core/error.h"

namespace vtissue {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage:
      return "usage";
    case ErrorCode::kBadInput:
      return "bad input";
    case ErrorCode::kModel:
      return "model";
    case ErrorCode::kDevice:
      return "device";
    case ErrorCode::kOutput:
      return "output";
    case ErrorCode::kInterrupted:
      return "interrupted";
  }
  return "unknown";
}

Error::Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)), what_(message_) {}

Error& Error::add_context(std::string context) {
  what_ = context + ": " + what_;
  contexts_.push_back(std::move(context));
  return *this;
}

}  // namespace vtissue
