#include "core/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace vtissue {
namespace fs = std::filesystem;

namespace {

class FileDescriptor {
 public:
  FileDescriptor(const fs::path& path, int flags) : value_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~FileDescriptor() {
    if (value_ >= 0) ::close(value_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int value() const { return value_; }

 private:
  int value_;
};

void write_all(const fs::path& path, std::span<const std::byte> content) {
  FileDescriptor file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (file.value() < 0) throw_output_error(path, "create", errno);
  while (!content.empty()) {
    const ssize_t written = ::write(file.value(), content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_output_error(path, "write", errno);
    }
    content = content.subspan(static_cast<std::size_t>(written));
  }
}

/// Where a folder steps while a new one takes its name.
fs::path aside_name(const fs::path& target) {
  return target.parent_path() / ("." + target.filename().string() + ".old");
}

/// rename() replaces a file in one go, but not a folder that has entries: the old one steps aside.
void replace_folder(const fs::path& temporary, const fs::path& target) {
  const fs::path aside = aside_name(target);
  std::error_code ignored;
  fs::remove_all(aside, ignored);
  if (fs::exists(target, ignored) && ::rename(target.c_str(), aside.c_str()) != 0)
    throw_output_error(target, "replace", errno);
  if (::rename(temporary.c_str(), target.c_str()) != 0) {
    const int reason = errno;
    if (fs::exists(aside, ignored)) ::rename(aside.c_str(), target.c_str());
    throw_output_error(target, "rename to", reason);
  }
  fs::remove_all(aside, ignored);
}

}  // namespace

void throw_output_error(const fs::path& path, std::string_view action, int error_number) {
  std::string_view remedy;
  if (error_number == ENOSPC || error_number == EDQUOT)
    remedy = "; free some space and run the same command again, it goes on where it stopped";
  if (error_number == EACCES || error_number == EROFS || error_number == EPERM)
    remedy = "; choose another folder or change its permissions";
  throw Error(ErrorCode::kOutput, "{}: cannot {}: {}{}", path.string(), action, std::strerror(error_number), remedy);
}

fs::path temporary_name(const fs::path& target) {
  return target.parent_path() / ("." + target.filename().string() + ".partial");
}

void remove_leftovers(const fs::path& target) {
  std::error_code ignored;
  fs::remove_all(temporary_name(target), ignored);
  fs::remove_all(aside_name(target), ignored);
}

void sync_to_disk(const fs::path& path) {
  FileDescriptor file(path, O_RDONLY);
  if (file.value() < 0 || ::fsync(file.value()) != 0) throw_output_error(path, "flush", errno);
}

void publish(const fs::path& temporary, const fs::path& target) {
  std::error_code failure;
  if (fs::is_directory(temporary, failure)) {
    fs::recursive_directory_iterator entry(temporary, failure);
    for (; !failure && entry != fs::recursive_directory_iterator(); entry.increment(failure)) {
      sync_to_disk(entry->path());
    }
    if (failure) throw_output_error(temporary, "list", failure.value());
    sync_to_disk(temporary);
    replace_folder(temporary, target);
  } else {
    sync_to_disk(temporary);
    if (::rename(temporary.c_str(), target.c_str()) != 0) throw_output_error(target, "rename to", errno);
  }
  sync_to_disk(target.has_parent_path() ? target.parent_path() : fs::path("."));
}

void write_file_atomically(const fs::path& target, std::span<const std::byte> content) {
  const fs::path temporary = temporary_name(target);
  try {
    write_all(temporary, content);
    publish(temporary, target);
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

void write_file_atomically(const fs::path& target, std::string_view content) {
  write_file_atomically(target, std::as_bytes(std::span(content)));
}

}  // namespace vtissue
