#include "io/latent_store.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/safetensors.h"
#include "io/half.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFormat = "vtissue-latents";
constexpr int kFormatVersion = 2;
constexpr int kMaximumSide = 4096;  // of anything in the index; larger numbers are damage

std::string part_name(std::size_t part) { return fmt::format("part-{:05}.safetensors", part); }

std::size_t values_per_tile(const LatentStoreInfo& info) {
  return static_cast<std::size_t>(info.channels) * static_cast<std::size_t>(info.size) *
         static_cast<std::size_t>(info.size);
}

std::size_t tiles_in_part(std::size_t tiles, std::size_t part) {
  return std::min(kLatentPartTiles, tiles - part * kLatentPartTiles);
}

nlohmann::json read_index(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::kBadInput, "{}: cannot be opened; is this a latents folder?", path.string());
  try {
    return nlohmann::json::parse(file);
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::kBadInput, "{}: not valid JSON: {}", path.string(), e.what());
  }
}

int bounded(const nlohmann::json& index, const char* key) {
  const auto value = index.at(key).get<std::int64_t>();
  if (value < 1 || value > kMaximumSide) {
    throw Error(ErrorCode::kBadInput, "{} is {}, not in 1..{}", key, value, kMaximumSide);
  }
  return static_cast<int>(value);
}

void require_sorted(std::span<const TileCell> cells) {
  const auto bad = std::adjacent_find(cells.begin(), cells.end(), [](TileCell a, TileCell b) { return !(a < b); });
  if (bad != cells.end()) {
    throw Error(ErrorCode::kBadInput, "tile ({}, {}) is not after the one before it", (bad + 1)->column,
                (bad + 1)->row);
  }
}

}  // namespace

LatentWriter::LatentWriter(fs::path folder, const LatentStoreInfo& info, std::span<const TileCell> cells)
    : folder_(std::move(folder)), info_(info), cells_(cells.begin(), cells.end()) {
  require_sorted(cells_);
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw_output_error(folder_, "create the folder", error.value());
}

void LatentWriter::append(std::span<const std::uint16_t> values) {
  const std::size_t per_tile = values_per_tile(info_);
  if (values.size() % per_tile != 0) throw std::logic_error("LatentWriter::append: not whole tiles");
  while (!values.empty()) {
    const std::size_t room = kLatentPartTiles * per_tile - pending_.size();
    const auto head = values.first(std::min(room, values.size()));
    pending_.insert(pending_.end(), head.begin(), head.end());
    values = values.subspan(head.size());
    if (pending_.size() == kLatentPartTiles * per_tile) write_part();
  }
}

void LatentWriter::write_part() {
  const std::size_t tiles = pending_.size() / values_per_tile(info_);
  if (written_ + tiles > cells_.size()) throw std::logic_error("LatentWriter: more tiles than cells");
  std::vector<std::int32_t> cells;
  cells.reserve(tiles * 2);
  for (std::size_t i = 0; i < tiles; ++i) {
    cells.push_back(cells_[written_ + i].column);
    cells.push_back(cells_[written_ + i].row);
  }
  const auto count = static_cast<std::int64_t>(tiles);
  const std::vector<std::byte> bytes = serialize_safetensors(
      {{"cells", "I32", {count, 2}, std::as_bytes(std::span(cells))},
       {"latents", "F16", {count, info_.channels, info_.size, info_.size}, std::as_bytes(std::span(pending_))}});
  write_file_atomically(folder_ / part_name(parts_.size()), bytes);
  Sha256 digest;
  digest.update(bytes);
  parts_.push_back({tiles, bytes.size(), digest.finish()});
  written_ += tiles;
  pending_.clear();
}

void LatentWriter::finish() {
  if (!pending_.empty()) write_part();
  if (written_ != cells_.size()) throw std::logic_error("LatentWriter::finish: fewer tiles than cells");
  nlohmann::json parts = nlohmann::json::array();
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    parts.push_back(
        {{"file", part_name(i)}, {"tiles", parts_[i].tiles}, {"bytes", parts_[i].bytes}, {"sha256", parts_[i].sha256}});
  }
  const nlohmann::json index = {{"format", kFormat},
                                {"format_version", kFormatVersion},
                                {"channels", info_.channels},
                                {"size", info_.size},
                                {"tile_px", info_.tile_px},
                                {"seed", info_.seed},
                                {"slide_sha256", info_.slide_sha256},
                                {"tiles", cells_.size()},
                                {"parts", parts},
                                {"made_by", info_.made_by}};
  write_file_atomically(folder_ / "index.json", index.dump(1) + "\n");
}

struct LatentReader::Impl {
  struct Part {
    SafetensorsFile file;
    std::span<const std::byte> latents;
    fs::path path;
    std::string sha256;
    mutable std::once_flag checked;

    Part(SafetensorsFile f, fs::path p, std::string digest)
        : file(std::move(f)), path(std::move(p)), sha256(std::move(digest)) {}
  };

  LatentStoreInfo info;
  std::vector<TileCell> cells;
  std::vector<std::unique_ptr<Part>> parts;

  void open(const fs::path& folder);
  void open_part(const fs::path& folder, const nlohmann::json& entry, std::size_t number, std::size_t tiles);
};

void LatentReader::Impl::open_part(const fs::path& folder, const nlohmann::json& entry, std::size_t number,
                                   std::size_t tiles) {
  // The names are fixed, so that an index cannot point outside its folder.
  if (entry.at("file").get<std::string>() != part_name(number)) {
    throw Error(ErrorCode::kBadInput, "part {} is named {}, expected {}", number, entry.at("file").dump(),
                part_name(number));
  }
  if (entry.at("tiles").get<std::size_t>() != tiles) {
    throw Error(ErrorCode::kBadInput, "{} has {} tiles, expected {}", part_name(number), entry.at("tiles").dump(),
                tiles);
  }
  const fs::path path = folder / part_name(number);
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  if (error) throw Error(ErrorCode::kBadInput, "{}: {}", path.string(), error.message());
  if (bytes != entry.at("bytes").get<std::uintmax_t>()) {
    throw Error(ErrorCode::kBadInput, "{}: {} bytes, the index says {}; run synthesize again", path.string(), bytes,
                entry.at("bytes").dump());
  }
  auto part = std::make_unique<Part>(SafetensorsFile::open(path), path, entry.at("sha256").get<std::string>());
  const auto n = static_cast<std::int64_t>(tiles);
  const SafetensorsEntry* latents = part->file.find("latents");
  const SafetensorsEntry* part_cells = part->file.find("cells");
  if (latents == nullptr || latents->dtype != "F16" ||
      latents->shape != std::vector<std::int64_t>{n, info.channels, info.size, info.size}) {
    throw Error(ErrorCode::kBadInput, "{}: no tensor latents F16 [{}, {}, {}, {}]", path.string(), n, info.channels,
                info.size, info.size);
  }
  if (part_cells == nullptr || part_cells->dtype != "I32" || part_cells->shape != std::vector<std::int64_t>{n, 2}) {
    throw Error(ErrorCode::kBadInput, "{}: no tensor cells I32 [{}, 2]", path.string(), n);
  }
  part->latents = latents->data;
  std::vector<std::int32_t> numbers(tiles * 2);
  std::memcpy(numbers.data(), part_cells->data.data(), numbers.size() * sizeof(std::int32_t));
  for (std::size_t i = 0; i < tiles; ++i) cells.push_back({numbers[2 * i], numbers[2 * i + 1]});
  parts.push_back(std::move(part));
}

void LatentReader::Impl::open(const fs::path& folder) {
  const nlohmann::json index = read_index(folder / "index.json");
  if (index.at("format").get<std::string>() != kFormat) {
    throw Error(ErrorCode::kBadInput, "format is {}, expected {}", index.at("format").dump(), kFormat);
  }
  if (index.at("format_version").get<int>() != kFormatVersion) {
    throw Error(ErrorCode::kBadInput, "format version {}; this program reads {}; run synthesize again",
                index.at("format_version").dump(), kFormatVersion);
  }
  info = {bounded(index, "channels"),
          bounded(index, "size"),
          bounded(index, "tile_px"),
          index.at("seed").get<std::uint64_t>(),
          index.at("slide_sha256").get<std::string>(),
          index.value("made_by", nlohmann::json::object())};
  if (!info.made_by.is_object()) throw Error(ErrorCode::kBadInput, "made_by is not an object");
  const auto tiles = index.at("tiles").get<std::size_t>();
  const nlohmann::json& entries = index.at("parts");
  const std::size_t expected = tiles / kLatentPartTiles + (tiles % kLatentPartTiles != 0 ? 1 : 0);
  if (entries.size() != expected) {
    throw Error(ErrorCode::kBadInput, "{} parts for {} tiles, expected {}", entries.size(), tiles, expected);
  }
  for (std::size_t i = 0; i < expected; ++i) open_part(folder, entries.at(i), i, tiles_in_part(tiles, i));
  require_sorted(cells);
}

LatentReader::LatentReader(const fs::path& folder) : impl_(std::make_unique<Impl>()) {
  try {
    impl_->open(folder);
  } catch (Error& e) {
    // A damaged part is bad input here, though the safetensors reader speaks of models.
    if (e.code() == ErrorCode::kBadInput) {
      e.add("{}", (folder / "index.json").string());
      throw;
    }
    throw Error(ErrorCode::kBadInput, "{}: {}", folder.string(), e.what());
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::kBadInput, "{}: {}", (folder / "index.json").string(), e.what());
  }
}

LatentReader::~LatentReader() = default;

const LatentStoreInfo& LatentReader::info() const { return impl_->info; }

const std::vector<TileCell>& LatentReader::cells() const { return impl_->cells; }

void LatentReader::read(std::size_t index, std::span<float> out) const {
  const std::size_t per_tile = values_per_tile(impl_->info);
  if (index >= impl_->cells.size() || out.size() != per_tile) throw std::logic_error("LatentReader::read: bad range");
  const Impl::Part& part = *impl_->parts[index / kLatentPartTiles];
  std::call_once(part.checked, [&] {
    if (sha256_file(part.path) != part.sha256) {
      throw Error(ErrorCode::kBadInput, "{}: damaged: its SHA-256 is not the one in index.json; run synthesize again",
                  part.path.string());
    }
  });
  const std::byte* source = part.latents.data() + (index % kLatentPartTiles) * per_tile * sizeof(std::uint16_t);
  for (float& value : out) {
    std::uint16_t half = 0;
    std::memcpy(&half, source, sizeof(half));
    value = half_to_float(half);
    source += sizeof(half);
  }
}

}  // namespace vtissue::io
