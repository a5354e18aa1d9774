#include "stages/embed/feature_chunks.h"

#include <cstring>
#include <optional>

#include "core/error.h"

namespace vtissue::stages {

std::size_t rows_per_chunk(int wanted, int micro_batch) {
  const int batch = std::max(1, micro_batch);
  return static_cast<std::size_t>((std::max(1, wanted) + batch - 1) / batch) * static_cast<std::size_t>(batch);
}

std::vector<std::byte> pack_rows(const FeatureRows& rows) {
  std::vector<std::byte> bytes(rows.valid.size() + rows.values.size() * sizeof(float));
  std::memcpy(bytes.data(), rows.valid.data(), rows.valid.size());
  std::memcpy(bytes.data() + rows.valid.size(), rows.values.data(), rows.values.size() * sizeof(float));
  return bytes;
}

FeatureRows unpack_rows(const pipeline::ChunkStore& chunks, std::uint64_t id, std::size_t n, std::size_t values) {
  const std::optional<std::vector<std::byte>> bytes = chunks.read(id);
  if (!bytes || bytes->size() != n + values * sizeof(float)) {
    throw Error(ErrorCode::kOutput, "{}: the committed part {} is gone or damaged; run the command again",
                chunks.folder().string(), id);
  }
  FeatureRows rows{std::vector<std::uint8_t>(n), std::vector<float>(values)};
  std::memcpy(rows.valid.data(), bytes->data(), n);
  std::memcpy(rows.values.data(), bytes->data() + n, values * sizeof(float));
  return rows;
}

}  // namespace vtissue::stages
