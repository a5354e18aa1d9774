#include "pipeline/stage.h"

#include <algorithm>

#include "core/error.h"
#include "pipeline/shard.h"

namespace vtissue::pipeline {

Estimate Stage::estimate_shard(const Bindings& available_inputs, Shard shard) const {
  Estimate estimate = this->estimate(available_inputs);
  if (!estimate.chunks) return {};
  const auto all = static_cast<double>(std::max<std::int64_t>(*estimate.chunks, 1));
  const auto own = static_cast<std::int64_t>(share_of(static_cast<std::uint64_t>(*estimate.chunks), shard).count);
  const double part = static_cast<double>(own) / all;
  estimate.chunks = own;
  if (estimate.seconds) *estimate.seconds *= part;
  if (estimate.disk_bytes)
    *estimate.disk_bytes = static_cast<std::int64_t>(static_cast<double>(*estimate.disk_bytes) * part);
  estimate.note = fmt::format("shard {} of {}", to_string(shard), estimate.note);
  return estimate;
}

}  // namespace vtissue::pipeline
