#include "viewer/gene_table.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "io/half.h"

namespace vtissue::viewer {
namespace {

namespace fs = std::filesystem;

constexpr std::uint16_t kHalfNan = 0x7e00;
constexpr std::size_t kBlockBytes = 16 << 20;
constexpr float kFlat = 1e-6F;  // a standard deviation below which a gene does not tell tiles apart

/// Zeroed memory that lies in a file without a name, so that it need not stay in memory.
void* map_unnamed_file(std::size_t bytes) {
  std::string name = (fs::temp_directory_path() / "vtissue-view-XXXXXX").string();
  const int file = ::mkstemp(name.data());
  if (file < 0) throw Error(ErrorCode::kOutput, "{}: cannot be created: {}", name, std::strerror(errno));
  ::unlink(name.c_str());
  // Reserved now: a full disk would otherwise be a signal later.
  const int failure = ::posix_fallocate(file, 0, static_cast<off_t>(bytes));
  void* const memory = failure == 0 ? ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
  const int reason = failure != 0 ? failure : errno;
  ::close(file);
  if (memory == MAP_FAILED) {
    throw Error(ErrorCode::kOutput, "{}: {} MB for the genes' maps: {}; TMPDIR names another folder",
                fs::temp_directory_path().string(), bytes >> 20, std::strerror(reason));
  }
  return memory;
}

std::string string_of(const io::AnnData& table, const std::string& key, std::string otherwise) {
  const auto found = table.strings.find(key);
  return found == table.strings.end() ? std::move(otherwise) : found->second;
}

}  // namespace

GeneTable::GeneTable(const fs::path& h5ad, std::span<const TileCell> cells)
    : rows_(h5ad), path_(h5ad), tiles_(cells.size()) {
  const io::AnnData& table = rows_.table();
  const auto columns = table.obs.numbers("cell_column"), cell_rows = table.obs.numbers("cell_row");
  if (!columns || !cell_rows) {
    throw Error(ErrorCode::kBadInput, "{}: obs has no columns cell_column and cell_row; make it with 'vtissue express'",
                h5ad.string());
  }
  const auto expressed = table.obs.numbers("has_expression");
  tile_of_row_.assign(rows_.rows(), -1);
  has_expression_.assign(rows_.rows(), 1);
  for (std::size_t row = 0; row < rows_.rows(); ++row) {
    const TileCell cell{static_cast<std::int32_t>((*columns)[row]), static_cast<std::int32_t>((*cell_rows)[row])};
    const auto place = std::ranges::lower_bound(cells, cell);
    if (place != cells.end() && *place == cell) tile_of_row_[row] = place - cells.begin();
    if (expressed) has_expression_[row] = (*expressed)[row] != 0 ? 1 : 0;
  }
  source_ = string_of(table, "source", "expression");
  unit_ = string_of(table, "unit", "");
  read_figures();
}

GeneTable::~GeneTable() {
  if (values_ != nullptr) ::munmap(values_, std::max<std::size_t>(1, genes().size() * tiles_) * sizeof(std::uint16_t));
}

void GeneTable::read_figures() {
  for (const auto& [name, column] : rows_.table().obs.columns) {
    if (name == "cell_column" || name == "cell_row") continue;
    const auto numbers = rows_.table().obs.numbers(name);
    if (!numbers) continue;
    Figure figure{name, std::vector<float>(tiles_, std::numeric_limits<float>::quiet_NaN())};
    for (std::size_t row = 0; row < numbers->size(); ++row) {
      if (tile_of_row_[row] >= 0)
        figure.values[static_cast<std::size_t>(tile_of_row_[row])] = static_cast<float>((*numbers)[row]);
    }
    figures_.push_back(std::move(figure));
  }
}

void GeneTable::turn() {
  const std::lock_guard lock(turning_);
  if (turned_) return;
  const std::size_t count = genes().size(), all = std::max<std::size_t>(1, count * tiles_);
  if (values_ == nullptr) values_ = static_cast<std::uint16_t*>(map_unnamed_file(all * sizeof(std::uint16_t)));
  std::fill_n(values_, count * tiles_, kHalfNan);

  std::vector<double> sums(count, 0), squares(count, 0);
  std::size_t expressed = 0;
  const std::size_t step = std::max<std::size_t>(1, kBlockBytes / std::max<std::size_t>(1, count * sizeof(float)));
  for (std::size_t first = 0; first < rows_.rows(); first += step) {
    const std::size_t n = std::min(step, rows_.rows() - first);
    const io::ExpressionMatrix block = rows_.read(first, n);
    // By gene, as they will lie: neighbouring rows are neighbouring tiles.
    std::vector<std::uint16_t> turned(count * n, 0);
    for (std::size_t row = 0; row < n; ++row) {
      if (has_expression_[first + row] == 0 || tile_of_row_[first + row] < 0) continue;
      ++expressed;
      for (auto entry = static_cast<std::size_t>(block.indptr[row]);
           entry < static_cast<std::size_t>(block.indptr[row + 1]); ++entry) {
        const auto gene = static_cast<std::size_t>(block.indices[entry]);
        const float value = block.values[entry];
        turned[gene * n + row] = io::float_to_half(value);
        sums[gene] += value;
        squares[gene] += static_cast<double>(value) * value;
      }
    }
    for (std::size_t gene = 0; gene < count; ++gene) {
      for (std::size_t row = 0; row < n; ++row) {
        const std::int64_t tile = tile_of_row_[first + row];
        if (tile >= 0 && has_expression_[first + row] != 0)
          values_[gene * tiles_ + static_cast<std::size_t>(tile)] = turned[gene * n + row];
      }
    }
  }
  means_.assign(count, 0);
  deviations_.assign(count, 0);
  for (std::size_t gene = 0; gene < count && expressed > 0; ++gene) {
    const double mean = sums[gene] / static_cast<double>(expressed);
    means_[gene] = static_cast<float>(mean);
    deviations_[gene] =
        static_cast<float>(std::sqrt(std::max(0.0, squares[gene] / static_cast<double>(expressed) - mean * mean)));
  }
  turned_ = true;
}

std::span<const std::uint16_t> GeneTable::column(std::size_t gene) {
  if (gene >= genes().size()) return {};
  turn();
  return {values_ + gene * tiles_, tiles_};
}

const std::vector<float>& GeneTable::means() {
  turn();
  return means_;
}

std::vector<std::vector<GeneTable::Top>> GeneTable::top(std::size_t block) {
  const std::size_t first = block * kTopTiles;
  if (first >= tiles_) return {};
  turn();
  const std::size_t n = std::min(kTopTiles, tiles_ - first);
  std::vector<std::vector<Top>> tops(n);
  const auto higher = [](const Top& a, const Top& b) { return a.z != b.z ? a.z > b.z : a.gene < b.gene; };
  for (std::size_t gene = 0; gene < genes().size(); ++gene) {
    if (deviations_[gene] < kFlat) continue;
    const std::uint16_t* const values = values_ + gene * tiles_ + first;
    for (std::size_t tile = 0; tile < n; ++tile) {
      const float value = io::half_to_float(values[tile]);
      if (std::isnan(value)) continue;
      const Top candidate{static_cast<std::uint32_t>(gene), value, (value - means_[gene]) / deviations_[gene]};
      std::vector<Top>& best = tops[tile];
      if (best.size() == kTopGenes && !higher(candidate, best.back())) continue;
      best.insert(std::ranges::upper_bound(best, candidate, higher), candidate);
      if (best.size() > kTopGenes) best.pop_back();
    }
  }
  return tops;
}

}  // namespace vtissue::viewer
