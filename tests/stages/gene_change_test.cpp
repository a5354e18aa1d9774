#include "stages/perturb/gene_change.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "stages/perturb/control_sets.h"

namespace vtissue::stages {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = GeneChange::Kind;

TEST(GeneChange, EveryUnitIsReadAndSaidAgain) {
  const auto changes = parse_gene_changes("MITF=-2sd, CD8A=+1.5,HLA-DRA=+20cp10k,KRT5=x0.5,A=*2,B=0,C=3cp10k,D=-1log");
  ASSERT_EQ(changes.size(), 8u);
  EXPECT_EQ(changes[0], (GeneChange{"MITF", Kind::kDeviations, -2}));
  EXPECT_EQ(changes[1], (GeneChange{"CD8A", Kind::kLog, 1.5}));
  EXPECT_EQ(changes[2], (GeneChange{"HLA-DRA", Kind::kCounts, 20}));
  EXPECT_EQ(changes[3], (GeneChange{"KRT5", Kind::kFold, 0.5}));
  EXPECT_EQ(changes[4], (GeneChange{"A", Kind::kFold, 2}));
  EXPECT_EQ(changes[5], (GeneChange{"B", Kind::kSetLog, 0}));
  EXPECT_EQ(changes[6], (GeneChange{"C", Kind::kSetCounts, 3}));
  EXPECT_EQ(changes[7], (GeneChange{"D", Kind::kLog, -1}));
  EXPECT_EQ(parse_gene_changes(to_text(changes)), changes);
}

TEST(GeneChange, WhatIsNoChangeIsRefusedWithWhatToWrite) {
  for (const char* text : {"", "MITF", "MITF=", "=2", "MITF=up", "MITF=2sd", "MITF=+nan", "MITF=+inf", "MITF=x-2",
                           "MITF=+2sds", "MITF=+1,", "MITF=++1", "MITF=x2sd"}) {
    try {
      parse_gene_changes(text);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage);
      EXPECT_THAT(e.what(), HasSubstr("MITF=-2sd")) << text;
    }
  }
  EXPECT_THROW(parse_gene_changes("A=+1,A=-1"), Error);
}

TEST(GeneChange, ASweepHasBothEndsAndEqualSteps) {
  const auto sweep = parse_gene_sweep("MITF=-3sd..+3sd:7");
  ASSERT_EQ(sweep.size(), 7u);
  EXPECT_EQ(to_text(sweep.front()), "MITF=-3sd");
  EXPECT_EQ(to_text(sweep[3]), "MITF=+0sd");
  EXPECT_EQ(to_text(sweep.back()), "MITF=+3sd");
  for (const char* text :
       {"MITF", "MITF=-1..+1", "MITF=-1..+1:1", "MITF=-1sd..+1:3", "MITF=-1..+1:1000", "MITF=-1..+1:x"}) {
    EXPECT_THROW(parse_gene_sweep(text), Error) << text;
  }
}

TEST(GeneChange, UnitsMeanWhatTheySay) {
  const GeneSpread spread{.mean = 1, .deviation = 0.5};
  const auto applied = [&](const char* text, double value) {
    return AppliedChange(parse_gene_changes(text).front(), spread, 10)(static_cast<float>(value));
  };
  EXPECT_FLOAT_EQ(applied("A=+2sd", 1), 2);
  EXPECT_FLOAT_EQ(applied("A=-0.25", 1), 0.75);
  EXPECT_NEAR(std::expm1(applied("A=+20cp10k", std::log1p(5))), 25, 1e-4);
  EXPECT_NEAR(std::expm1(applied("A=x3", std::log1p(5))), 15, 1e-4);
  EXPECT_FLOAT_EQ(applied("A=0.5", 1), 0.5);
  EXPECT_NEAR(std::expm1(applied("A=7cp10k", 1)), 7, 1e-4);
}

TEST(GeneChange, NothingFallsBelowZeroOrRisesOverTheSlidesRangeAndBothAreCounted) {
  AppliedChange down({"A", Kind::kLog, -2}, {}, 3);
  EXPECT_EQ(down(1), 0);
  EXPECT_EQ(down(2.5f), 0.5f);
  EXPECT_EQ(down.report()["clamped_at_zero"], 1);
  EXPECT_EQ(down.report()["tiles"], 2);
  AppliedChange up({"A", Kind::kLog, 2}, {}, 3);
  EXPECT_EQ(up(2), 3);
  EXPECT_EQ(up(0.5f), 2.5f);
  EXPECT_EQ(up.report()["clamped_at_most"], 1);
  AppliedChange counts({"A", Kind::kCounts, -1e6}, {}, 3);
  EXPECT_EQ(counts(1), 0);
}

TEST(GeneChange, TheNearestNamesComeFirstWhateverTheirCase) {
  const std::vector<std::string> genes = {"CD8A", "CD8B", "MITF", "KRT5"};
  EXPECT_THAT(nearest_names("cd8", genes, 2), ElementsAre("CD8A", "CD8B"));
  EXPECT_THAT(nearest_names("MITX", genes, 1), ElementsAre("MITF"));
}

std::vector<ControlGene> many_genes() {
  std::vector<ControlGene> genes;
  for (int k = 0; k < 100; ++k) {
    genes.push_back({k % 10 == 0 ? "RPL" + std::to_string(k) : "G" + std::to_string(k),
                     {.mean = 0.05 * (k + 1), .deviation = 0.1 + 0.01 * (k % 7)}});
  }
  return genes;
}

TEST(ControlSets, RandomGenesAreOfTheTargetsTenthAndNeverTheTarget) {
  const auto genes = many_genes();
  const std::vector<GeneChange> target = {{"G55", Kind::kDeviations, -2}, {"G31", Kind::kLog, 1}};
  const auto sets = matched_random_sets(target, genes, 6, 3);
  ASSERT_EQ(sets.size(), 6u);
  for (const auto& set : sets) {
    ASSERT_EQ(set.size(), 2u);
    EXPECT_EQ(set[0].amount, -2);
    EXPECT_EQ(set[0].kind, Kind::kDeviations);
    EXPECT_NE(set[0].gene, "G55");
    EXPECT_NE(set[1].gene, "G31");
    const auto place = [&](const std::string& name) {
      return std::ranges::find(genes, name, &ControlGene::name) - genes.begin();
    };
    EXPECT_EQ(place(set[0].gene) / 10, 5);
    EXPECT_EQ(place(set[1].gene) / 10, 3);
  }
  EXPECT_EQ(matched_random_sets(target, genes, 6, 3), sets);
  EXPECT_NE(matched_random_sets(target, genes, 6, 4), sets);
}

TEST(ControlSets, AValueThatIsSetKeepsItsStepFromTheMean) {
  const auto sets = matched_random_sets(std::vector<GeneChange>{{"G55", Kind::kSetLog, 0}}, many_genes(), 2, 1);
  ASSERT_FALSE(sets.empty());
  EXPECT_EQ(sets[0][0].kind, Kind::kLog);
  EXPECT_NEAR(sets[0][0].amount, -0.05 * 56, 1e-9);
}

TEST(ControlSets, HousekeepingSetsAreOfHousekeepingGenesAlone) {
  const auto sets = housekeeping_sets(std::vector<GeneChange>{{"G55", Kind::kLog, 1}}, many_genes(), 5, 1);
  ASSERT_EQ(sets.size(), 5u);
  for (const auto& set : sets) EXPECT_TRUE(is_housekeeping(set[0].gene)) << set[0].gene;
  EXPECT_TRUE(
      housekeeping_sets(std::vector<GeneChange>{{"A", Kind::kLog, 1}}, std::vector<ControlGene>{{"A", {1, 1}}}, 5, 1)
          .empty());
}

TEST(ControlSets, TheEmpiricalPCountsTheChangeItself) {
  const std::vector<double> null = {1, 2, 3, 4};
  EXPECT_DOUBLE_EQ(compare_with_null(10, null).p, 1.0 / 5);
  EXPECT_DOUBLE_EQ(compare_with_null(3, null).p, 3.0 / 5);
  EXPECT_DOUBLE_EQ(compare_with_null(0, null).p, 1);
  EXPECT_DOUBLE_EQ(compare_with_null(2.5 + std::sqrt(5.0 / 3), null).size, 1);
  EXPECT_EQ(compare_with_null(1, {}).n, 0u);
}

}  // namespace
}  // namespace vtissue::stages
