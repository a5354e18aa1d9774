#include "viewer/run_finder.h"

#include <algorithm>
#include <system_error>

#include "core/error.h"
#include "core/hash.h"
#include "viewer/run_files.h"

namespace vtissue::viewer {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 3;
constexpr std::size_t kMostRuns = 10'000;
constexpr std::size_t kIdDigits = 12;

void search(const fs::path& root, const fs::path& folder, int depth, std::vector<RunPlace>& found) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (found.size() >= kMostRuns) return;
    std::error_code ignored;
    if (!entry->is_directory(ignored) || entry->path().filename().string().starts_with(".")) continue;
    if (entry->is_symlink(ignored) && !lies_inside(root, entry->path())) continue;
    if (fs::exists(entry->path() / run_files::kVirtual, ignored)) {
      const std::string name = fs::relative(entry->path(), root, ignored).generic_string();
      found.push_back({sha256(name).substr(0, kIdDigits), name, entry->path()});
    } else if (depth < kDeepest && !entry->is_symlink(ignored)) {
      search(root, entry->path(), depth + 1, found);
    }
  }
}

}  // namespace

bool lies_inside(const fs::path& root, const fs::path& path) {
  std::error_code error;
  const fs::path whole = fs::canonical(root, error);
  if (error) return false;
  const fs::path inner = fs::canonical(path, error);
  if (error) return false;
  return std::mismatch(whole.begin(), whole.end(), inner.begin(), inner.end()).first == whole.end();
}

std::vector<RunPlace> find_runs(const fs::path& root) {
  std::error_code error;
  const fs::path whole = fs::canonical(root, error);
  if (error) throw Error(ErrorCode::kBadInput, "{}: {}", root.string(), error.message());
  if (!fs::is_directory(whole)) {
    throw Error(ErrorCode::kBadInput, "{}: not a folder; name the folder of a run, or one that holds runs",
                root.string());
  }
  if (fs::exists(whole / run_files::kVirtual))
    return {{sha256(".").substr(0, kIdDigits), whole.filename().string(), whole}};
  std::vector<RunPlace> found;
  search(whole, whole, 1, found);
  std::ranges::sort(found, {}, &RunPlace::name);
  return found;
}

}  // namespace vtissue::viewer
