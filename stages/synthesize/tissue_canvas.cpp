#include "stages/synthesize/tissue_canvas.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "core/atomic_file.h"
#include "core/error.h"
#include "stages/synthesize/window_layout.h"

namespace vtissue::stages {
namespace {

constexpr int kSlots = 2;

/// Descriptor of a new file of `bytes` that has no name any more; all its blocks are there, so that writing through a
/// mapping cannot fail.
int make_backing_file(const std::filesystem::path& folder, std::size_t bytes) {
  std::string name = (folder / "canvas-XXXXXX").string();
  const int descriptor = ::mkstemp(name.data());
  if (descriptor < 0) throw_output_error(name, "create", errno);
  ::unlink(name.c_str());
  if (const int failed = ::posix_fallocate(descriptor, 0, static_cast<off_t>(bytes)); failed != 0) {
    ::close(descriptor);
    throw_output_error(name, fmt::format("make room for {} bytes of latents in", bytes), failed);
  }
  return descriptor;
}

}  // namespace

std::size_t TissueCanvas::bytes(std::size_t tiles, int size, int channels, int planes) {
  return kSlots * tiles * static_cast<std::size_t>(planes) * static_cast<std::size_t>(channels) *
         static_cast<std::size_t>(size) * static_cast<std::size_t>(size) * sizeof(float);
}

TissueCanvas::TissueCanvas(std::span<const TileCell> cells, int size, int channels, int planes,
                           const std::filesystem::path& folder)
    : cells_(cells),
      size_(size),
      channels_(channels),
      planes_(planes),
      bytes_(std::max<std::size_t>(bytes(cells.size(), size, channels, planes), 1)) {
  int descriptor = -1;
  if (!folder.empty()) descriptor = make_backing_file(folder, bytes_);
  const int flags = descriptor < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* const memory = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, flags, descriptor, 0);
  const int failed = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (memory == MAP_FAILED) throw_output_error(folder, fmt::format("map {} bytes of latents in", bytes_), failed);
  values_ = static_cast<float*>(memory);
}

TissueCanvas::~TissueCanvas() { ::munmap(values_, bytes_); }

std::size_t TissueCanvas::offset(int slot, int plane, std::size_t tile) const {
  const auto place = static_cast<std::size_t>(slot * planes_ + plane) * cells_.size() + tile;
  return place * static_cast<std::size_t>(channels_ * size_ * size_);
}

std::vector<TissueCanvas::Overlap> TissueCanvas::overlaps(Point<Latent> origin) const {
  std::vector<Overlap> result;
  const std::int64_t column = floor_div(origin.x, size_), row = floor_div(origin.y, size_);
  const auto dx = static_cast<int>(origin.x - column * size_), dy = static_cast<int>(origin.y - row * size_);
  for (int down = 0; down < (dy == 0 ? 1 : 2); ++down) {
    for (int right = 0; right < (dx == 0 ? 1 : 2); ++right) {
      const TileCell cell{static_cast<std::int32_t>(2 * (column + right)), static_cast<std::int32_t>(2 * (row + down))};
      const auto found = std::ranges::lower_bound(cells_, cell);
      if (found == cells_.end() || *found != cell) continue;
      result.push_back({static_cast<std::size_t>(found - cells_.begin()), right == 0 ? 0 : size_ - dx,
                        down == 0 ? 0 : size_ - dy, right == 0 ? size_ - dx : size_, down == 0 ? size_ - dy : size_});
    }
  }
  return result;
}

bool TissueCanvas::covers(Point<Latent> origin) const {
  int area = 0;
  for (const Overlap& overlap : overlaps(origin)) area += overlap.area();
  return area == size_ * size_;
}

/// copy(first value in the canvas, first value in the square, number) for each row of each overlap and channel.
template <typename Copy>
void TissueCanvas::for_rows(int slot, int plane, Point<Latent> origin, Copy&& copy) const {
  for (const Overlap& overlap : overlaps(origin)) {
    const Point<Latent> shift = origin - latent_origin(cells_[overlap.tile], size_);
    const std::size_t tile = offset(slot, plane, overlap.tile);
    for (int channel = 0; channel < channels_; ++channel) {
      for (int y = overlap.y0; y < overlap.y1; ++y) {
        const auto in_tile = static_cast<std::size_t>((channel * size_ + y + shift.y) * size_ + overlap.x0 + shift.x);
        const auto in_square = static_cast<std::size_t>((channel * size_ + y) * size_ + overlap.x0);
        copy(tile + in_tile, in_square, static_cast<std::size_t>(overlap.x1 - overlap.x0));
      }
    }
  }
}

void TissueCanvas::read(int slot, int plane, Point<Latent> origin, std::span<float> out) const {
  for_rows(slot, plane, origin, [&](std::size_t from, std::size_t to, std::size_t count) {
    std::copy_n(values_ + from, count, out.data() + to);
  });
}

void TissueCanvas::write(int slot, int plane, Point<Latent> origin, std::span<const float> values) {
  for_rows(slot, plane, origin, [&](std::size_t to, std::size_t from, std::size_t count) {
    std::copy_n(values.data() + from, count, values_ + to);
  });
}

}  // namespace vtissue::stages
