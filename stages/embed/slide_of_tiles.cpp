#include "stages/embed/slide_of_tiles.h"

#include "core/error.h"

namespace vtissue::stages {

std::shared_ptr<io::SlideReader> open_slide_of(const std::filesystem::path& path, const io::TileSet& tiles) {
  std::shared_ptr<io::SlideReader> slide = io::SlideReader::open(
      path, {.mpp = tiles.source_mpp, .pixel_aspect = tiles.pixel_aspect, .to_srgb = tiles.to_srgb});
  const auto size = slide->info().levels.front().size;
  if (size.width != tiles.slide_size.width || size.height != tiles.slide_size.height) {
    throw Error(ErrorCode::kBadInput,
                "{}: {} x {} pixels, but the tiles were made from a slide of {} x {}; name that slide, or run tile on "
                "this one",
                path.string(), size.width, size.height, tiles.slide_size.width, tiles.slide_size.height);
  }
  return slide;
}

void require_slide_of(const std::filesystem::path& path, const std::string& sha256, const io::TileSet& tiles) {
  if (sha256 == tiles.slide_sha256) return;
  throw Error(ErrorCode::kBadInput,
              "{}: not the slide that the tiles were made from (its SHA-256 is {}, theirs {}); name that slide, or run "
              "tile on this one",
              path.string(), sha256, tiles.slide_sha256);
}

void require_same_slide(const std::filesystem::path& store, const std::string& slide_sha256,
                        const std::string& expected, const std::filesystem::path& other, const char* made_by) {
  if (slide_sha256.empty() || expected.empty() || slide_sha256 == expected) return;
  throw Error(ErrorCode::kBadInput,
              "{} comes from another slide than {} (SHA-256 {} and {}); run {} again on the slide of the latter",
              store.string(), other.string(), slide_sha256, expected, made_by);
}

}  // namespace vtissue::stages
