#include "stages/perturb/control_sets.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "core/error.h"
#include "models/noise.h"

namespace vtissue::stages {
namespace {

constexpr std::size_t kMeanBins = 10;
constexpr std::size_t kDispersionBins = 3;
constexpr std::size_t kFewestCandidates = 3;
constexpr std::size_t kNearestHousekeeping = 12;

// The ten reference genes of geNorm and the eleven of Eisenberg and Levanon, under present and former symbols.
constexpr std::array<std::string_view, 24> kHousekeepingGenes{
    "ACTB", "B2M", "GAPDH", "HMBS",  "HPRT1", "RPL13A", "SDHA",   "TBP", "UBC",   "YWHAZ",  "C1orf43", "CHMP2A",
    "EMC7", "GPI", "PSMB2", "PSMB4", "RAB7A", "REEP5",  "SNRPD3", "VCP", "VPS29", "EEF1A1", "PPIA",    "TUBB"};
// Families whose members every cell needs at all times: ribosome, respiratory chain, proteasome, splicing, translation.
constexpr std::array<std::string_view, 14> kHousekeepingFamilies{
    "RPL", "RPS", "NDUF", "COX4", "COX5", "COX6", "COX7", "ATP5", "UQCR", "PSMA", "PSMB", "SNRP", "EIF3", "HNRNP"};

/// Numbers 0 .. bins - 1 by rank of the values: as many in each as can be.
std::vector<std::size_t> rank_bins(std::span<const double> values, std::size_t bins) {
  std::vector<std::size_t> order(values.size()), bin(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  for (std::size_t rank = 0; rank < order.size(); ++rank) bin[order[rank]] = rank * bins / order.size();
  return bin;
}

/// A number below `bound` from Philox: a function of the arguments alone.
std::size_t drawn_below(std::size_t bound, std::uint64_t seed, std::uint32_t set, std::uint32_t place,
                        std::uint32_t attempt) {
  constexpr std::uint32_t kControlDraw = 0x6374726c;
  const auto words = models::philox4x32_10({set, place, kControlDraw, attempt},
                                           {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  return static_cast<std::size_t>((std::uint64_t{words[0]} * bound) >> 32);
}

/// `change` for another gene: a value that is set keeps its step from the mean.
GeneChange for_other_gene(const GeneChange& change, const GeneSpread& own, const ControlGene& other) {
  GeneChange result = change;
  result.gene = other.name;
  if (change.kind == GeneChange::Kind::kSetLog || change.kind == GeneChange::Kind::kSetCounts) {
    const double to =
        change.kind == GeneChange::Kind::kSetLog ? change.amount : std::log1p(std::max(0.0, change.amount));
    result.kind = GeneChange::Kind::kLog;
    result.amount = to - own.mean;
  }
  return result;
}

const GeneSpread& spread_of(std::span<const ControlGene> genes, const std::string& name) {
  const auto found = std::ranges::find(genes, name, &ControlGene::name);
  if (found == genes.end())
    throw Error(ErrorCode::kUsage, "gene {} is none of those that controls can be matched with", name);
  return found->spread;
}

/// So many different sets, each gene of the target replaced by one of its candidates (indices in `genes`).
std::vector<std::vector<GeneChange>> draw_sets(std::span<const GeneChange> target, std::span<const ControlGene> genes,
                                               const std::vector<std::vector<std::size_t>>& candidates,
                                               std::size_t count, std::uint64_t seed) {
  constexpr std::uint32_t kMostAttempts = 2000;
  std::vector<std::vector<GeneChange>> sets;
  std::set<std::vector<std::string>> seen;
  std::uint32_t draw = 0;
  for (std::uint32_t attempt = 0; sets.size() < count && attempt < kMostAttempts; ++attempt, ++draw) {
    std::vector<GeneChange> changes;
    std::set<std::string> names;
    for (std::size_t k = 0; k < target.size(); ++k) {
      const std::vector<std::size_t>& among = candidates[k];
      const ControlGene& gene = genes[among[drawn_below(among.size(), seed, draw, static_cast<std::uint32_t>(k), 0)]];
      if (!names.insert(gene.name).second) break;
      changes.push_back(for_other_gene(target[k], spread_of(genes, target[k].gene), gene));
    }
    std::vector<std::string> key;
    key.reserve(changes.size());
    for (const GeneChange& change : changes) key.push_back(change.gene);
    if (changes.size() != target.size() || !seen.insert(key).second) continue;
    sets.push_back(std::move(changes));
  }
  return sets;
}

bool is_target(std::span<const GeneChange> target, const std::string& name) {
  return std::ranges::any_of(target, [&](const GeneChange& change) { return change.gene == name; });
}

}  // namespace

std::string_view housekeeping_source() {
  return "the ten reference genes of geNorm (Vandesompele and others, Genome Biology 2002), the eleven of Eisenberg "
         "and "
         "Levanon (Trends in Genetics 2013), and the families of ribosome, respiratory chain, proteasome, splicing and "
         "translation initiation (RPL, RPS, NDUF, COX4 to COX7, ATP5, UQCR, PSMA, PSMB, SNRP, EIF3, HNRNP)";
}

bool is_housekeeping(std::string_view gene) {
  if (std::ranges::find(kHousekeepingGenes, gene) != kHousekeepingGenes.end()) return true;
  return std::ranges::any_of(kHousekeepingFamilies, [&](std::string_view family) { return gene.starts_with(family); });
}

std::vector<std::vector<GeneChange>> matched_random_sets(std::span<const GeneChange> target,
                                                         std::span<const ControlGene> genes, std::size_t count,
                                                         std::uint64_t seed) {
  std::vector<double> means, dispersions;
  for (const ControlGene& gene : genes) {
    means.push_back(gene.spread.mean);
    dispersions.push_back(gene.spread.mean > 0 ? gene.spread.deviation * gene.spread.deviation / gene.spread.mean : 0);
  }
  const std::vector<std::size_t> mean_bin = rank_bins(means, kMeanBins);
  std::map<std::size_t, std::vector<std::size_t>> members;  // of a bin of means
  for (std::size_t g = 0; g < genes.size(); ++g) members[mean_bin[g]].push_back(g);
  std::vector<std::size_t> dispersion_bin(genes.size());
  for (const auto& [bin, among] : members) {
    std::vector<double> values;
    for (const std::size_t g : among) values.push_back(dispersions[g]);
    const std::vector<std::size_t> thirds = rank_bins(values, kDispersionBins);
    for (std::size_t k = 0; k < among.size(); ++k) dispersion_bin[among[k]] = thirds[k];
  }
  std::vector<std::vector<std::size_t>> candidates;
  for (const GeneChange& change : target) {
    const auto at = static_cast<std::size_t>(std::ranges::find(genes, change.gene, &ControlGene::name) - genes.begin());
    if (at == genes.size()) spread_of(genes, change.gene);
    const auto usable = [&](std::size_t g) {
      return !is_target(target, genes[g].name) && genes[g].spread.deviation > 0;
    };
    std::vector<std::size_t> near, same_mean, any;
    for (std::size_t g = 0; g < genes.size(); ++g) {
      if (!usable(g)) continue;
      any.push_back(g);
      if (mean_bin[g] != mean_bin[at]) continue;
      same_mean.push_back(g);
      if (dispersion_bin[g] == dispersion_bin[at]) near.push_back(g);
    }
    candidates.push_back(near.size() >= kFewestCandidates        ? near
                         : same_mean.size() >= kFewestCandidates ? same_mean
                                                                 : any);
    if (candidates.back().empty()) {
      throw Error(ErrorCode::kUsage, "no gene of the {} can stand in for {} in a control", genes.size(), change.gene);
    }
  }
  return draw_sets(target, genes, candidates, count, seed);
}

std::vector<std::vector<GeneChange>> housekeeping_sets(std::span<const GeneChange> target,
                                                       std::span<const ControlGene> genes, std::size_t count,
                                                       std::uint64_t seed) {
  std::vector<std::vector<std::size_t>> candidates;
  for (const GeneChange& change : target) {
    const double mean = spread_of(genes, change.gene).mean;
    std::vector<std::size_t> among;
    for (std::size_t g = 0; g < genes.size(); ++g) {
      if (is_housekeeping(genes[g].name) && !is_target(target, genes[g].name) && genes[g].spread.deviation > 0) {
        among.push_back(g);
      }
    }
    std::ranges::stable_sort(among, {}, [&](std::size_t g) { return std::abs(genes[g].spread.mean - mean); });
    if (among.size() > kNearestHousekeeping * std::max<std::size_t>(1, target.size())) {
      among.resize(kNearestHousekeeping * std::max<std::size_t>(1, target.size()));
    }
    if (among.size() < target.size() || among.empty()) return {};
    candidates.push_back(std::move(among));
  }
  return draw_sets(target, genes, candidates, count, seed);
}

NullComparison compare_with_null(double effect, std::span<const double> null) {
  NullComparison result{.n = null.size(), .effect = effect};
  if (null.empty()) return result;
  const double n = static_cast<double>(null.size());
  std::size_t as_large = 0;
  for (const double value : null) {
    result.null_mean += value / n;
    if (value >= effect) ++as_large;
  }
  double squares = 0;
  for (const double value : null) squares += (value - result.null_mean) * (value - result.null_mean);
  if (null.size() > 1) result.null_deviation = std::sqrt(squares / (n - 1));
  if (result.null_deviation > 0) result.size = (effect - result.null_mean) / result.null_deviation;
  result.p = (1 + static_cast<double>(as_large)) / (1 + n);
  return result;
}

}  // namespace vtissue::stages
