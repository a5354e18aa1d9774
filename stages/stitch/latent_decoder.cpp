#include "stages/stitch/latent_decoder.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "stages/embed/slide_of_tiles.h"

namespace vtissue::stages {
namespace {

Box<Latent> square(Point<Latent> origin, std::int64_t side) { return {origin, {side, side}}; }

/// [first, last) of what two ranges share; empty if first >= last.
struct Range {
  std::int64_t first, last;
};
Range common(std::int64_t a, std::int64_t a_length, std::int64_t b, std::int64_t b_length) {
  return {std::max(a, b), std::min(a + a_length, b + b_length)};
}

}  // namespace

std::vector<float> latents_of_colour(const models::Autoencoder& autoencoder, std::array<std::uint8_t, 3> colour) {
  // Far enough from the borders that they are not seen in the middle.
  constexpr int kSide = 16;
  const int px = kSide * autoencoder.factor();
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(px) * static_cast<std::size_t>(px) * 3);
  for (std::size_t k = 0; k < rgb.size(); ++k) rgb[k] = colour[k % 3];
  const auto channels = static_cast<std::size_t>(autoencoder.latent_channels());
  std::vector<float> latents(channels * kSide * kSide);
  autoencoder.encode(rgb, 1, px, px, latents);
  std::vector<float> middle;
  for (std::size_t c = 0; c < channels; ++c) middle.push_back(latents[(c * kSide + kSide / 2) * kSide + kSide / 2]);
  return middle;
}

void require_decodable(const std::filesystem::path& folder, const io::LatentReader& latents,
                       const std::filesystem::path& tiles_path, const io::TileSet& tiles,
                       const models::Autoencoder& autoencoder) {
  const io::LatentStoreInfo& info = latents.info();
  if (tiles.lattice) {
    throw Error(ErrorCode::kBadInput, "{}: {}; a virtual slide is put together from tiles side by side",
                tiles_path.string(), tiles.grid());
  }
  if (latents.cells() != tiles.cells || info.tile_px != tiles.tile_px) {
    throw Error(ErrorCode::kBadInput,
                "{} has {} tiles of {} px and {} has {} of {} px, not the same ones; run "
                "synthesize on these tiles",
                folder.string(), latents.cells().size(), info.tile_px, tiles_path.string(), tiles.cells.size(),
                tiles.tile_px);
  }
  require_same_slide(folder, info.slide_sha256, tiles.slide_sha256, tiles_path, "embed and synthesize");
  if (info.channels != autoencoder.latent_channels() || info.size * autoencoder.factor() != info.tile_px) {
    throw Error(ErrorCode::kModel,
                "{}: tiles of {} px as {} x {} latents of {} channels, but {} turns {} channels into {} "
                "x {} px a latent; use the autoencoder that the denoiser was trained with",
                folder.string(), info.tile_px, info.size, info.size, info.channels, autoencoder.info().name,
                autoencoder.latent_channels(), autoencoder.factor(), autoencoder.factor());
  }
}

LatentDecoder::LatentDecoder(const io::TileSet& tiles, const io::LatentReader& latents,
                             const models::Autoencoder& autoencoder, std::array<std::uint8_t, 3> glass)
    : tiles_(tiles),
      latents_(latents),
      autoencoder_(autoencoder),
      window_(autoencoder.decode_window()),
      size_(latents.info().size),
      factor_(autoencoder.factor()),
      glass_(latents_of_colour(autoencoder, glass)) {}

std::vector<LatentDecoder::Tile> LatentDecoder::tiles_in(Box<Latent> box) const {
  std::vector<Tile> result;
  const std::vector<TileCell>& cells = tiles_.cells;
  // Rows and columns of half tiles whose tile reaches into the box.
  const auto first = [this](std::int64_t at) { return static_cast<std::int32_t>(2 * (at - size_) / size_ - 1); };
  const auto last = [this](std::int64_t end) { return static_cast<std::int32_t>(2 * end / size_ + 1); };
  const std::int32_t last_row = last(box.origin.y + box.size.height);
  for (std::int32_t row = first(box.origin.y); row <= last_row; ++row) {
    auto at = std::ranges::lower_bound(cells, TileCell{first(box.origin.x), row});
    const TileCell end{last(box.origin.x + box.size.width), row};
    for (; at != cells.end() && *at <= end; ++at) {
      const Point<Latent> origin{std::int64_t{at->column} * size_ / 2, std::int64_t{at->row} * size_ / 2};
      const Range x = common(origin.x, size_, box.origin.x, box.size.width);
      const Range y = common(origin.y, size_, box.origin.y, box.size.height);
      if (x.first < x.last && y.first < y.last) {
        result.push_back({origin, static_cast<std::size_t>(at - cells.begin())});
      }
    }
  }
  return result;
}

LatentDecoder::Windows LatentDecoder::gather(Box<TargetPx> box) const {
  Windows windows{.box = box, .origins = {}, .latents = {}, .rgb = {}};
  const std::int64_t inner = window_.inner, reach = window_.ramp;
  const auto channels = glass_.size();
  const auto plane = static_cast<std::size_t>(side()) * static_cast<std::size_t>(side());
  const auto up = [this](std::int64_t px) { return (px + factor_ - 1) / factor_; };
  const std::int64_t bottom = up(box.origin.y + box.size.height), right = up(box.origin.x + box.size.width);
  std::vector<float> tile(channels * static_cast<std::size_t>(size_) * static_cast<std::size_t>(size_));
  for (std::int64_t y = floor_div(box.origin.y / factor_ - reach, inner) * inner; y - reach < bottom; y += inner) {
    for (std::int64_t x = floor_div(box.origin.x / factor_ - reach, inner) * inner; x - reach < right; x += inner) {
      const Range shown_x =
          common(x - reach, inner + 2 * reach, box.origin.x / factor_, right - box.origin.x / factor_);
      const Range shown_y =
          common(y - reach, inner + 2 * reach, box.origin.y / factor_, bottom - box.origin.y / factor_);
      const Box<Latent> shown{{shown_x.first, shown_y.first},
                              {shown_x.last - shown_x.first, shown_y.last - shown_y.first}};
      if (shown.size.empty() || tiles_in(shown).empty()) continue;
      windows.origins.push_back({x, y});
      const std::size_t start = windows.latents.size();
      windows.latents.resize(start + channels * plane);
      for (std::size_t k = start; k < windows.latents.size(); ++k) windows.latents[k] = glass_[(k - start) / plane];
      const Box<Latent> seen = square({x - window_.halo, y - window_.halo}, side());
      for (const Tile& under : tiles_in(seen)) {
        latents_.read(under.index, tile);
        const Range across = common(under.origin.x, size_, seen.origin.x, side());
        const Range down = common(under.origin.y, size_, seen.origin.y, side());
        for (std::size_t channel = 0; channel < channels; ++channel) {
          for (std::int64_t row = down.first; row < down.last; ++row) {
            const auto from = (static_cast<std::int64_t>(channel) * size_ + row - under.origin.y) * size_ +
                              across.first - under.origin.x;
            const auto to = (static_cast<std::int64_t>(channel) * side() + row - seen.origin.y) * side() +
                            across.first - seen.origin.x;
            std::copy_n(tile.begin() + from, across.last - across.first,
                        windows.latents.begin() + static_cast<std::ptrdiff_t>(start) + to);
          }
        }
      }
    }
  }
  return windows;
}

void LatentDecoder::decode(Windows& windows) const {
  const auto px = static_cast<std::size_t>(side()) * static_cast<std::size_t>(factor_);
  windows.rgb.resize(windows.origins.size() * px * px * 3);
  if (windows.origins.empty()) return;
  autoencoder_.decode(windows.latents, static_cast<int>(windows.origins.size()), side(), side(), windows.rgb);
  windows.latents = {};
}

std::vector<std::uint8_t> LatentDecoder::blend(const Windows& windows) const {
  const Box<TargetPx>& box = windows.box;
  const auto pixels = static_cast<std::size_t>(box.size.area());
  std::vector<float> sum(pixels * 3), weight(pixels);
  const std::int64_t px = std::int64_t{side()} * factor_, reach = std::int64_t{window_.ramp} * factor_;
  const std::int64_t inner = std::int64_t{window_.inner} * factor_, halo = std::int64_t{window_.halo} * factor_;
  // 1 inside, falling to 0 from `reach` before the inner square's border to `reach` behind it.
  const auto ramp = [&](std::int64_t at) {
    if (reach == 0) return 1.0f;
    const std::int64_t inside = std::min(at + reach, inner + reach - 1 - at);
    return std::min(1.0f, (static_cast<float>(inside) + 0.5f) / static_cast<float>(2 * reach));
  };
  for (std::size_t w = 0; w < windows.origins.size(); ++w) {
    const Point<TargetPx> at{windows.origins[w].x * factor_, windows.origins[w].y * factor_};
    const Range across = common(at.x - reach, inner + 2 * reach, box.origin.x, box.size.width);
    const Range down = common(at.y - reach, inner + 2 * reach, box.origin.y, box.size.height);
    for (std::int64_t y = down.first; y < down.last; ++y) {
      const float row_weight = ramp(y - at.y);
      for (std::int64_t x = across.first; x < across.last; ++x) {
        const float here = row_weight * ramp(x - at.x);
        const auto to = static_cast<std::size_t>((y - box.origin.y) * box.size.width + x - box.origin.x);
        const auto from =
            w * static_cast<std::size_t>(px * px) + static_cast<std::size_t>((y - at.y + halo) * px + x - at.x + halo);
        weight[to] += here;
        for (std::size_t c = 0; c < 3; ++c) sum[to * 3 + c] += here * windows.rgb[from * 3 + c];
      }
    }
  }
  std::vector<std::uint8_t> rgb(pixels * 3);
  for (std::size_t k = 0; k < rgb.size(); ++k) {
    if (weight[k / 3] > 0) rgb[k] = static_cast<std::uint8_t>(std::lround(sum[k] / weight[k / 3]));
  }
  return rgb;
}

void LatentDecoder::compose(const Windows& windows, std::span<std::uint8_t> picture) const {
  if (windows.origins.empty()) return;
  const Box<TargetPx>& box = windows.box;
  const std::vector<std::uint8_t> decoded = blend(windows);
  const auto down = [this](std::int64_t px) { return px / factor_; };
  const auto up = [this](std::int64_t px) { return (px + factor_ - 1) / factor_; };
  const Box<Latent> latents{{down(box.origin.x), down(box.origin.y)},
                            {up(box.origin.x + box.size.width) - down(box.origin.x),
                             up(box.origin.y + box.size.height) - down(box.origin.y)}};
  const std::int64_t tile_px = tiles_.tile_px;
  for (const Tile& tile : tiles_in(latents)) {
    const Range across = common(tile.origin.x * factor_, tile_px, box.origin.x, box.size.width);
    const Range rows = common(tile.origin.y * factor_, tile_px, box.origin.y, box.size.height);
    if (across.first >= across.last) continue;
    for (std::int64_t y = rows.first; y < rows.last; ++y) {
      const auto at = ((y - box.origin.y) * box.size.width + across.first - box.origin.x) * 3;
      std::copy_n(decoded.begin() + at, (across.last - across.first) * 3, picture.begin() + at);
    }
  }
}

}  // namespace vtissue::stages
