#include "viewer/export_site.h"

#include <atomic>
#include <cerrno>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"

namespace vtissue::viewer {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMark = "data/runs.json";  // what makes a folder an export

void add_tiles(std::vector<std::string>& paths, const std::string& folder, const SlideTiles& slide) {
  for (int level = 0; level < slide.levels(); ++level) {
    const Size<LevelPx> tiles = slide.tiles_of(level);
    for (std::int64_t y = 0; y < tiles.height; ++y) {
      for (std::int64_t x = 0; x < tiles.width; ++x)
        paths.push_back(fmt::format("{}/{}/{}_{}.jpg", folder, level, x, y));
    }
  }
}

std::vector<std::string> paths_of(Run& run) {
  const std::string base = "data/r/" + run.place().id;
  std::vector<std::string> paths = {base + "/run.json"};
  if (const io::TileSet* tiles = run.tiles()) {
    paths.push_back(base + "/tiles.bin");
    paths.push_back(base + "/mask.bin");
    for (std::size_t i = 0; i < run.figures().size(); ++i) paths.push_back(fmt::format("{}/figures/{}.bin", base, i));
    if (GeneTable* genes = run.genes()) {
      paths.push_back(base + "/genes.json");
      for (std::size_t i = 0; i < genes->genes().size(); ++i) paths.push_back(fmt::format("{}/genes/{}.bin", base, i));
      for (std::size_t i = 0; i * GeneTable::kTopTiles < tiles->cells.size(); ++i)
        paths.push_back(fmt::format("{}/top/{}.json", base, i));
    }
  }
  add_tiles(paths, base + "/virtual", run.virtual_slide());
  if (run.real_slide() != nullptr) add_tiles(paths, base + "/real", *run.real_slide());
  return paths;
}

/// Writes paths below a folder, by several threads.
class SiteWriter {
 public:
  SiteWriter(Content& content, const fs::path& folder, const SiteOptions& options)
      : content_(content), folder_(folder), options_(options) {}

  std::int64_t write(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
      std::error_code error;
      fs::create_directories((folder_ / path).parent_path(), error);
      if (error) throw_output_error(folder_, "create", error.value());
    }
    next_ = 0;
    std::vector<std::thread> threads;
    threads.reserve(static_cast<std::size_t>(options_.threads));
    for (int i = 0; i < options_.threads; ++i) threads.emplace_back([&] { work(paths); });
    for (std::thread& thread : threads) thread.join();
    if (failure_ != nullptr) std::rethrow_exception(failure_);
    return bytes_;
  }

 private:
  void work(const std::vector<std::string>& paths) {
    try {
      for (std::size_t i = next_++; i < paths.size() && !failed_; i = next_++) {
        if (options_.stop && options_.stop())
          throw Error(ErrorCode::kInterrupted, "{}: stopped while it was written", folder_.string());
        write_one(paths[i]);
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (failure_ == nullptr) failure_ = std::current_exception();
      failed_ = true;
    }
  }

  void write_one(const std::string& path) {
    const Response found = content_.get(path);
    if (found.status != 200) {
      std::string reason = *found.body;
      while (reason.ends_with('\n')) reason.pop_back();
      throw Error(ErrorCode::kBadInput, "{}: {}", path, reason);
    }
    std::ofstream file(folder_ / path, std::ios::binary);
    file.write(found.body->data(), static_cast<std::streamsize>(found.body->size()));
    file.close();
    if (!file) throw_output_error(folder_ / path, "write", errno);
    bytes_ += static_cast<std::int64_t>(found.body->size());
  }

  Content& content_;
  const fs::path& folder_;
  const SiteOptions& options_;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<std::int64_t> bytes_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  std::exception_ptr failure_;
};

}  // namespace

std::int64_t export_site(Content& content, const fs::path& site, const SiteOptions& options) {
  const fs::path target = (site.has_filename() ? site : site.parent_path()).lexically_normal();
  std::error_code ignored;
  if (fs::exists(target, ignored) && !fs::exists(target / kMark, ignored) &&
      !(fs::is_directory(target, ignored) && fs::is_empty(target, ignored))) {
    throw Error(ErrorCode::kUsage, "{}: it is there already and no export of the viewer; name a new folder",
                target.string());
  }
  const fs::path temporary = temporary_name(target);
  remove_leftovers(target);
  try {
    SiteWriter writer(content, temporary, options);
    std::int64_t bytes = 0;
    for (const RunPlace& place : content.runs()) {
      const std::shared_ptr<Run> run = content.open(place.id);
      if (run != nullptr) bytes = writer.write(paths_of(*run));
    }
    std::vector<std::string> rest = content.page_files();
    rest.emplace_back(kMark);
    bytes = writer.write(rest);
    publish(temporary, target);
    return bytes;
  } catch (...) {
    fs::remove_all(temporary, ignored);
    throw;
  }
}

}  // namespace vtissue::viewer
