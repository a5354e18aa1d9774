#include "io/tenx_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <unordered_set>

#include "core/error.h"
#include "io/anndata_matrix.h"
#include "io/delimited.h"
#include "io/hdf5.h"

namespace vtissue::io {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kGeneType = "Gene Expression";

struct Features {
  std::vector<std::string> ids, names, types;  // types: empty where the file has none
};

/// What becomes of the features.
struct Columns {
  std::vector<std::int32_t> new_column;  ///< [features] as read_compressed_rows() takes it; empty: all are kept
  std::vector<std::string> genes, gene_ids;
};

/// Genes only, and of them those that `keep` wants.
Columns choose_columns(Features features, const GeneFilter& keep, const std::string& file) {
  std::vector<std::int32_t> new_column(features.names.size(), kForeignColumn);
  Columns genes;
  std::vector<std::size_t> origin;
  for (std::size_t i = 0; i < features.names.size(); ++i) {
    if (!features.types.empty() && features.types[i] != kGeneType) continue;
    origin.push_back(i);
    genes.genes.push_back(std::move(features.names[i]));
    genes.gene_ids.push_back(std::move(features.ids[i]));
  }
  if (origin.empty() && !features.types.empty()) {
    throw Error(ErrorCode::kBadInput, "{}: none of its {} features is of type '{}' (the first is '{}')", file,
                features.types.size(), kGeneType, features.types.front());
  }
  std::vector<std::uint8_t> wanted(origin.size(), 1);
  if (keep) wanted = keep(genes.genes, genes.gene_ids);
  Columns columns;
  for (std::size_t gene = 0; gene < origin.size(); ++gene) {
    new_column[origin[gene]] = kDroppedColumn;
    if (wanted[gene] == 0) continue;
    new_column[origin[gene]] = static_cast<std::int32_t>(columns.genes.size());
    columns.genes.push_back(std::move(genes.genes[gene]));
    columns.gene_ids.push_back(std::move(genes.gene_ids[gene]));
  }
  if (columns.genes.size() != new_column.size()) columns.new_column = std::move(new_column);
  return columns;
}

void require_unique(const std::vector<std::string>& barcodes, const std::string& file) {
  std::unordered_set<std::string_view> seen;
  seen.reserve(barcodes.size());
  for (const std::string& barcode : barcodes) {
    if (!seen.insert(barcode).second) {
      throw Error(ErrorCode::kBadInput, "{}: barcode {} is there twice; a matrix of several sections cannot be used",
                  file, barcode);
    }
  }
}

void finish(TenxMatrix& matrix, Columns columns) {
  matrix.counts.genes = std::move(columns.genes);
  matrix.counts.gene_ids = std::move(columns.gene_ids);
}

/// The group with the matrix: /matrix, or before version 3 the only genome's.
hdf5::Group find_matrix(const hdf5::Group& root) {
  if (root.has_group("matrix")) return root.group("matrix");
  std::vector<std::string> genomes;
  for (const std::string& name : root.children()) {
    if (root.has_group(name) && root.has_dataset(name + "/gene_names")) genomes.push_back(name);
  }
  if (genomes.empty()) root.place().fail("has neither a group 'matrix' nor a genome's group: not a 10x matrix");
  if (genomes.size() > 1) {
    root.place().fail(fmt::format("holds {} genomes ({}); only matrices of one genome can be used", genomes.size(),
                                  fmt::join(genomes, ", ")));
  }
  return root.group(genomes.front());
}

std::vector<std::string> read_barcodes(const fs::path& path) {
  std::vector<std::string> barcodes;
  LineReader reader(path);
  for (std::string_view line; reader.next(line);) {
    if (!line.empty()) barcodes.emplace_back(line.substr(0, line.find('\t')));
  }
  return barcodes;
}

Features read_features(const fs::path& path) {
  Features features;
  LineReader reader(path);
  std::vector<std::string_view> fields;
  for (std::string_view line; reader.next(line);) {
    if (line.empty()) continue;
    split_fields(line, '\t', fields);
    if (fields.size() < 2) reader.fail("expected an id and a name, separated by a tab");
    features.ids.emplace_back(fields[0]);
    features.names.emplace_back(fields[1]);
    if (fields.size() > 2) features.types.emplace_back(fields[2]);
  }
  if (!features.types.empty() && features.types.size() != features.ids.size()) {
    throw Error(ErrorCode::kBadInput, "{}: only some lines have a feature type", path.string());
  }
  return features;
}

/// Three numbers of a line "row column value" or of the size line.
std::optional<std::array<double, 3>> three_numbers(std::string_view line, std::vector<std::string_view>& fields) {
  split_fields(line, ' ', fields);
  std::erase_if(fields, [](std::string_view field) { return field.empty(); });
  if (fields.size() != 3) return std::nullopt;
  std::array<double, 3> numbers{};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto number = parse_number(fields[i]);
    if (!number) return std::nullopt;
    numbers[i] = *number;
  }
  return numbers;
}

/// MatrixMarket coordinates, feature x barcode, 1-based, in any order; `new_column` as for read_compressed_rows().
ExpressionMatrix read_coordinates(const fs::path& path, std::size_t n_features, std::size_t n_barcodes,
                                  std::span<const std::int32_t> new_column) {
  LineReader reader(path);
  std::string_view line;
  if (!reader.next(line)) throw Error(ErrorCode::kBadInput, "{}: is empty", path.string());
  if (!line.starts_with("%%MatrixMarket matrix coordinate")) {
    reader.fail("not a MatrixMarket coordinate file");
  }
  if (line.find("general") == std::string_view::npos) reader.fail("only 'general' matrices can be used");
  while (reader.next(line) && line.starts_with('%')) {
  }
  std::vector<std::string_view> fields;
  const auto size = three_numbers(line, fields);
  if (!size) reader.fail("expected the numbers of features, barcodes and entries");
  if ((*size)[0] != static_cast<double>(n_features) || (*size)[1] != static_cast<double>(n_barcodes)) {
    reader.fail(fmt::format("{} features and {} barcodes, but the tables beside have {} and {}", (*size)[0], (*size)[1],
                            n_features, n_barcodes));
  }
  struct Entry {
    std::int32_t row, column;
    float value;
  };
  std::vector<Entry> entries;
  ExpressionMatrix matrix;
  if (!new_column.empty()) matrix.totals.assign(n_barcodes, 0.0);
  double n_read = 0;
  while (reader.next(line)) {
    if (line.empty()) continue;
    const auto numbers = three_numbers(line, fields);
    if (!numbers) reader.fail("expected feature, barcode and count");
    const auto [feature, barcode, count] = *numbers;
    if (!(feature >= 1 && feature <= static_cast<double>(n_features) && barcode >= 1 &&
          barcode <= static_cast<double>(n_barcodes))) {
      reader.fail(fmt::format("feature {} or barcode {} is out of range", feature, barcode));
    }
    if (feature != std::floor(feature) || barcode != std::floor(barcode)) {
      reader.fail(fmt::format("feature {} or barcode {} is not a whole number", feature, barcode));
    }
    if (!std::isfinite(count) || count < 0) reader.fail(fmt::format("count {}", count));
    ++n_read;
    const auto row = static_cast<std::int32_t>(barcode) - 1;
    auto column = static_cast<std::int32_t>(feature) - 1;
    if (!new_column.empty()) {
      column = new_column[static_cast<std::size_t>(column)];
      if (column != kForeignColumn) matrix.totals[static_cast<std::size_t>(row)] += count;
      if (column < 0) continue;
    }
    entries.push_back({row, column, static_cast<float>(count)});
  }
  if (n_read != (*size)[2]) {
    reader.fail(fmt::format("{} entries, the head says {}; the file may be cut off", n_read, (*size)[2]));
  }
  matrix.rows = n_barcodes;
  matrix.indptr.assign(n_barcodes + 1, 0);
  for (const Entry& entry : entries) ++matrix.indptr[static_cast<std::size_t>(entry.row) + 1];
  std::partial_sum(matrix.indptr.begin(), matrix.indptr.end(), matrix.indptr.begin());
  matrix.indices.resize(entries.size());
  matrix.values.resize(entries.size());
  std::vector<std::int64_t> next(matrix.indptr.begin(), matrix.indptr.end() - 1);
  for (const Entry& entry : entries) {
    const auto at = static_cast<std::size_t>(next[static_cast<std::size_t>(entry.row)]++);
    matrix.indices[at] = entry.column;
    matrix.values[at] = entry.value;
  }
  sort_rows(matrix);
  return matrix;
}

}  // namespace

TenxMatrix read_tenx_h5(const fs::path& path, const GeneFilter& keep) {
  const hdf5::File file = hdf5::File::open(path);
  const hdf5::Group group = find_matrix(file.root());
  if (group.has_group("features") && group.has_dataset("features/probe_region") &&
      group.has_dataset("features/gene_id")) {
    group.place().fail("counts probes, not genes; give filtered_feature_bc_matrix.h5 of the same run");
  }
  const bool current = group.has_group("features");
  Features features;
  features.names = group.dataset(current ? "features/name" : "gene_names").read_strings();
  features.ids = group.dataset(current ? "features/id" : "genes").read_strings();
  if (current && group.has_dataset("features/feature_type")) {
    features.types = group.dataset("features/feature_type").read_strings();
  }
  TenxMatrix matrix;
  matrix.barcodes = group.dataset("barcodes").read_strings();
  const std::size_t n_features = features.names.size();
  const hdf5::Dataset shape_dataset = group.dataset("shape");
  const std::vector<std::int64_t> shape = shape_dataset.read<std::int64_t>();
  if (shape.size() != 2 || shape[0] != static_cast<std::int64_t>(n_features) ||
      shape[1] != static_cast<std::int64_t>(matrix.barcodes.size())) {
    shape_dataset.place().fail(fmt::format("is [{}], but there are {} features and {} barcodes", fmt::join(shape, ", "),
                                           n_features, matrix.barcodes.size()));
  }
  if (features.ids.size() != n_features || (!features.types.empty() && features.types.size() != n_features)) {
    group.place().fail("names, ids and types of the features differ in number");
  }
  require_unique(matrix.barcodes, path.string());
  Columns columns = choose_columns(std::move(features), keep, path.string());
  // CSC of features x barcodes is CSR of barcodes x features.
  matrix.counts = read_compressed_rows(group, matrix.barcodes.size(), n_features, columns.new_column);
  if (std::ranges::any_of(matrix.counts.values, [](float value) { return value < 0; })) {
    group.place().child("data").fail("has negative counts");
  }
  finish(matrix, std::move(columns));
  return matrix;
}

TenxMatrix read_tenx_mtx(const MtxFiles& files, const GeneFilter& keep) {
  TenxMatrix matrix;
  matrix.barcodes = read_barcodes(files.barcodes);
  require_unique(matrix.barcodes, files.barcodes.string());
  Features features = read_features(files.features);
  const std::size_t n_features = features.names.size();
  Columns columns = choose_columns(std::move(features), keep, files.features.string());
  matrix.counts = read_coordinates(files.matrix, n_features, matrix.barcodes.size(), columns.new_column);
  finish(matrix, std::move(columns));
  return matrix;
}

}  // namespace vtissue::io
