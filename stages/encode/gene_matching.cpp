#include "stages/encode/gene_matching.h"

#include <string_view>
#include <unordered_map>

namespace vtissue::stages {

GeneMatch match_genes(std::span<const std::string> wanted, std::span<const std::string> columns) {
  std::unordered_map<std::string_view, std::int32_t> index;
  for (std::size_t i = 0; i < wanted.size(); ++i) index.emplace(wanted[i], static_cast<std::int32_t>(i));
  GeneMatch match{.gene_of_column = std::vector<std::int32_t>(columns.size(), -1), .wanted = wanted.size()};
  std::vector<bool> taken(wanted.size());
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const auto found = index.find(columns[c]);
    if (found == index.end()) continue;
    const auto gene = static_cast<std::size_t>(found->second);
    if (taken[gene]) {
      ++match.duplicates;
      continue;
    }
    taken[gene] = true;
    ++match.matched;
    match.gene_of_column[c] = found->second;
  }
  return match;
}

std::vector<float> gather_rows(const io::ExpressionMatrix& x, const GeneMatch& match) {
  std::vector<float> dense(x.rows * match.wanted);
  for (std::size_t i = 0; i < x.rows; ++i) {
    for (std::int64_t k = x.indptr[i]; k < x.indptr[i + 1]; ++k) {
      const auto entry = static_cast<std::size_t>(k);
      const std::int32_t gene = match.gene_of_column[static_cast<std::size_t>(x.indices[entry])];
      if (gene >= 0) dense[i * match.wanted + static_cast<std::size_t>(gene)] = x.values[entry];
    }
  }
  return dense;
}

}  // namespace vtissue::stages
