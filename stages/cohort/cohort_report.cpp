#include "stages/cohort/cohort_report.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <optional>

#include "stages/evaluate/headline_figures.h"
#include "stages/report/html.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {
namespace {

constexpr std::string_view kCohortStyle = R"css(
:root { color-scheme: light; --ink: #22262b; --soft: #5d6670; --line: #dfe3e7; --accent: #7a2f63; --bad: #a1331f; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fafafa; font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
.banner { padding: .45rem 1rem; text-align: center; color: #fff; background: var(--accent); font-weight: 600; letter-spacing: .08em; }
main { max-width: 1400px; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; font-weight: 600; margin: .5rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; background: #fff; }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem; border: 1px solid var(--line); }
th { font-weight: 600; background: #f3f4f6; }
td.value { text-align: right; font-variant-numeric: tabular-nums; }
td.failed { color: var(--bad); }
td img { display: block; width: 16rem; max-width: 100%; height: auto; border: 1px solid var(--line); }
.note { color: var(--soft); font-size: .85rem; margin: .2rem 0 0; }
)css";

std::string csv_field(std::string_view field) {
  if (field.find_first_of(",\"\r\n") == field.npos) return std::string(field);
  std::string text = "\"";
  for (const char c : field) text += c == '"' ? std::string("\"\"") : std::string(1, c);
  return text + '"';
}

/// The number of tiles that the tile stage reported.
std::string tiles_of(const CohortSlide& slide) {
  for (const nlohmann::json& stage : slide.run.value("stages", nlohmann::json::array())) {
    if (stage.value("name", "") == "tile" && stage.contains("/report/tiles"_json_pointer)) {
      return stage.at("/report/tiles"_json_pointer).dump();
    }
  }
  return "";
}

std::vector<std::string> warnings_of(const CohortSlide& slide) {
  std::vector<std::string> warnings;
  for (const nlohmann::json& stage : slide.run.value("stages", nlohmann::json::array())) {
    for (const nlohmann::json& warning : stage.value("warnings", nlohmann::json::array())) {
      warnings.push_back(stage.value("name", "") + ": " +
                         (warning.is_string() ? warning.get<std::string>() : warning.dump()));
    }
  }
  return warnings;
}

bool has_slide(const CohortSlide& slide) { return slide.status == "done" || slide.status == "up to date"; }

/// A run that has no record yet is as one that says nothing.
CohortSlide with_record(CohortSlide slide) {
  if (!slide.run.is_object()) slide.run = nlohmann::json::object();
  return slide;
}

std::string page_row(const CohortSlide& slide, std::string_view preview) {
  const std::string name = escape_html(slide.sample);
  std::string row = fmt::format("<tr><td>{}</td><td{}>{}", name, has_slide(slide) ? "" : " class=\"failed\"",
                                escape_html(slide.status));
  if (!slide.message.empty()) row += fmt::format("<p class=\"note\">{}</p>", escape_html(slide.message));
  for (const std::string& warning : warnings_of(slide))
    row += fmt::format("<p class=\"note\">{}</p>", escape_html(warning));
  row += fmt::format("</td><td class=\"value\">{}</td><td class=\"value\">{:.1f}</td>", tiles_of(slide), slide.seconds);
  for (const HeadlineFigure& figure : headline_figures()) {
    const std::optional<double> value = value_of(figure, slide.metrics);
    row += value ? fmt::format("<td class=\"value\">{:.3g}</td>", *value) : "<td></td>";
  }
  if (!has_slide(slide)) return row + "<td></td></tr>\n";
  return row + fmt::format(
                   "<td><a href=\"{0}/report.html\"><img loading=\"lazy\" src=\"{0}/{1}\" alt=\"{0}: real and "
                   "synthetic\"></a></td></tr>\n",
                   name, preview);
}

}  // namespace

std::string cohort_csv(const std::vector<CohortSlide>& slides) {
  std::string csv = "sample,status,exit_code,seconds,tiles,warnings";
  for (const HeadlineFigure& figure : headline_figures()) csv += fmt::format(",{}", figure.id);
  csv += ",message\n";
  for (const CohortSlide& given : slides) {
    const CohortSlide slide = with_record(given);
    csv += fmt::format("{},{},{},{:.1f},{},{}", csv_field(slide.sample), slide.status, slide.exit_code, slide.seconds,
                       tiles_of(slide), warnings_of(slide).size());
    for (const HeadlineFigure& figure : headline_figures()) {
      const std::optional<double> value = value_of(figure, slide.metrics);
      csv += value ? fmt::format(",{:.6g}", *value) : ",";
    }
    csv += "," + csv_field(slide.message) + "\n";
  }
  return csv;
}

std::string cohort_page(const std::vector<CohortSlide>& slides, std::string_view preview, std::string_view generator) {
  std::vector<CohortSlide> ordered;
  for (const CohortSlide& slide : slides) ordered.push_back(with_record(slide));
  std::stable_partition(ordered.begin(), ordered.end(), [](const CohortSlide& slide) { return !has_slide(slide); });
  const auto good = std::ranges::count_if(slides, has_slide);
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"><title>Virtual slides</title><style>{}</style></head>\n<body>"
      "<div class=\"banner\">{}</div><main>\n<h1>{} of {} slides</h1>\n<div class=\"scroll\"><table><tr><th>Sample</th>"
      "<th>Status</th><th>Tiles</th><th>Seconds</th>",
      kCohortStyle, escape_html(kSyntheticNotice), good, slides.size());
  for (const HeadlineFigure& figure : headline_figures()) {
    html += fmt::format("<th title=\"{}\">{}</th>", escape_html(figure.description), escape_html(figure.title));
  }
  html += "<th>Real and virtual</th></tr>\n";
  for (const CohortSlide& slide : ordered) html += page_row(slide, preview);
  return html +
         fmt::format("</table></div>\n<p class=\"note\">{}</p>\n</main></body></html>\n", escape_html(generator));
}

}  // namespace vtissue::stages
