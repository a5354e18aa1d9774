#include "io/feature_store.h"

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>

#include "io/hdf5.h"

namespace vtissue::io {
namespace {

constexpr std::string_view kFormat = "vtissue-features";
constexpr std::int64_t kVersion = 2;
constexpr std::string_view kMadeBy = "vtissue embed or vtissue encode";
constexpr std::uint64_t kMostChunkRows = 64;
constexpr std::uint64_t kChunkBytes = 1 << 20;
constexpr int kMostVectors = 1 << 16;
constexpr int kLargestDim = 1 << 20;

/// Rows of a chunk: a pure function of the set's shape, so that the bytes of the file are too.
std::uint64_t chunk_rows(std::uint64_t rows, std::uint64_t row_values) {
  const std::uint64_t fitting =
      std::clamp<std::uint64_t>(kChunkBytes / (row_values * sizeof(float)), 1, kMostChunkRows);
  return std::max<std::uint64_t>(1, std::min(fitting, rows));
}

bool is_name(std::string_view text) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
  return !text.empty() && text.front() != '.' && text.find_first_not_of(kAllowed) == std::string_view::npos;
}

}  // namespace

struct FeatureWriter::Impl {
  hdf5::File file;
  hdf5::Group sets;
  std::uint64_t rows;

  FeatureSetInfo info;                         // of the set being written
  std::optional<hdf5::Dataset> values, valid;  // empty: none
  std::uint64_t row_values = 0, chunk = 0, written = 0;
  // Rows are passed on in whole chunks, so that the file does not depend on how append() was called.
  std::vector<float> pending;
  std::vector<std::uint8_t> all_valid;

  Impl(hdf5::File opened, std::uint64_t n) : file(std::move(opened)), sets(file.root().create_group("sets")), rows(n) {}

  void flush() {
    const std::uint64_t count = pending.size() / row_values;
    values->write_rows(written, count, pending.data());
    written += count;
    pending.clear();
  }

  void end_set() {
    if (!values) return;
    if (all_valid.size() != rows) {
      throw std::logic_error(
          fmt::format("feature set '{}' has {} rows, expected {}", info.name, all_valid.size(), rows));
    }
    if (!pending.empty()) flush();
    valid->write_rows(0, rows, all_valid.data());
    values.reset();
    valid.reset();
  }
};

FeatureWriter::FeatureWriter(const std::filesystem::path& path, std::span<const TileCell> cells,
                             const std::string& slide_sha256, const std::string& settings, const std::string& grid) {
  if (std::ranges::adjacent_find(cells, std::ranges::greater_equal{}) != cells.end()) {
    throw std::logic_error("FeatureWriter: cells are not sorted and unique");
  }
  hdf5::File file = hdf5::File::create(path);
  hdf5::Group root = file.root();
  hdf5::write_format(root, kFormat, kVersion);
  root.set_string("slide_sha256", slide_sha256);
  root.set_string("settings", settings);
  if (!grid.empty()) root.set_string("grid", grid);
  std::vector<std::int32_t> numbers;
  numbers.reserve(2 * cells.size());
  for (const TileCell cell : cells) numbers.insert(numbers.end(), {cell.column, cell.row});
  root.write<std::int32_t>("cells", std::array<std::uint64_t, 2>{cells.size(), 2}, numbers);
  impl_ = std::make_unique<Impl>(std::move(file), cells.size());
}

FeatureWriter::~FeatureWriter() = default;

void FeatureWriter::begin_set(const FeatureSetInfo& info) {
  impl_->end_set();
  if (!is_name(info.name)) throw std::logic_error(fmt::format("feature set name '{}'", info.name));
  if (impl_->sets.has_group(info.name))
    throw std::logic_error(fmt::format("feature set '{}' written twice", info.name));
  if (info.vectors < 1 || info.vectors > kMostVectors || info.dim < 1 || info.dim > kLargestDim) {
    throw std::logic_error(fmt::format("feature set '{}' of {} vectors of {}", info.name, info.vectors, info.dim));
  }
  hdf5::Group group = impl_->sets.create_group(info.name);
  group.set_string("encoder", info.encoder);
  group.set_string("encoder_sha256", info.encoder_sha256);
  group.set_string("geometry", info.geometry);
  const auto vectors = static_cast<std::uint64_t>(info.vectors), dim = static_cast<std::uint64_t>(info.dim);
  impl_->row_values = vectors * dim;
  impl_->chunk = chunk_rows(impl_->rows, impl_->row_values);
  impl_->values.emplace(group.create_dataset("values", H5T_NATIVE_FLOAT, std::array{impl_->rows, vectors, dim},
                                             std::array{impl_->chunk, vectors, dim}));
  impl_->valid.emplace(group.create_dataset("valid", H5T_NATIVE_UINT8, std::array{impl_->rows}));
  impl_->info = info;
  impl_->written = 0;
  impl_->pending.clear();
  impl_->all_valid.clear();
}

void FeatureWriter::append(std::span<const float> values, std::span<const std::uint8_t> valid) {
  Impl& impl = *impl_;
  if (!impl.values) throw std::logic_error("FeatureWriter::append before begin_set");
  if (values.size() != valid.size() * impl.row_values || valid.size() > impl.rows - impl.all_valid.size()) {
    throw std::logic_error(fmt::format("feature set '{}': {} values and {} flags after {} of {} rows", impl.info.name,
                                       values.size(), valid.size(), impl.all_valid.size(), impl.rows));
  }
  for (std::size_t row = 0; row < valid.size(); ++row) {
    const auto from = values.subspan(row * impl.row_values, impl.row_values);
    if (valid[row] != 0) {
      impl.pending.insert(impl.pending.end(), from.begin(), from.end());
    } else {
      impl.pending.resize(impl.pending.size() + impl.row_values, 0.0f);
    }
    impl.all_valid.push_back(valid[row] != 0 ? 1 : 0);
    if (impl.pending.size() == impl.chunk * impl.row_values) impl.flush();
  }
}

void FeatureWriter::finish() {
  impl_->end_set();
  impl_->file.close();
}

struct FeatureReader::Impl {
  struct Set {
    FeatureSetInfo info;
    hdf5::Dataset values, valid;
  };
  hdf5::File file;
  std::string slide_sha256;
  std::string settings;
  std::string grid;
  std::vector<TileCell> cells;
  std::map<std::string, Set, std::less<>> sets;

  const Set& find(std::string_view name) const {
    const auto found = sets.find(name);
    if (found != sets.end()) return found->second;
    std::vector<std::string_view> names;
    for (const auto& entry : sets) names.push_back(entry.first);
    file.root().place().fail(fmt::format("has no feature set '{}' (it has: {})", name, fmt::join(names, ", ")));
  }
};

FeatureReader::FeatureReader(const std::filesystem::path& path) {
  hdf5::File file = hdf5::File::open(path);
  const hdf5::Group root = file.root();
  hdf5::require_format(root, kFormat, kVersion, kMadeBy);
  impl_.reset(new Impl{std::move(file),
                       root.required_string("slide_sha256"),
                       hdf5::read_settings(root),
                       root.string_attribute("grid").value_or(""),
                       {},
                       {}});

  const hdf5::Dataset cells = root.dataset("cells");
  if (cells.shape().size() != 2) cells.place().fail("is not an array [tiles, 2]");
  const std::uint64_t rows = cells.shape()[0];
  cells.require_shape(std::array<std::uint64_t, 2>{rows, 2});
  const std::vector<std::int32_t> numbers = cells.read<std::int32_t>();
  for (std::size_t i = 0; i < rows; ++i) impl_->cells.push_back({numbers[2 * i], numbers[2 * i + 1]});
  if (std::ranges::adjacent_find(impl_->cells, std::ranges::greater_equal{}) != impl_->cells.end()) {
    cells.place().fail("is not sorted by row and column, or not unique");
  }

  const hdf5::Group sets = root.group("sets");
  for (const std::string& name : sets.children()) {
    const hdf5::Group group = sets.group(name);
    Impl::Set set{{name, group.required_string("encoder"), group.required_string("encoder_sha256"),
                   group.required_string("geometry")},
                  group.dataset("values"),
                  group.dataset("valid")};
    const auto& shape = set.values.shape();
    if (shape.size() != 3 || shape[0] != rows || shape[1] < 1 || shape[1] > kMostVectors || shape[2] < 1 ||
        shape[2] > kLargestDim || set.values.kind() != hdf5::TypeKind::kFloat) {
      set.values.place().fail(fmt::format("is not a float array [{}, vectors, dim]", rows));
    }
    set.valid.require_shape(std::array{rows});
    set.info.vectors = static_cast<int>(shape[1]);
    set.info.dim = static_cast<int>(shape[2]);
    impl_->sets.emplace(name, std::move(set));
  }
}

FeatureReader::~FeatureReader() = default;

const std::vector<TileCell>& FeatureReader::cells() const { return impl_->cells; }

const std::string& FeatureReader::slide_sha256() const { return impl_->slide_sha256; }
const std::string& FeatureReader::settings() const { return impl_->settings; }
const std::string& FeatureReader::grid() const { return impl_->grid; }

std::vector<FeatureSetInfo> FeatureReader::sets() const {
  std::vector<FeatureSetInfo> infos;
  for (const auto& [name, set] : impl_->sets) infos.push_back(set.info);
  return infos;
}

FeatureSetInfo FeatureReader::info(std::string_view set) const { return impl_->find(set).info; }

void FeatureReader::read(std::string_view set, std::size_t first, std::size_t count, std::vector<float>& values,
                         std::vector<std::uint8_t>& valid) const {
  const Impl::Set& found = impl_->find(set);
  if (first > impl_->cells.size() || count > impl_->cells.size() - first) {
    throw std::out_of_range(fmt::format("FeatureReader::read: rows {}+{} of {}", first, count, impl_->cells.size()));
  }
  values.resize(count * static_cast<std::size_t>(found.info.vectors) * static_cast<std::size_t>(found.info.dim));
  valid.resize(count);
  found.values.read_rows(first, count, values.data());
  found.valid.read_rows(first, count, valid.data());
}

}  // namespace vtissue::io
