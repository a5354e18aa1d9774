#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vtissue::stages {

/// What is to happen to a gene's expression in the tiles of a region.
struct GeneChange {
  enum class Kind {
    kDeviations,  ///< "+2sd": so many standard deviations over the slide's tiles, of log1p of counts per 10,000
    kLog,         ///< "+1.5", "+1.5log": so much more log1p of counts per 10,000
    kCounts,      ///< "+20cp10k": so many more counts per 10,000
    kFold,        ///< "x0.5": so many times the counts
    kSetLog,      ///< "1.5": that value of log1p of counts per 10,000
    kSetCounts    ///< "20cp10k": so many counts per 10,000
  };
  std::string gene;
  Kind kind = Kind::kLog;
  double amount = 0;
  bool operator==(const GeneChange&) const = default;
};

/// "MITF=-2sd,CD8A=+1.5": one change a gene. Throws Error kUsage that names the part which is none.
std::vector<GeneChange> parse_gene_changes(std::string_view text);

/// As parse_gene_changes() reads it: "MITF=-2sd".
std::string to_text(const GeneChange& change);
std::string to_text(std::span<const GeneChange> changes);

/// A range of changes of one gene: "MITF=-3sd..+3sd:7", both ends included. Throws Error kUsage; 2 to 99 values.
std::vector<GeneChange> parse_gene_sweep(std::string_view text);

/// A gene over a slide's tiles.
struct GeneSpread {
  double mean = 0;
  double deviation = 0;  ///< of the tiles that have expression, denominator n
};

/// A change on one slide.
class AppliedChange {
 public:
  /// `most`: the largest value that any gene has on the slide: nothing is raised above it, nor lowered below 0.
  AppliedChange(GeneChange change, GeneSpread spread, double most);

  /// log1p of counts per 10,000, before → after; counts what was clamped.
  float operator()(float value);

  const GeneChange& change() const { return change_; }
  /// {"gene", "change", "mean", "deviation", "mean_before", "mean_after", "tiles", "clamped_at_zero",
  /// "clamped_at_most"}; the means over the tiles that were changed.
  nlohmann::json report() const;

 private:
  GeneChange change_;
  GeneSpread spread_;
  double most_;
  std::size_t tiles_ = 0, at_zero_ = 0, at_most_ = 0;
  double before_ = 0, after_ = 0;
};

/// Up to `count` names with the smallest edit distance from `name`, case apart; nearest first.
std::vector<std::string> nearest_names(std::string_view name, std::span<const std::string> known, std::size_t count);

}  // namespace vtissue::stages
