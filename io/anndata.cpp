#include "io/anndata.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <stdexcept>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/anndata_matrix.h"
#include "io/anndata_table.h"
#include "io/delimited.h"
#include "io/hdf5.h"
#include "io/hdf5_compound.h"

namespace vtissue::io {
namespace fs = std::filesystem;

namespace {

using hdf5::Dataset;
using hdf5::Group;

/// A file in the system's temporary folder that is removed on destruction.
class TemporaryFile {
 public:
  TemporaryFile() {
    std::string name = (fs::temp_directory_path() / "vtissue-h5ad-XXXXXX").string();
    const int descriptor = ::mkstemp(name.data());
    if (descriptor < 0) throw_output_error(name, "create", errno);
    ::close(descriptor);
    path_ = name;
  }
  ~TemporaryFile() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// HDF5 cannot read gzip streams. The inflated copy loses its name as soon as it is open, so that
/// nothing stays behind whatever happens.
hdf5::File open_h5ad(const fs::path& path) {
  if (!has_gzip_signature(path)) return hdf5::File::open(path);
  const TemporaryFile inflated;
  gunzip(path, inflated.path());
  return hdf5::File::open(inflated.path(), path);
}

/// anndata 0.6 has "raw.X" and "raw.var" beside X, newer versions a group.
std::string name_in_file(const Group& root, const std::string& name) {
  if (!name.starts_with("raw/") || root.child(name) != Group::Child::kNone) return name;
  return "raw." + name.substr(4);
}

/// None of Python is an empty dataset.
bool is_there(const Group& root, const std::string& name) {
  switch (root.child(name)) {
    case Group::Child::kNone:
      return false;
    case Group::Child::kDataset:
      return root.dataset(name).string_attribute("encoding-type") != "null";
    default:
      return true;
  }
}

std::vector<std::string> list_matrices(const Group& root) {
  std::vector<std::string> names;
  if (is_there(root, "X")) names.push_back("X");
  if (root.has_group("layers")) {
    for (const std::string& layer : root.group("layers").children()) names.push_back("layers/" + layer);
  }
  if (is_there(root, name_in_file(root, "raw/X")) && is_there(root, name_in_file(root, "raw/var"))) {
    names.push_back("raw/X");
  }
  return names;
}

std::vector<std::string> find_gene_ids(const AnnTable& var) {
  for (const std::string_view name : {"gene_ids", "gene_id", "ensembl_id", "ensembl_ids", "ensembl", "feature_id"}) {
    if (const auto* ids = var.strings(name)) return *ids;
  }
  return {};
}

/// [rows, 2] of obsm; the name of cellxgene's files is tried too. anndata 0.6 has obsm as one table.
std::optional<std::vector<double>> read_spatial(const Group& root, std::size_t rows) {
  const auto finite = [](std::vector<double> spatial, const hdf5::Place& place) {
    for (std::size_t i = 0; i < spatial.size(); ++i) {
      if (!std::isfinite(spatial[i])) place.fail(fmt::format("value {} in row {}", spatial[i], i / 2));
    }
    return spatial;
  };
  for (const std::string name : {"spatial", "X_spatial"}) {
    if (root.has_dataset("obsm")) {
      const Dataset table = root.dataset("obsm");
      const std::vector<hdf5::Member> members = hdf5::members(table);
      const auto found = std::ranges::find(members, name, &hdf5::Member::name);
      if (found == members.end()) continue;
      const hdf5::Place place = table.place().child(name);
      if (found->width != 2) place.fail(fmt::format("has {} columns, expected x and y", found->width));
      table.require_shape(std::array<std::uint64_t, 1>{rows});
      return finite(hdf5::read_member<double>(table, *found), place);
    }
    const std::string path = "obsm/" + name;
    if (root.child(path) == Group::Child::kNone) continue;
    if (!root.has_dataset(path)) root.place().child(path).fail("is not an array [spots, 2]");
    const Dataset dataset = root.dataset(path);
    dataset.require_shape(std::array<std::uint64_t, 2>{rows, 2});
    return finite(dataset.read<double>(), dataset.place());
  }
  return std::nullopt;
}

void read_scalars(const Group& group, const std::string& prefix, int depth, AnnData& data) {
  constexpr int kDeepest = 8;
  for (const std::string& name : group.children()) {
    const std::string path = prefix + name;
    if (group.has_group(name)) {
      const Group child = group.group(name);
      const std::string encoding = child.string_attribute("encoding-type").value_or("dict");
      if (encoding == "dict" && depth < kDeepest) read_scalars(child, path + "/", depth + 1, data);
    } else if (group.has_dataset(name)) {
      const Dataset dataset = group.dataset(name);
      // Writers in R store a scalar as a vector of one.
      if (dataset.shape().size() > 1 || dataset.elements() != 1) continue;
      if (dataset.kind() == hdf5::TypeKind::kString) {
        data.strings[path] = dataset.read_strings().front();
      } else if (dataset.kind() == hdf5::TypeKind::kInteger || dataset.kind() == hdf5::TypeKind::kFloat) {
        data.numbers[path] = dataset.read<double>().front();
      }
    }
  }
}

/// The group of a path's parent inside uns, made on first use.
class DictWriter {
 public:
  explicit DictWriter(Group root) { groups_.emplace("", std::move(root)); }

  Group& group_for(const std::string& path) {
    const auto slash = path.rfind('/');
    return make(slash == std::string::npos ? "" : path.substr(0, slash));
  }

 private:
  Group& make(const std::string& path) {
    if (const auto found = groups_.find(path); found != groups_.end()) return found->second;
    Group child = group_for(path).create_group(path.substr(path.rfind('/') + 1));
    write_encoding(child, "dict", "0.1.0");
    return groups_.emplace(path, std::move(child)).first->second;
  }
  std::map<std::string, Group> groups_;
};

void write_uns(Group& root, const AnnData& data) {
  Group uns = root.create_group("uns");
  write_encoding(uns, "dict", "0.1.0");
  DictWriter writer(std::move(uns));
  for (const auto& [path, value] : data.strings) {
    Dataset dataset = writer.group_for(path).write_string(path.substr(path.rfind('/') + 1), value);
    write_encoding(dataset, "string", "0.2.0");
  }
  for (const auto& [path, value] : data.numbers) {
    const std::array<double, 1> number{value};
    Dataset dataset = writer.group_for(path).write<double>(path.substr(path.rfind('/') + 1), {}, number);
    write_encoding(dataset, "numeric-scalar", "0.2.0");
  }
}

/// var as it is written: x.genes as row names, x.gene_ids as a column.
AnnTable var_to_write(const AnnData& data) {
  AnnTable var = data.var;
  if (!var.index.empty() && var.index != data.x.genes)
    throw std::logic_error("write_h5ad: var.index and x.genes differ");
  var.index = data.x.genes;
  if (!data.x.gene_ids.empty() && var.find("gene_ids") == nullptr)
    var.columns.emplace_back("gene_ids", data.x.gene_ids);
  return var;
}

/// What the file says besides the entries of its matrix.
AnnData read_frame(const Group& root, const std::string& matrix) {
  AnnData data;
  data.obs = read_ann_table(root, "obs");
  data.matrices = list_matrices(root);
  data.has_x = std::ranges::find(data.matrices, matrix) != data.matrices.end();
  if (!data.has_x && matrix != "X") {
    root.place().fail(fmt::format("has no matrix '{}' (it has: {})", matrix, fmt::join(data.matrices, ", ")));
  }
  data.var = read_ann_table(root, matrix == "raw/X" ? name_in_file(root, "raw/var") : "var");
  data.x.rows = data.obs.index.size();
  data.x.indptr.assign(data.x.rows + 1, 0);
  data.spatial = read_spatial(root, data.x.rows);
  if (root.has_group("uns")) read_scalars(root.group("uns"), "", 0, data);
  return data;
}

void name_genes(AnnData& data) {
  data.x.genes = data.var.index;
  data.x.gene_ids = find_gene_ids(data.var);
}

/// Everything but X.
void write_rest(Group& root, std::size_t rows, const AnnData& data) {
  const AnnTable var = var_to_write(data);
  write_ann_table(root, "obs", data.obs);
  write_ann_table(root, "var", var);
  for (const char* name : {"layers", "varm", "obsp", "varp"}) {
    Group group = root.create_group(name);
    write_encoding(group, "dict", "0.1.0");
  }
  Group obsm = root.create_group("obsm");
  write_encoding(obsm, "dict", "0.1.0");
  if (data.spatial) {
    Dataset spatial = obsm.write<double>("spatial", std::array<std::uint64_t, 2>{rows, 2}, *data.spatial);
    write_encoding(spatial, "array", "0.2.0");
  }
  write_uns(root, data);
}

/// Rows [first, first + count) of a CSR matrix, dense.
std::vector<float> dense_rows(const ExpressionMatrix& matrix, std::size_t first, std::size_t count) {
  const std::size_t columns = matrix.genes.size();
  std::vector<float> dense(count * columns);
  for (std::size_t row = 0; row < count; ++row) {
    for (auto i = static_cast<std::size_t>(matrix.indptr[first + row]);
         i < static_cast<std::size_t>(matrix.indptr[first + row + 1]); ++i) {
      dense[row * columns + static_cast<std::size_t>(matrix.indices[i])] = matrix.values[i];
    }
  }
  return dense;
}

}  // namespace

const AnnColumn* AnnTable::find(std::string_view name) const {
  const auto found = std::ranges::find(columns, name, &std::pair<std::string, AnnColumn>::first);
  return found == columns.end() ? nullptr : &found->second;
}

std::optional<std::vector<double>> AnnTable::numbers(std::string_view name) const {
  const AnnColumn* column = find(name);
  if (column == nullptr) return std::nullopt;
  if (const auto* doubles = std::get_if<std::vector<double>>(column)) return *doubles;
  if (const auto* integers = std::get_if<std::vector<std::int64_t>>(column)) {
    return std::vector<double>(integers->begin(), integers->end());
  }
  if (const auto* bools = std::get_if<std::vector<std::uint8_t>>(column)) {
    return std::vector<double>(bools->begin(), bools->end());
  }
  return std::nullopt;
}

const std::vector<std::string>* AnnTable::strings(std::string_view name) const {
  const AnnColumn* column = find(name);
  return column == nullptr ? nullptr : std::get_if<std::vector<std::string>>(column);
}

AnnData read_h5ad(const fs::path& path, const H5adOptions& options) {
  const hdf5::File file = open_h5ad(path);
  const Group root = file.root();
  AnnData data = read_frame(root, options.matrix);
  if (data.has_x) {
    data.x = read_ann_matrix(root, name_in_file(root, options.matrix), data.obs.index.size(), data.var.index.size());
  }
  name_genes(data);
  return data;
}

H5adRows::H5adRows(const fs::path& path) : file_(std::make_unique<hdf5::File>(open_h5ad(path))) {
  const Group root = file_->root();
  table_ = read_frame(root, "X");
  if (!table_.has_x) root.place().fail("has no matrix X");
  x_ = std::make_unique<AnnMatrixRows>(root, "X", table_.obs.index.size(), table_.var.index.size());
  name_genes(table_);
}

H5adRows::~H5adRows() = default;
H5adRows::H5adRows(H5adRows&&) noexcept = default;

ExpressionMatrix H5adRows::read(std::size_t first, std::size_t count) const {
  if (first > rows() || count > rows() - first) {
    throw std::logic_error(fmt::format("H5adRows: rows {} to {} of {}", first, first + count, rows()));
  }
  return x_->read(first, count);
}

H5adWriter::H5adWriter(const fs::path& path, std::size_t rows, std::size_t genes)
    : rows_(rows), genes_(genes), file_(std::make_unique<hdf5::File>(hdf5::File::create(path))) {
  Group root = file_->root();
  write_encoding(root, "anndata", "0.1.0");
  x_ = std::make_unique<AnnMatrixWriter>(root, "X", rows, genes);
}

H5adWriter::~H5adWriter() = default;

void H5adWriter::append(std::span<const float> values) { x_->append(values); }

void H5adWriter::finish(const AnnData& rest) {
  if (rest.obs.index.size() != rows_ || rest.x.genes.size() != genes_ ||
      (rest.spatial && rest.spatial->size() != 2 * rows_)) {
    throw std::logic_error("H5adWriter: obs, genes and spatial do not fit X");
  }
  x_->finish();
  x_.reset();
  Group root = file_->root();
  write_rest(root, rows_, rest);
  file_->close();
}

void write_h5ad(const fs::path& path, const AnnData& data) {
  const ExpressionMatrix& x = data.x;
  if (data.obs.index.size() != x.rows || x.indptr.size() != x.rows + 1 || x.indices.size() != x.values.size() ||
      (data.spatial && data.spatial->size() != 2 * x.rows)) {
    throw std::logic_error("write_h5ad: obs, x and spatial differ in their rows");
  }
  var_to_write(data);
  if (!data.has_x) {
    hdf5::File file = hdf5::File::create(path);
    Group root = file.root();
    write_encoding(root, "anndata", "0.1.0");
    write_rest(root, x.rows, data);
    file.close();
    return;
  }
  H5adWriter writer(path, x.rows, x.genes.size());
  constexpr std::size_t kRowsAtOnce = 64;
  for (std::size_t first = 0; first < x.rows; first += kRowsAtOnce) {
    writer.append(dense_rows(x, first, std::min(kRowsAtOnce, x.rows - first)));
  }
  writer.finish(data);
}

}  // namespace vtissue::io
