#include "stages/perturb/controls_page.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"
#include "stages/report/html.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {
namespace {

/// The controls of a kind as dots on a line from 0 on, the change that is asked about as a vertical bar.
std::string dots(const std::vector<double>& null, double effect) {
  constexpr double kWidth = 640, kHeight = 64, kMargin = 12;
  double most = effect;
  for (const double value : null) most = std::max(most, value);
  const auto x = [&](double value) { return kMargin + (kWidth - 2 * kMargin) * (most > 0 ? value / most : 0); };
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {} {}\" width=\"{}\" role=\"img\"><line x1=\"{}\" y1=\"40\" x2=\"{}\" y2=\"40\" "
      "stroke=\"#bbb\"/>",
      kWidth, kHeight, kWidth, kMargin, kWidth - kMargin);
  std::size_t k = 0;
  for (const double value : null) {
    // In turns above and below the line, so that equal ones are not one dot.
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{}\" r=\"4\" fill=\"#3b6ea5\" fill-opacity=\"0.6\"/>", x(value),
                       32 + 8 * (k++ % 3));
  }
  svg += fmt::format("<line x1=\"{0:.1f}\" y1=\"14\" x2=\"{0:.1f}\" y2=\"58\" stroke=\"#7a2f63\" stroke-width=\"3\"/>",
                     x(effect));
  return svg + fmt::format(
                   "<text x=\"{}\" y=\"11\" font-size=\"11\">0 to {:.4g}; bar: the change, dots: controls</text></svg>",
                   kMargin, most);
}

std::string measure_section(const nlohmann::json& controls, const std::string& measure, const std::string& title) {
  std::string html = "<h2>" + escape_html(title) +
                     "</h2><table><tr><th>controls<th>n<th>effect<th>mean of controls<th>their deviation"
                     "<th>effect size<th>p</tr>";
  std::string figures;
  for (const char* kind : {"random", "housekeeping"}) {
    const nlohmann::json& null = controls.at("controls").at(kind);
    if (null.is_null()) continue;
    const nlohmann::json& figure = null.at(measure);
    html += fmt::format("<tr><td>{}<td>{}<td>{:.5g}<td>{:.5g}<td>{:.3g}<td>{:.2f}<td>{:.3g}</tr>", kind,
                        figure.at("n").get<std::size_t>(), figure.at("effect").get<double>(),
                        figure.at("null_mean").get<double>(), figure.at("null_deviation").get<double>(),
                        figure.at("effect_size").get<double>(), figure.at("p").get<double>());
    std::vector<double> values;
    for (const nlohmann::json& set : null.at("sets")) values.push_back(set.at(measure).get<double>());
    figures += fmt::format("<p>{}<br>{}</p>", kind, dots(values, figure.at("effect").get<double>()));
  }
  return html + "</table>" + figures;
}

}  // namespace

std::string controls_page(const nlohmann::json& controls) {
  const std::string genes = controls.at("change").get<std::string>();
  std::string html =
      "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Controls of " + escape_html(genes) +
      "</title><style>body{font:15px/1.5 sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#22242a}"
      "table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid #ddd}"
      ".notice{color:#7a2f63;font-weight:bold}</style>";
  html += "<h1>" + escape_html(genes) + "</h1><p class=\"notice\">" + escape_html(kSyntheticNotice) + "</p>";
  html += fmt::format(
      "<p>{} tiles, {} seed{}. An effect is a mean over the region's tiles and the seeds; p is the share of "
      "controls, the change itself counted as one, with at least its effect.</p>",
      controls.at("tiles").get<std::size_t>(), controls.at("seeds").size(),
      controls.at("seeds").size() == 1 ? "" : "s");
  html += measure_section(controls, "embedding_distance", "Embeddings: mean of 1 - cosine");
  html += measure_section(controls, "mean_absolute_difference", "Pixels: mean absolute difference, levels");
  html += "<h2>Sets</h2><table><tr><th>kind<th>change<th>embedding distance<th>pixels</tr>";
  const auto row = [&](const std::string& kind, const nlohmann::json& set) {
    html +=
        fmt::format("<tr><td>{}<td>{}<td>{:.5g}<td>{:.4g}</tr>", kind, escape_html(set.at("genes").get<std::string>()),
                    set.at("embedding_distance").get<double>(), set.at("mean_absolute_difference").get<double>());
  };
  row("the change", controls.at("target"));
  for (const char* kind : {"random", "housekeeping"}) {
    const nlohmann::json& null = controls.at("controls").at(kind);
    if (null.is_null()) continue;
    for (const nlohmann::json& set : null.at("sets")) row(kind, set);
  }
  html +=
      "</table><p>Random sets are matched to the change by bins of mean expression and dispersion over the slide's "
      "tiles. "
      "Housekeeping genes: " +
      escape_html(controls.at("housekeeping_source").get<std::string>()) + ".</p>";
  for (const nlohmann::json& note : controls.at("notes")) html += "<p>" + escape_html(note.get<std::string>()) + "</p>";
  return html + "<p>" + escape_html(controls.at("software").get<std::string>()) + "</p></html>\n";
}

}  // namespace vtissue::stages
