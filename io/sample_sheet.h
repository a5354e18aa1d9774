#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vtissue::io {

/// A row of a sample sheet.
struct Sample {
  std::string name;   ///< column "sample": unique, usable as a folder's name
  std::string donor;  ///< whose tissue it is; empty if the sheet does not say
  std::filesystem::path slide;
  std::optional<double> mpp;                  ///< µm/px of level 0, if the slide has none
  std::filesystem::path visium, h5ad;         ///< measured expression: at most one of these, or
  std::filesystem::path st_counts, st_spots;  ///< the two tables of legacy ST, or none
  std::filesystem::path mask;                 ///< picture or annotations of the tissue; empty: it is found
  std::string split;                          ///< "train", "val" or, if the sheet has no such column, ""
  std::size_t line = 0;                       ///< of the sheet, from 1
};

/// Slides and what belongs to them, one a row: CSV with a header (comma, semicolon or tab, whichever the header has),
/// plain or gzip; columns in any order, `sample` and `slide` required; empty lines and lines that begin with # are left
/// out. Relative paths are relative to `root`, by default the sheet's folder. Existence of files is not checked.
/// Throws Error kUsage that names file, line, column and value: a column unknown (with the nearest known one), twice or
/// missing; a row of another length; a sample twice, empty or no folder's name; a mpp that is no positive number; more
/// than one source of expression, or half of one; a split other than train and val; no rows. Thread-safe.
std::vector<Sample> read_sample_sheet(const std::filesystem::path& path, const std::filesystem::path& root = {});

/// Throws Error kUsage unless every sample has a donor and a split and no donor is on both sides of it: tissue of one
/// person is alike, so that a held-out section of a donor who is trained on says nothing.
void require_split_by_donor(const std::filesystem::path& path, const std::vector<Sample>& samples);

}  // namespace vtissue::io
