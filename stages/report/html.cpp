#include "stages/report/html.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdint>

#include "stages/report/metric_notes.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {
namespace {

constexpr std::string_view kStyle = R"css(
:root { color-scheme: light; --ink: #22262b; --soft: #5d6670; --line: #dfe3e7; --accent: #7a2f63; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fafafa; font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
.banner { position: sticky; top: 0; z-index: 1; padding: .45rem 1rem; text-align: center; color: #fff; background: var(--accent);
  font-weight: 600; letter-spacing: .08em; }
main { max-width: 1120px; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; font-weight: 600; margin: .5rem 0 .25rem; }
h2 { font-size: 1.15rem; font-weight: 600; margin: 2.5rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
p.lead, figcaption, .note { color: var(--soft); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1.25rem; }
.tiles .pair { gap: .4rem; }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; border: 1px solid var(--line); background: #fff; }
figcaption { font-size: .85rem; margin-top: .3rem; }
.synthetic img { border-color: var(--accent); }
table { border-collapse: collapse; width: 100%; background: #fff; }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem; border: 1px solid var(--line); }
th { font-weight: 600; background: #f3f4f6; }
td.value { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; min-width: 9rem; max-width: 18rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.25rem; margin: 1rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
ul.warnings { border-left: 3px solid #c98a1b; background: #fdf7ea; margin: 0; padding: .7rem 1rem .7rem 2rem; }
pre { overflow: auto; padding: 1rem; background: #fff; border: 1px solid var(--line); font-size: .82rem; }
@media (max-width: 640px) { .pair { grid-template-columns: 1fr; } }
@media print { .banner { position: static; -webkit-print-color-adjust: exact; print-color-adjust: exact; } h2 { break-after: avoid; } }
)css";

std::string image(std::span<const std::byte> jpeg, std::string_view alternative) {
  return fmt::format("<img alt=\"{}\" src=\"data:image/jpeg;base64,{}\">", escape_html(alternative), base64(jpeg));
}

std::string figure(std::span<const std::byte> jpeg, std::string_view caption, bool synthetic) {
  return fmt::format("<figure{}>{}<figcaption>{}</figcaption></figure>\n", synthetic ? " class=\"synthetic\"" : "",
                     image(jpeg, caption), escape_html(caption));
}

std::string scalar_text(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

void append_facts(std::string& html, const ReportPage& page) {
  html += "<dl>\n";
  for (const auto& [name, value] : page.facts) {
    html += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_html(name), escape_html(value));
  }
  html += "</dl>\n";
}

void append_pairs(std::string& html, const ReportPage& page) {
  if (page.pairs.empty()) return;
  html +=
      "<h2>Tiles at full size</h2>\n<p class=\"note\">Left of each pair the real tile, right the synthetic one. They "
      "were chosen by their share of tissue, from most to least, not by how well they turned out.</p>\n"
      "<div class=\"tiles\">\n";
  for (const TilePair& pair : page.pairs) {
    html += fmt::format(
        "<figure><div class=\"pair\">{}<span class=\"synthetic\">{}</span></div><figcaption>{}</figcaption>"
        "</figure>\n",
        image(pair.real, "real tile"), image(pair.synthetic, "synthetic tile"), escape_html(pair.caption));
  }
  html += "</div>\n";
}

void append_metrics(std::string& html, const ReportPage& page) {
  html += "<h2>Metrics</h2>\n";
  if (page.metrics.is_null()) {
    html += "<p class=\"note\">This run was not evaluated.</p>\n";
    return;
  }
  html += "<table><thead><tr><th>Metric</th><th>Value</th><th>What it says</th></tr></thead><tbody>\n";
  for (const MetricRow& row : metric_rows(page.metrics)) {
    html += fmt::format("<tr><td>{}</td><td class=\"value\">{}</td><td>{}</td></tr>\n", escape_html(row.name),
                        escape_html(row.value), escape_html(row.note));
  }
  html += "</tbody></table>\n";
  const nlohmann::json notes = page.metrics.value("notes", nlohmann::json::array());
  for (const nlohmann::json& note : notes) {
    html += fmt::format("<p class=\"note\">{}</p>\n", escape_html(scalar_text(note)));
  }
}

void append_warnings(std::string& html, const ReportPage& page) {
  html += "<h2>Warnings</h2>\n";
  if (page.warnings.empty()) {
    html += "<p class=\"note\">None.</p>\n";
    return;
  }
  html += "<ul class=\"warnings\">\n";
  for (const std::string& warning : page.warnings) html += fmt::format("<li>{}</li>\n", escape_html(warning));
  html += "</ul>\n";
}

void append_stages(std::string& html, const ReportPage& page) {
  if (!page.stages.is_array() || page.stages.empty()) return;
  html += "<h2>Stages</h2>\n<table><thead><tr><th>Stage</th><th>Outcome</th><th>Figures</th></tr></thead><tbody>\n";
  for (const nlohmann::json& stage : page.stages) {
    if (!stage.is_object()) continue;
    std::string figures;
    const nlohmann::json reported = stage.value("figures", nlohmann::json::object());
    for (const auto& [key, value] : reported.items()) {
      if (value.is_structured()) continue;
      figures += fmt::format("{}{}: {}", figures.empty() ? "" : ", ", key, scalar_text(value));
    }
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                        escape_html(scalar_text(stage.value("name", nlohmann::json("")))),
                        escape_html(scalar_text(stage.value("status", nlohmann::json("")))), escape_html(figures));
  }
  html += "</tbody></table>\n";
}

void append_configuration(std::string& html, const ReportPage& page) {
  if (!page.configuration.is_object() || page.configuration.empty()) return;
  html += fmt::format(
      "<h2>Configuration</h2>\n<details><summary>All values, defaults included</summary>\n<pre>{}</pre>"
      "</details>\n",
      escape_html(page.configuration.dump(2)));
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string base64(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < n ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) out += k <= n ? kDigits[(group >> (18 - 6 * k)) & 63u] : '=';
  }
  return out;
}

std::string render_report(const ReportPage& page) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>Virtual slide (synthetic)</title>\n<style>";
  html += kStyle;
  html += fmt::format(
      "</style>\n</head>\n<body>\n<div class=\"banner\">{}</div>\n<main>\n<h1>Virtual slide</h1>\n"
      "<p class=\"lead\">The right-hand pictures were computed by {} from a real slide. No patient ever had "
      "this tissue.</p>\n",
      escape_html(kSyntheticNotice), escape_html(page.generator));
  append_facts(html, page);
  html += "<h2>Real and synthetic, the same extent</h2>\n<div class=\"pair\">\n";
  html += figure(page.real.jpeg, page.real.caption, false);
  html += figure(page.synthetic.jpeg, page.synthetic.caption, true);
  html += "</div>\n";
  append_pairs(html, page);
  append_metrics(html, page);
  html += "<h2>Tissue and tiles</h2>\n";
  html += figure(page.overlay.jpeg, page.overlay.caption, false);
  append_warnings(html, page);
  append_stages(html, page);
  append_configuration(html, page);
  html += "</main>\n</body>\n</html>\n";
  return html;
}

}  // namespace vtissue::stages
