#include "stages/training_set/training_set.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>

#include "core/error.h"
#include "core/safetensors.h"
#include "io/expression.h"
#include "io/slide_reader.h"
#include "io/spot_mapping.h"
#include "io/tile_reader.h"
#include "stages/tile/tissue_mask.h"

namespace vtissue::stages {

namespace {

constexpr int kMaskCell = 16;     // pixels per mask value: what models/training expects
constexpr double kMaskMpp = 8.0;  // µm/px of the picture that the tissue is found on
constexpr int kFormat = 1;

struct PreparedSection {
  Size<TargetPx> size;
  std::vector<std::uint8_t> rgb, mask;
  std::vector<float> spots_xy, counts, total;
  Size<TargetPx> mask_size;
};

/// What messages call the section's measurement; empty if it has none.
const std::filesystem::path& spots_name(const TrainingSection& section) {
  if (!section.st_counts.empty()) return section.st_counts;
  return section.visium.empty() ? section.h5ad : section.visium;
}

io::SpotTable read_spots(const TrainingSection& section) {
  io::SpotTable spots;
  if (!section.st_counts.empty()) spots = io::read_legacy_st(section.st_counts, section.st_spots);
  if (!section.visium.empty()) spots = io::read_visium(section.visium);
  if (!section.h5ad.empty()) spots = io::read_h5ad_spots(section.h5ad);
  if (spots.log_normalized) {
    throw Error(ErrorCode::kBadInput,
                "{}: section {} has log-normalised values and no counts; training needs counts (in X, layers/counts or "
                "raw/X)",
                spots_name(section).string(), section.name);
  }
  return spots;
}

SectionCounts dense_counts(const io::SpotTable& spots) {
  SectionCounts counts{spots.counts.genes, {}};
  for (std::size_t row = 0; row < spots.counts.rows; ++row) {
    std::vector<float> dense(spots.counts.genes.size());
    for (auto i = spots.counts.indptr[row]; i < spots.counts.indptr[row + 1]; ++i) {
      dense[static_cast<std::size_t>(spots.counts.indices[i])] += spots.counts.values[i];
    }
    counts.rows.push_back(std::move(dense));
  }
  return counts;
}

/// The section's part of the slide at the manifest's µm/px, cut to the box of its tissue.
PreparedSection read_pixels(const TrainingSection& section, double mpp, const io::SpotTable& spots,
                            const std::vector<std::string>& panel) {
  const std::shared_ptr<const io::SlideReader> slide =
      io::SlideReader::open(section.slide, io::SlideOptions{section.slide_mpp});
  if (slide->info().pixel_aspect != 1) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: pixels are not square ({} times as long as wide), and spots and regions count them; write the slide "
        "with square ones, or give slide_mpp",
        section.slide.string(), slide->info().pixel_aspect);
  }
  const io::TileReader reader(slide, mpp);

  const Size<LevelPx> level0 = slide->info().levels.front().size;
  if (spots.counts.rows > 0) {
    io::check_placement(spots, {level0.width, level0.height}, mpp / reader.scale(), spots_name(section).string());
  }
  const auto region = section.region.value_or(std::array<std::int64_t, 4>{0, 0, level0.width, level0.height});
  const int longest =
      static_cast<int>(static_cast<double>(std::max(level0.width, level0.height)) * (mpp / reader.scale()) / kMaskMpp);
  const io::SlideReader::Picture picture = slide->thumbnail(longest);
  const TissueMask mask = find_tissue(picture.rgb, picture.size, picture.downsample * mpp / reader.scale());
  const auto is_tissue = [&](double level0_x, double level0_y) {
    const auto column = static_cast<std::int64_t>(level0_x / picture.downsample);
    const auto row = static_cast<std::int64_t>(level0_y / picture.downsample);
    return column >= 0 && row >= 0 && column < mask.size.width && row < mask.size.height &&
           mask.mask[static_cast<std::size_t>(row * mask.size.width + column)] != 0;
  };

  // The box in cells of the mask, within the region.
  const double cell = kMaskCell * reader.scale();  // level-0 pixels
  std::int64_t left = std::numeric_limits<std::int64_t>::max(), top = left, right = -1, bottom = -1;
  for (auto row = static_cast<std::int64_t>(std::ceil(region[1] / cell)); (row + 1) * cell <= region[1] + region[3];
       ++row) {
    for (auto column = static_cast<std::int64_t>(std::ceil(region[0] / cell));
         (column + 1) * cell <= region[0] + region[2]; ++column) {
      if (!is_tissue((column + 0.5) * cell, (row + 0.5) * cell)) continue;
      left = std::min(left, column), right = std::max(right, column);
      top = std::min(top, row), bottom = std::max(bottom, row);
    }
  }
  if (right < 0) {
    throw Error(ErrorCode::kBadInput, "{}: no tissue in section {}; check its region and µm/px", section.slide.string(),
                section.name);
  }

  PreparedSection out;
  const Box<TargetPx> box{{left * kMaskCell, top * kMaskCell},
                          {(right - left + 1) * kMaskCell, (bottom - top + 1) * kMaskCell}};
  out.size = box.size;
  out.rgb = reader.read(box);
  out.mask_size = {right - left + 1, bottom - top + 1};
  for (std::int64_t row = top; row <= bottom; ++row) {
    for (std::int64_t column = left; column <= right; ++column) {
      out.mask.push_back(is_tissue((column + 0.5) * cell, (row + 0.5) * cell) ? 1 : 0);
    }
  }

  std::map<std::string_view, std::size_t> position;
  for (std::size_t gene = 0; gene < panel.size(); ++gene) position[panel[gene]] = gene;
  for (std::size_t spot = 0; spot < spots.counts.rows; ++spot) {
    const double x = spots.x[spot] / reader.scale() - static_cast<double>(box.origin.x);
    const double y = spots.y[spot] / reader.scale() - static_cast<double>(box.origin.y);
    if (x < 0 || y < 0 || x >= static_cast<double>(box.size.width) || y >= static_cast<double>(box.size.height))
      continue;
    std::vector<float> row(panel.size());
    double total = 0;
    for (auto i = spots.counts.indptr[spot]; i < spots.counts.indptr[spot + 1]; ++i) {
      total += spots.counts.values[i];
      const auto found = position.find(spots.counts.genes[static_cast<std::size_t>(spots.counts.indices[i])]);
      if (found != position.end()) row[found->second] += spots.counts.values[i];
    }
    out.spots_xy.insert(out.spots_xy.end(), {static_cast<float>(x), static_cast<float>(y)});
    out.counts.insert(out.counts.end(), row.begin(), row.end());
    out.total.push_back(static_cast<float>(total));
  }
  return out;
}

}  // namespace

void write_training_set(const TrainingManifest& manifest, const std::filesystem::path& output,
                        const std::function<void(std::string_view)>& log) {
  std::vector<io::SpotTable> spots;
  std::vector<SectionCounts> for_panel;
  for (const TrainingSection& section : manifest.sections) {
    spots.push_back(read_spots(section));
    if (section.split == "train" && spots.back().counts.rows > 0) for_panel.push_back(dense_counts(spots.back()));
  }
  if (for_panel.empty()) {
    throw Error(ErrorCode::kUsage,
                "the manifest has no training section with spots; the gene panel is chosen from them");
  }
  const std::vector<std::string> panel = choose_panel(for_panel, manifest.panel_genes);
  for_panel.clear();
  log(fmt::format("panel: {} genes", panel.size()));

  std::vector<PreparedSection> sections;
  nlohmann::json listed = nlohmann::json::array();
  for (std::size_t i = 0; i < manifest.sections.size(); ++i) {
    const TrainingSection& section = manifest.sections[i];
    sections.push_back(read_pixels(section, manifest.mpp, spots[i], panel));
    const PreparedSection& made = sections.back();
    const auto tissue = std::accumulate(made.mask.begin(), made.mask.end(), std::int64_t{0}) * kMaskCell * kMaskCell;
    log(fmt::format("{} ({}): {} x {} px, {:.1f} megapixels of tissue, {} spots", section.name, section.split,
                    made.size.width, made.size.height, static_cast<double>(tissue) * 1e-6, made.total.size()));
    listed.push_back({{"name", section.name},
                      {"split", section.split},
                      {"spots", made.total.size()},
                      {"license", section.licence},
                      {"source", section.source}});
  }

  std::vector<SafetensorsOutput> tensors;
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const PreparedSection& s = sections[i];
    const std::string prefix = fmt::format("section/{}/", i);
    const auto n = static_cast<std::int64_t>(s.total.size());
    const auto genes = static_cast<std::int64_t>(panel.size());
    tensors.push_back({prefix + "rgb", "U8", {s.size.height, s.size.width, 3}, std::as_bytes(std::span(s.rgb))});
    tensors.push_back(
        {prefix + "mask", "U8", {s.mask_size.height, s.mask_size.width}, std::as_bytes(std::span(s.mask))});
    tensors.push_back({prefix + "spots_xy", "F32", {n, 2}, std::as_bytes(std::span(s.spots_xy))});
    tensors.push_back({prefix + "counts", "F32", {n, genes}, std::as_bytes(std::span(s.counts))});
    tensors.push_back({prefix + "total", "F32", {n}, std::as_bytes(std::span(s.total))});
  }
  const nlohmann::json info = {{"format", kFormat}, {"mpp", manifest.mpp}, {"genes", panel}, {"sections", listed}};
  write_safetensors(output, std::move(tensors), {{"info", info.dump()}});
}

}  // namespace vtissue::stages
