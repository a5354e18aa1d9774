#include "pipeline/parts_folder.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"

namespace vtissue::pipeline {
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kFingerprintDigits = 16;
constexpr int kMostAtOnce = 1000;  // runs of one stage with equal inputs in one work folder

fs::path lock_of(const fs::path& folder) { return folder / "lock"; }

bool is_there(const fs::path& path) {
  std::error_code unknown;
  return fs::exists(path, unknown);
}

/// "tile-0123456789abcdef" and "tile-0123456789abcdef.2" are folders of `tile`; "tile-set-…" and "../x" are not.
bool is_parts_folder_of(std::string_view stage, std::string_view name) {
  if (!name.starts_with(stage) || name.size() < stage.size() + 1 + kFingerprintDigits || name[stage.size()] != '-') {
    return false;
  }
  name.remove_prefix(stage.size() + 1);
  const auto digits = [](std::string_view text, std::string_view of) {
    return text.find_first_not_of(of) == std::string_view::npos;
  };
  if (!digits(name.substr(0, kFingerprintDigits), "0123456789abcdef")) return false;
  name.remove_prefix(kFingerprintDigits);
  return name.empty() || (name.size() > 1 && name.front() == '.' && digits(name.substr(1), "0123456789"));
}

bool has_parts(const fs::path& folder) {
  std::error_code failure;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure)) {
    if (entry->path().extension() == ".part") return true;
  }
  return false;
}

/// The lock goes last, and what another run puts there after it stays.
void remove_locked_folder(const fs::path& folder, FolderLock& lock) {
  std::error_code failure;
  std::vector<fs::path> entries;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure)) {
    if (entry->path() != lock_of(folder)) entries.push_back(entry->path());
  }
  for (const fs::path& entry : entries) {
    std::error_code kept;
    fs::remove_all(entry, kept);
    if (kept) failure = kept;
  }
  lock.remove_file();
  std::error_code not_empty;
  fs::remove(folder, not_empty);
  if (failure) spdlog::warn("{}: cannot be removed: {}", folder.string(), failure.message());
}

}  // namespace

PartsFolder PartsFolder::take(const fs::path& work, std::string_view stage, std::string_view fingerprint) {
  const std::string base = std::string(stage) + "-" + std::string(fingerprint.substr(0, kFingerprintDigits));
  const auto candidate = [&](int i) { return work / (i == 1 ? base : fmt::format("{}.{}", base, i)); };
  // Parts that are there are as good as this run's own: equal fingerprints give equal parts.
  for (const bool must_exist : {true, false}) {
    for (int i = 1; i <= kMostAtOnce; ++i) {
      const fs::path folder = candidate(i);
      if (is_there(folder) != must_exist) continue;
      if (std::optional<FolderLock> lock = FolderLock::try_lock(lock_of(folder))) return {folder, *std::move(lock)};
    }
  }
  throw Error(ErrorCode::kOutput, "{}: {} other runs are working on {}; use another --work", work.string(), kMostAtOnce,
              base);
}

void PartsFolder::leave() {
  if (path_.empty() || !lock_) return;  // moved from
  if (!has_parts(path_)) remove_locked_folder(path_, *lock_);
  lock_.reset();
}

void PartsFolder::remove() {
  remove_locked_folder(path_, *lock_);
  lock_.reset();
}

PartsLedger::PartsLedger(const fs::path& state, std::string_view stage)
    : file_(state / (std::string(stage) + ".parts")) {
  std::ifstream in(file_);
  for (std::string name; std::getline(in, name);) {
    // Checked, since what is named here will be removed.
    if (is_parts_folder_of(stage, name)) names_.push_back(name);
  }
}

void PartsLedger::add(const std::string& name) {
  if (std::find(names_.begin(), names_.end(), name) != names_.end()) return;
  names_.push_back(name);
  write();
}

void PartsLedger::remove_folders(const fs::path& work) {
  for (const std::string& name : names_) {
    const fs::path folder = work / name;
    if (!is_there(folder)) continue;
    try {
      if (std::optional<FolderLock> lock = FolderLock::try_lock(lock_of(folder))) remove_locked_folder(folder, *lock);
    } catch (const Error& error) {
      spdlog::warn("{}", error.what());
    }
  }
  forget_removed(work);
}

void PartsLedger::forget_removed(const fs::path& work) {
  if (std::erase_if(names_, [&](const std::string& name) { return !is_there(work / name); }) == 0) return;
  try {
    write();
  } catch (const Error& error) {
    spdlog::warn("{}", error.what());  // names a folder too many, which does no harm
  }
}

void PartsLedger::write() const {
  if (names_.empty()) {
    std::error_code ignored;
    fs::remove(file_, ignored);
    return;
  }
  std::string text;
  for (const std::string& name : names_) text += name + "\n";
  write_file_atomically(file_, text);
}

}  // namespace vtissue::pipeline
