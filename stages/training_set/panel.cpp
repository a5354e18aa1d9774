#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "stages/training_set/training_set.h"

namespace vtissue::stages {

std::vector<std::string> choose_panel(const std::vector<SectionCounts>& sections, int size) {
  // Sum and sum of squares of log1p CP10k over all training spots; only genes that every section lists.
  struct Moments {
    int sections = 0;
    std::size_t counted = 0;  // of which section last, from 1: a table may list a symbol twice
    double sum = 0, squares = 0;
  };
  std::map<std::string, Moments> moments;
  std::size_t spots = 0;
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const SectionCounts& section = sections[i];
    std::vector<Moments*> of_column;
    for (const std::string& gene : section.genes) {
      Moments& m = moments[gene];
      if (m.counted != i + 1) ++m.sections;
      m.counted = i + 1;
      of_column.push_back(&m);
    }
    spots += section.rows.size();
    for (const std::vector<float>& row : section.rows) {
      const double total = std::accumulate(row.begin(), row.end(), 0.0);
      if (total <= 0) continue;
      for (std::size_t gene = 0; gene < row.size(); ++gene) {
        if (row[gene] <= 0) continue;
        const double value = std::log1p(row[gene] / total * 1e4);
        of_column[gene]->sum += value;
        of_column[gene]->squares += value * value;
      }
    }
  }

  std::vector<std::pair<double, std::string>> ranked;
  for (const auto& [gene, m] : moments) {
    if (m.sections != static_cast<int>(sections.size()) || spots == 0) continue;
    const double mean = m.sum / static_cast<double>(spots);
    ranked.emplace_back(m.squares / static_cast<double>(spots) - mean * mean, gene);
  }
  std::sort(ranked.begin(), ranked.end(),
            [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  ranked.resize(std::min(ranked.size(), static_cast<std::size_t>(size)));

  std::vector<std::string> panel;
  panel.reserve(ranked.size());
  for (auto& [variance, gene] : ranked) panel.push_back(std::move(gene));
  std::sort(panel.begin(), panel.end());
  return panel;
}

}  // namespace vtissue::stages
