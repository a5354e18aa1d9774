#include "models/training/loss_plot.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"

namespace vtissue::models::training {
namespace {

using Curve = std::vector<std::pair<double, double>>;  ///< step, loss

struct Curves {
  Curve loss;
  std::map<std::string, Curve> validation;
};

Curves read_curves(const std::filesystem::path& journal) {
  Curves curves;
  std::ifstream in(journal);
  for (std::string line; std::getline(in, line);) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("step")) continue;
    const double step = entry["step"];
    if (entry.contains("loss")) curves.loss.emplace_back(step, entry["loss"]);
    if (!entry.contains("validation")) continue;
    for (const auto& [name, value] : entry["validation"].items()) {
      if (name.starts_with("loss") && value.is_number()) curves.validation[name].emplace_back(step, value);
    }
  }
  return curves;
}

/// Where curves lie on the picture.
class PlotFrame {
 public:
  static constexpr double kWidth = 720, kHeight = 400, kLeft = 70, kRight = 120, kTop = 20, kBottom = 50;

  explicit PlotFrame(const Curves& curves) {
    cover(curves.loss);
    for (const auto& [name, curve] : curves.validation) cover(curve);
    if (high_ <= low_) high_ = low_ + 1;
  }

  double x(double step) const { return kLeft + (kWidth - kLeft - kRight) * step / std::max(1.0, last_); }
  double y(double loss) const { return kTop + (kHeight - kTop - kBottom) * (high_ - loss) / (high_ - low_); }
  double last() const { return last_; }

  /// Round values within the range, some five of them.
  std::vector<double> marks() const {
    const double raw = (high_ - low_) / 5, power = std::pow(10, std::floor(std::log10(raw)));
    const double step = power * (raw < 2 * power ? 2 : raw < 5 * power ? 5 : 10);
    std::vector<double> values;
    for (double value = std::ceil(low_ / step) * step; value <= high_; value += step) values.push_back(value);
    return values;
  }

 private:
  void cover(const Curve& curve) {
    for (const auto& [step, loss] : curve) {
      low_ = std::min(low_, loss);
      high_ = std::max(high_, loss);
      last_ = std::max(last_, step);
    }
  }
  double low_ = std::numeric_limits<double>::infinity(), high_ = -std::numeric_limits<double>::infinity(), last_ = 0;
};

std::string path_of(const PlotFrame& frame, const Curve& curve) {
  std::string path;
  for (const auto& [step, loss] : curve) {
    path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "M" : "L", frame.x(step), frame.y(loss));
  }
  return path;
}

std::string text(double x, double y, const char* anchor, const std::string& content, const char* colour = "#444") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" fill=\"{}\">{}</text>\n", x, y, anchor, colour,
                     content);
}

std::string axes(const PlotFrame& frame) {
  const double right = PlotFrame::kWidth - PlotFrame::kRight, bottom = PlotFrame::kHeight - PlotFrame::kBottom;
  std::string svg;
  for (const double mark : frame.marks()) {
    svg += fmt::format("<path d=\"M{:.1f},{:.1f}H{:.1f}\" stroke=\"#ddd\"/>\n", PlotFrame::kLeft, frame.y(mark), right);
    svg += text(PlotFrame::kLeft - 8, frame.y(mark) + 4, "end", fmt::format("{:.4g}", mark));
  }
  svg += fmt::format("<path d=\"M{0:.1f},{1:.1f}V{2:.1f}H{3:.1f}\" fill=\"none\" stroke=\"#444\"/>\n", PlotFrame::kLeft,
                     PlotFrame::kTop, bottom, right);
  svg += text(PlotFrame::kLeft, bottom + 20, "middle", "0");
  svg += text(right, bottom + 20, "middle", fmt::format("{:.0f}", frame.last()));
  return svg + text((PlotFrame::kLeft + right) / 2, bottom + 38, "middle", "step");
}

}  // namespace

void write_loss_plot(const std::filesystem::path& svg, const std::filesystem::path& journal) {
  // Colours that are told apart by most people with a colour deficiency (Okabe and Ito).
  static constexpr const char* kColours[] = {"#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00"};
  const Curves curves = read_curves(journal);
  if (curves.loss.size() < 2) return;
  const PlotFrame frame(curves);
  std::string picture = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" "
      "font-size=\"13\">\n<rect width=\"{0:.0f}\" height=\"{1:.0f}\" fill=\"#fff\"/>\n",
      PlotFrame::kWidth, PlotFrame::kHeight);
  picture += axes(frame);
  double label = PlotFrame::kTop + 10;
  const auto add = [&](const std::string& name, const Curve& curve, const char* colour, double width) {
    picture += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"/>\n", path_of(frame, curve),
                           colour, width);
    picture += text(PlotFrame::kWidth - PlotFrame::kRight + 12, label, "start", name, colour);
    label += 18;
  };
  add("training", curves.loss, "#888", 1);
  std::size_t colour = 0;
  for (const auto& [name, curve] : curves.validation) {
    add("held out: " + name, curve, kColours[colour++ % std::size(kColours)], 2);
  }
  write_file_atomically(svg, picture + "</svg>\n");
}

}  // namespace vtissue::models::training
