#include "io/tenx_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "io/anndata_matrix.h"
#include "io/delimited.h"
#include "io/hdf5.h"

namespace vtissue::io {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kGeneType = "Gene Expression";

/// Leaves out what is not a gene. `types` is empty where the file has no types.
TenxMatrix genes_only(TenxMatrix matrix, const std::vector<std::string>& types, const std::string& file) {
  if (types.empty() || std::ranges::all_of(types, [](const std::string& type) { return type == kGeneType; }))
    return matrix;
  std::vector<std::uint8_t> keep(types.size());
  std::ranges::transform(types, keep.begin(), [](const std::string& type) { return type == kGeneType ? 1 : 0; });
  if (std::ranges::find(keep, 1) == keep.end()) {
    throw Error(ErrorCode::kBadInput, "{}: none of its {} features is of type '{}' (the first is '{}')", file,
                types.size(), kGeneType, types.front());
  }
  matrix.counts = select_columns(matrix.counts, keep);
  return matrix;
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

fs::path first_existing(const fs::path& folder, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (fs::exists(folder / name)) return folder / name;
  }
  throw Error(ErrorCode::kBadInput, "{}: has none of {}", folder.string(), fmt::join(names, ", "));
}

std::vector<std::string> read_barcodes(const fs::path& path) {
  std::vector<std::string> barcodes;
  LineReader reader(path);
  for (std::string_view line; reader.next(line);) {
    if (!line.empty()) barcodes.emplace_back(line.substr(0, line.find('\t')));
  }
  return barcodes;
}

struct Features {
  std::vector<std::string> ids, names, types;
};

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

/// MatrixMarket coordinates, feature x barcode, 1-based, in any order.
ExpressionMatrix read_coordinates(const fs::path& path, std::size_t n_features, std::size_t n_barcodes) {
  LineReader reader(path);
  std::string_view line;
  if (!reader.next(line) || !line.starts_with("%%MatrixMarket matrix coordinate")) {
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
  while (reader.next(line)) {
    if (line.empty()) continue;
    const auto numbers = three_numbers(line, fields);
    if (!numbers) reader.fail("expected feature, barcode and count");
    const auto [feature, barcode, count] = *numbers;
    if (!(feature >= 1 && feature <= static_cast<double>(n_features) && barcode >= 1 &&
          barcode <= static_cast<double>(n_barcodes))) {
      reader.fail(fmt::format("feature {} or barcode {} is out of range", feature, barcode));
    }
    if (!std::isfinite(count) || count < 0) reader.fail(fmt::format("count {}", count));
    entries.push_back(
        {static_cast<std::int32_t>(barcode) - 1, static_cast<std::int32_t>(feature) - 1, static_cast<float>(count)});
  }
  if (static_cast<double>(entries.size()) != (*size)[2]) {
    reader.fail(fmt::format("{} entries, the head says {}; the file may be cut off", entries.size(), (*size)[2]));
  }
  ExpressionMatrix matrix;
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

TenxMatrix read_tenx_h5(const fs::path& path) {
  const hdf5::File file = hdf5::File::open(path);
  const hdf5::Group group = find_matrix(file.root());
  const bool current = group.has_group("features");
  const hdf5::Dataset names = current ? group.dataset("features/name") : group.dataset("gene_names");
  const hdf5::Dataset ids = current ? group.dataset("features/id") : group.dataset("genes");

  TenxMatrix matrix;
  matrix.barcodes = group.dataset("barcodes").read_strings();
  std::vector<std::string> genes = names.read_strings(), gene_ids = ids.read_strings(), types;
  if (current && group.has_dataset("features/feature_type"))
    types = group.dataset("features/feature_type").read_strings();
  const hdf5::Dataset shape_dataset = group.dataset("shape");
  const std::vector<std::int64_t> shape = shape_dataset.read<std::int64_t>();
  if (shape.size() != 2 || shape[0] != static_cast<std::int64_t>(genes.size()) ||
      shape[1] != static_cast<std::int64_t>(matrix.barcodes.size())) {
    shape_dataset.place().fail(fmt::format("is [{}], but there are {} features and {} barcodes", fmt::join(shape, ", "),
                                           genes.size(), matrix.barcodes.size()));
  }
  if (gene_ids.size() != genes.size() || (!types.empty() && types.size() != genes.size())) {
    group.place().fail("names, ids and types of the features differ in number");
  }
  // CSC of features x barcodes is CSR of barcodes x features.
  matrix.counts = read_compressed_rows(group, matrix.barcodes.size(), genes.size());
  if (std::ranges::any_of(matrix.counts.values, [](float value) { return value < 0; })) {
    group.place().child("data").fail("has negative counts");
  }
  matrix.counts.genes = std::move(genes);
  matrix.counts.gene_ids = std::move(gene_ids);
  return genes_only(std::move(matrix), types, path.string());
}

TenxMatrix read_tenx_mtx(const fs::path& folder) {
  const fs::path features_path =
      first_existing(folder, {"features.tsv.gz", "features.tsv", "genes.tsv.gz", "genes.tsv"});
  TenxMatrix matrix;
  matrix.barcodes = read_barcodes(first_existing(folder, {"barcodes.tsv.gz", "barcodes.tsv"}));
  Features features = read_features(features_path);
  matrix.counts = read_coordinates(first_existing(folder, {"matrix.mtx.gz", "matrix.mtx"}), features.ids.size(),
                                   matrix.barcodes.size());
  matrix.counts.genes = std::move(features.names);
  matrix.counts.gene_ids = std::move(features.ids);
  return genes_only(std::move(matrix), features.types, features_path.string());
}

}  // namespace vtissue::io
