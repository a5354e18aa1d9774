#include "io/spot_record.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "io/anndata_matrix.h"
#include "io/anndata_table.h"
#include "io/hdf5.h"

namespace vtissue::io {
namespace {

constexpr const char* kRecordWeights = "obsm/spots";
constexpr const char* kRecordNames = "uns/spot_names";

}  // namespace

void add_spot_record(const std::filesystem::path& path, const SpotWeights& weights,
                     std::span<const std::string> spot_names) {
  const auto last = std::ranges::max_element(weights.spots);
  if (last != weights.spots.end() && static_cast<std::size_t>(*last) >= spot_names.size()) {
    throw std::logic_error("add_spot_record: a weight names a spot that has no name");
  }
  hdf5::File file = hdf5::File::append(path);
  hdf5::Group root = file.root();
  hdf5::Group group = root.create_group(kRecordWeights);
  write_encoding(group, "csr_matrix", "0.1.0");
  const std::array<std::int64_t, 2> shape{static_cast<std::int64_t>(weights.tiles()),
                                          static_cast<std::int64_t>(spot_names.size())};
  group.set_integers("shape", shape);
  const std::array<std::uint64_t, 1> entries{weights.spots.size()}, starts{weights.indptr.size()};
  group.write<float>("data", entries, weights.weights);
  group.write<std::int32_t>("indices", entries, weights.spots);
  group.write<std::int64_t>("indptr", starts, weights.indptr);
  hdf5::Dataset names = root.write_strings(kRecordNames, spot_names);
  write_encoding(names, "string-array", "0.2.0");
  file.close();
}

std::optional<SpotRecord> read_spot_record(const std::filesystem::path& path) {
  const hdf5::File file = hdf5::File::open(path);
  const hdf5::Group root = file.root();
  if (!root.has_group(kRecordWeights) || !root.has_dataset(kRecordNames)) return std::nullopt;
  SpotRecord record;
  record.names = root.dataset(kRecordNames).read_strings();
  const hdf5::Group group = root.group(kRecordWeights);
  const auto shape = group.integers_attribute("shape");
  if (!shape || shape->size() != 2 || shape->at(0) < 0 || shape->at(0) >= (std::int64_t{1} << 40)) {
    group.place().fail("has no shape");
  }
  ExpressionMatrix matrix =
      read_ann_matrix(root, kRecordWeights, static_cast<std::size_t>(shape->at(0)), record.names.size());
  record.weights = {std::move(matrix.indptr), std::move(matrix.indices), std::move(matrix.values)};
  return record;
}

}  // namespace vtissue::io
