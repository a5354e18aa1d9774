#include "stages/evaluate/seam_report.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "stages/evaluate/seam_metric.h"

namespace vtissue::stages {
namespace {

constexpr std::int64_t kBoxPx = 1024;

std::vector<Box<TargetPx>> boxes_with_tissue(const io::TileSet& tiles, int most) {
  std::set<std::pair<std::int64_t, std::int64_t>> places;  // row, column
  for (const TileCell cell : tiles.cells) {
    const Point<TargetPx> at = tiles.origin(cell);
    places.insert({at.y / kBoxPx, at.x / kBoxPx});
  }
  const std::vector<std::pair<std::int64_t, std::int64_t>> all(places.begin(), places.end());
  const std::size_t count = std::min(all.size(), static_cast<std::size_t>(most));
  std::vector<Box<TargetPx>> boxes;
  for (std::size_t k = 0; k < count; ++k) {
    const auto [row, column] = all[k * all.size() / count];
    boxes.push_back({{column * kBoxPx, row * kBoxPx}, {kBoxPx, kBoxPx}});
  }
  return boxes;
}

nlohmann::json to_json(const SeamScores& scores) {
  const auto value = [](const std::optional<double>& score) {
    return score ? nlohmann::json(*score) : nlohmann::json(nullptr);
  };
  return {{"lines", value(scores.lines)},
          {"worst_phase", value(scores.worst_phase)},
          {"colour_step", value(scores.colour_step)},
          {"gradient_energy", scores.gradient_energy},
          {"pixels", scores.pixels}};
}

}  // namespace

nlohmann::json seam_report(const LatentDecoder& made, const io::TileReader& real, const io::TileSet& tiles,
                           int most_boxes, const pipeline::RunContext& ctx) {
  SeamMetric of_made(tiles), of_real(tiles);
  const std::vector<Box<TargetPx>> boxes = boxes_with_tissue(tiles, most_boxes);
  for (const Box<TargetPx>& box : boxes) {
    ctx.throw_if_stopped();
    LatentDecoder::Windows windows = made.gather(box);
    made.decode(windows);
    std::vector<std::uint8_t> picture(static_cast<std::size_t>(box.size.area()) * 3, 255);
    made.compose(windows, picture);
    of_made.add(box, picture);
    of_real.add(box, real.read(box));
  }
  return {{"virtual", to_json(of_made.scores())}, {"real", to_json(of_real.scores())}, {"boxes", boxes.size()}};
}

}  // namespace vtissue::stages
