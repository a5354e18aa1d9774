#include "stages/synthesize/canvas_synthesis.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "core/error.h"
#include "models/noise.h"
#include "stages/synthesize/window_conditions.h"

namespace vtissue::stages {
namespace {

constexpr std::uint32_t kStartDraw = 0;  // of models::latent_noise
constexpr float kLargestLatent = 65504.0f;

std::vector<std::byte> bytes_of(const std::vector<std::vector<float>*>& arrays) {
  std::vector<std::byte> bytes;
  for (const std::vector<float>* array : arrays) {
    const auto view = std::as_bytes(std::span(*array));
    bytes.insert(bytes.end(), view.begin(), view.end());
  }
  return bytes;
}

/// The numbers of a committed part, which must be `count`.
std::optional<std::vector<float>> floats_of(const pipeline::ChunkStore& store, std::uint64_t id, std::size_t count) {
  const std::optional<std::vector<std::byte>> bytes = store.read(id);
  if (!bytes || bytes->size() != count * sizeof(float)) return std::nullopt;
  std::vector<float> values(count);
  std::memcpy(values.data(), bytes->data(), bytes->size());
  return values;
}

[[noreturn]] void throw_part_gone(const pipeline::ChunkStore& store, std::uint64_t id) {
  throw Error(ErrorCode::kOutput, "{}: the committed part {} is gone or damaged; run the command again",
              store.folder().string(), id);
}

}  // namespace

/// Squares of the canvas on their way through a pass; all arrays [squares, channels, size, size].
struct CanvasSynthesis::Chunk {
  std::vector<Point<Latent>> squares;
  ConditionRows conditions;
  std::vector<float> x, prediction, variance, history, history2;
};

/// Predictions of windows that overlap, blended onto tiles.
class CanvasSynthesis::Blend {
 public:
  Blend(const CanvasSynthesis& synthesis, const Pass& predictions, const pipeline::ChunkStore& store)
      : synthesis_(synthesis),
        pass_(predictions),
        store_(store),
        windows_(synthesis.squares(predictions)),
        weights_(tent_weights(synthesis.layout_.size())) {}

  /// Appends the blended predictions, and the variances where there are any, of the squares of `chunk`.
  void fill(Chunk& chunk) const {
    Parts parts;
    const std::size_t per_square = synthesis_.values();
    const bool with_variance = synthesis_.sampler_.needs_variance();
    for (const Point<Latent> square : chunk.squares) {
      std::vector<double> sum(per_square * (with_variance ? 2 : 1)), weight(static_cast<std::size_t>(size() * size()));
      for (const std::size_t window : around(square)) add(parts, window, square, sum, weight);
      for (std::size_t k = 0; k < sum.size(); ++k) {
        const auto value = static_cast<float>(sum[k] / weight[k % weight.size()]);
        (k < per_square ? chunk.prediction : chunk.variance).push_back(value);
      }
    }
  }

 private:
  using Parts = std::map<std::uint64_t, std::vector<float>>;

  int size() const { return synthesis_.layout_.size(); }

  /// Indices of the windows that meet a tile, in their order.
  std::vector<std::size_t> around(Point<Latent> tile) const {
    const int step = synthesis_.sampler_.evaluations()[static_cast<std::size_t>(pass_.evaluation)].step;
    std::vector<std::size_t> result;
    for (const Point<Latent> window : synthesis_.layout_.windows_over(tile, step)) {
      const auto found = std::ranges::lower_bound(windows_, std::pair(window.y, window.x), {},
                                                  [](Point<Latent> p) { return std::pair(p.y, p.x); });
      result.push_back(static_cast<std::size_t>(found - windows_.begin()));
    }
    return result;
  }

  const std::vector<float>& part(Parts& parts, std::uint64_t index) const {
    const auto found = parts.find(index);
    if (found != parts.end()) return found->second;
    const std::size_t chunk = synthesis_.options_.chunk;
    const std::size_t count = std::min(chunk, pass_.items - static_cast<std::size_t>(index) * chunk);
    const std::size_t planes = synthesis_.sampler_.needs_variance() ? 2 : 1;
    auto values = floats_of(store_, pass_.first + index, count * planes * synthesis_.values());
    if (!values) throw_part_gone(store_, pass_.first + index);
    return parts.emplace(index, *std::move(values)).first->second;
  }

  void add(Parts& parts, std::size_t window, Point<Latent> square, std::vector<double>& sum,
           std::vector<double>& weight) const {
    const std::size_t chunk = synthesis_.options_.chunk;
    const std::vector<float>& values = part(parts, window / chunk);
    const std::size_t per_square = synthesis_.values();
    const std::size_t count = std::min(chunk, pass_.items - window / chunk * chunk);
    const Point<Latent> shift = square - windows_[window];  // of the square in the window
    const int side = size();
    const auto plane = static_cast<std::size_t>(side * side);
    for (int y = std::max<int>(0, static_cast<int>(-shift.y)); y < side && y + shift.y < side; ++y) {
      for (int x = std::max<int>(0, static_cast<int>(-shift.x)); x < side && x + shift.x < side; ++x) {
        const auto here = static_cast<std::size_t>(y * side + x);
        const auto there = static_cast<std::size_t>((y + shift.y) * side + x + shift.x);
        weight[here] += weights_[there];
        for (std::size_t k = 0; k < sum.size() / plane; ++k) {
          // The predictions of all windows of a part come first, then their variances.
          const std::size_t array = k * plane / per_square, channel = k % (per_square / plane);
          const float value = values[(array * count + window % chunk) * per_square + channel * plane + there];
          sum[k * plane + here] += double{weights_[there]} * value;
        }
      }
    }
  }

  const CanvasSynthesis& synthesis_;
  const Pass pass_;
  const pipeline::ChunkStore& store_;
  std::vector<Point<Latent>> windows_;
  std::vector<float> weights_;
};

CanvasSynthesis::CanvasSynthesis(const models::Denoiser& denoiser, const models::Sampler& sampler,
                                 const ConditionSource& conditions, CanvasOptions options)
    : denoiser_(denoiser),
      sampler_(sampler),
      conditions_(conditions),
      options_(std::move(options)),
      layout_(conditions.cells(), denoiser.latent_size(), options_.windows) {
  options_.glass.resize(static_cast<std::size_t>(denoiser.latent_channels()), 0.0f);
  std::uint64_t id = options_.first_part;
  removed_ = id;
  const auto add = [&](Kind kind, int evaluation, std::size_t items) {
    const std::size_t index = passes_.size();
    if (options_.scope) items = options_.scope->squares.at(index).size();
    passes_.push_back({kind, evaluation, items, id, index});
    id += parts(passes_.back());
    if (makes_state(passes_.back())) ++generations_;
  };
  const std::span<const models::Evaluation> evaluations = sampler_.evaluations();
  for (int e = 0; e < static_cast<int>(evaluations.size()); ++e) {
    const int step = evaluations[static_cast<std::size_t>(e)].step;
    const std::size_t windows = layout_.windows(step).size();
    if (!layout_.blended(step)) {
      add(Kind::kStep, e, windows);
      continue;
    }
    add(Kind::kPredict, e, windows);
    add(Kind::kUpdate, e, conditions.cells().size());
  }
}

CanvasSynthesis::~CanvasSynthesis() = default;

std::int64_t CanvasSynthesis::window_evaluations() const {
  std::int64_t count = 0;
  for (const Pass& pass : passes_) {
    if (pass.kind != Kind::kUpdate) count += static_cast<std::int64_t>(pass.items);
  }
  return count;
}

std::uint64_t CanvasSynthesis::part_ids() const { return passes_.back().first + parts(passes_.back()); }

std::size_t CanvasSynthesis::values() const {
  return static_cast<std::size_t>(denoiser_.latent_channels()) * static_cast<std::size_t>(layout_.size()) *
         static_cast<std::size_t>(layout_.size());
}

std::vector<Point<Latent>> CanvasSynthesis::squares(const Pass& pass) const {
  if (options_.scope) return options_.scope->squares[pass.index];
  if (pass.kind != Kind::kUpdate) {
    return layout_.windows(sampler_.evaluations()[static_cast<std::size_t>(pass.evaluation)].step);
  }
  std::vector<Point<Latent>> tiles;
  for (const TileCell cell : conditions_.cells()) tiles.push_back(latent_origin(cell, layout_.size()));
  return tiles;
}

void CanvasSynthesis::run(pipeline::RunContext& ctx) {
  const std::vector<TileCell>& cells = conditions_.cells();
  const int planes = 1 + sampler_.history_planes();
  const int size = layout_.size(), channels = denoiser_.latent_channels();
  // Of memory only the pages count that are written to.
  const std::size_t touched = options_.scope ? options_.scope->tiles : cells.size();
  const bool in_memory = TissueCanvas::bytes(touched, size, channels, planes) <= options_.memory_bytes;
  if (!in_memory) std::filesystem::create_directories(ctx.chunks().folder());
  canvas_ = std::make_unique<TissueCanvas>(cells, size, channels, planes,
                                           in_memory ? std::filesystem::path() : ctx.chunks().folder());

  // The last pass that is whole and from which the state can be taken.
  std::size_t next = 0;
  int generation = 0;
  for (std::size_t p = 0, g = 0; p < passes_.size(); ++p) {
    if (!makes_state(passes_[p])) continue;
    ++g;
    bool whole = true;
    for (std::uint64_t k = 0; whole && k < parts(passes_[p]); ++k) whole = ctx.chunks().has(passes_[p].first + k);
    if (!whole) continue;
    next = p + 1;
    generation = static_cast<int>(g);
  }
  const auto state_is_whole = [&] {
    if (options_.after_state) options_.after_state(generation, *canvas_);
  };
  if (next > 0) {
    load(passes_[next - 1], generation, ctx);
    state_is_whole();
  }
  for (std::size_t p = 0; p < next; ++p) {
    if (passes_[p].kind != Kind::kUpdate) ctx.advance(static_cast<std::int64_t>(passes_[p].items));
  }

  std::optional<std::size_t> previous_state;
  if (next > 0) previous_state = next - 1;
  for (std::size_t p = next; p < passes_.size(); ++p) {
    const Pass& pass = passes_[p];
    if (makes_state(pass)) load(pass, generation + 1, ctx);
    run_pass(pass, generation, pass.kind == Kind::kUpdate ? &passes_[p - 1] : nullptr, ctx);
    if (!makes_state(pass)) continue;
    ++generation;
    state_is_whole();
    if (previous_state) remove_before(passes_[*previous_state], ctx);
    previous_state = p;
  }
}

void CanvasSynthesis::run_pass(const Pass& pass, int generation, const Pass* predictions, pipeline::RunContext& ctx) {
  const std::vector<Point<Latent>> all = squares(pass);
  std::optional<Blend> blend;
  if (predictions != nullptr) blend.emplace(*this, *predictions, ctx.chunks());
  const auto part = [&](std::uint64_t id) {
    const std::size_t first = static_cast<std::size_t>(id - pass.first) * options_.chunk;
    return std::span(all).subspan(first, std::min(options_.chunk, all.size() - first));
  };
  const models::Evaluation& evaluation = sampler_.evaluations()[static_cast<std::size_t>(pass.evaluation)];
  pipeline::for_each_chunk<Chunk>(
      ctx, {pass.first, parts(pass)},
      [&](std::uint64_t id) {
        Chunk chunk = gather(part(id), pass, generation);
        if (blend) {
          blend->fill(chunk);
        } else {
          chunk.conditions = options_.exact ? options_.exact->read(conditions_, chunk.squares)
                                            : window_conditions(conditions_, *canvas_, chunk.squares);
        }
        return chunk;
      },
      [&](std::uint64_t, Chunk& chunk) {
        if (blend) return;
        const auto prepared = denoiser_.prepare(static_cast<int>(chunk.squares.size()), chunk.conditions.view());
        chunk.prediction.resize(chunk.x.size());
        if (sampler_.needs_variance()) chunk.variance.resize(chunk.x.size());
        denoiser_.predict_prepared(chunk.x, evaluation.t, *prepared, options_.guidance, chunk.prediction,
                                   chunk.variance);
      },
      [&](std::uint64_t, Chunk& chunk) {
        if (pass.kind == Kind::kPredict) return bytes_of({&chunk.prediction, &chunk.variance});
        update(chunk, pass, generation);
        return bytes_of({&chunk.x, &chunk.history, &chunk.history2});
      },
      [&](std::uint64_t id) { return blend ? 0 : static_cast<std::int64_t>(part(id).size()); });
}

CanvasSynthesis::Chunk CanvasSynthesis::gather(std::span<const Point<Latent>> squares, const Pass& pass,
                                               int generation) const {
  Chunk chunk;
  chunk.squares.assign(squares.begin(), squares.end());
  chunk.x.resize(squares.size() * values());
  const models::NoiseLevel level = sampler_.level(pass.evaluation);
  const std::int64_t size = layout_.size();
  const std::size_t plane = values() / options_.glass.size();
  std::vector<float> start(generation == 0 ? values() : 0);
  for (std::size_t i = 0; i < squares.size(); ++i) {
    const auto x = std::span(chunk.x).subspan(i * values(), values());
    const Box<Latent> box{squares[i], {size, size}};
    if (generation == 0 || !canvas_->covers(squares[i])) {
      models::latent_noise(options_.seed, kStartDraw, box, denoiser_.latent_channels(), x);
      if (generation == 0) std::ranges::copy(x, start.begin());
      for (std::size_t k = 0; k < x.size(); ++k) x[k] = level.signal * options_.glass[k / plane] + level.noise * x[k];
    }
    if (generation != 0) {
      canvas_->read(generation % 2, 0, squares[i], x);
      continue;
    }
    // Nothing is on the canvas yet: the tissue begins as noise.
    for (const TissueCanvas::Overlap& overlap : canvas_->overlaps(squares[i])) {
      for (std::size_t channel = 0; channel < options_.glass.size(); ++channel) {
        for (int y = overlap.y0; y < overlap.y1; ++y) {
          const std::size_t from = channel * plane + static_cast<std::size_t>(y * size + overlap.x0);
          std::copy_n(start.begin() + static_cast<std::ptrdiff_t>(from), overlap.x1 - overlap.x0,
                      x.begin() + static_cast<std::ptrdiff_t>(from));
        }
      }
    }
  }
  return chunk;
}

void CanvasSynthesis::update(Chunk& chunk, const Pass& pass, int generation) {
  const std::int64_t size = layout_.size();
  const std::size_t n = chunk.squares.size();
  const auto history = [&](int plane, std::vector<float>& values_of) {
    if (sampler_.history_planes() < plane) return;
    values_of.resize(chunk.x.size());
    for (std::size_t i = 0; generation > 0 && i < n; ++i) {
      canvas_->read(generation % 2, plane, chunk.squares[i], std::span(values_of).subspan(i * values(), values()));
    }
  };
  history(1, chunk.history);
  history(2, chunk.history2);
  const models::Evaluation& evaluation = sampler_.evaluations()[static_cast<std::size_t>(pass.evaluation)];
  std::vector<float> noise(evaluation.draw != 0 ? chunk.x.size() : 0);
  for (std::size_t i = 0; evaluation.draw != 0 && i < n; ++i) {
    models::latent_noise(options_.seed, evaluation.draw, {chunk.squares[i], {size, size}}, denoiser_.latent_channels(),
                         std::span(noise).subspan(i * values(), values()));
  }
  sampler_.update(pass.evaluation, {.x = chunk.x,
                                    .prediction = chunk.prediction,
                                    .history = chunk.history,
                                    .history2 = chunk.history2,
                                    .noise = noise,
                                    .variance = chunk.variance});
  if (generation + 1 == generations_) require_latents(chunk);
  for (std::size_t i = 0; i < n; ++i) {
    const std::vector<float>* planes[] = {&chunk.x, &chunk.history, &chunk.history2};
    for (int plane = 0; plane <= sampler_.history_planes(); ++plane) {
      canvas_->write((generation + 1) % 2, plane, chunk.squares[i],
                     std::span(*planes[plane]).subspan(i * values(), values()));
    }
  }
}

void CanvasSynthesis::load(const Pass& pass, int generation, pipeline::RunContext& ctx) {
  const std::vector<Point<Latent>> all = squares(pass);
  const auto planes = static_cast<std::size_t>(1 + sampler_.history_planes());
  for (std::uint64_t k = 0; k < parts(pass); ++k) {
    const std::uint64_t id = pass.first + k;
    if (!ctx.chunks().has(id)) continue;
    const std::size_t first = static_cast<std::size_t>(k) * options_.chunk;
    const std::size_t n = std::min(options_.chunk, all.size() - first);
    const auto part = floats_of(ctx.chunks(), id, planes * n * values());
    if (!part) throw_part_gone(ctx.chunks(), id);
    for (std::size_t plane = 0; plane < planes; ++plane) {
      for (std::size_t i = 0; i < n; ++i) {
        canvas_->write(generation % 2, static_cast<int>(plane), all[first + i],
                       std::span(*part).subspan((plane * n + i) * values(), values()));
      }
    }
  }
}

void CanvasSynthesis::remove_before(const Pass& pass, pipeline::RunContext& ctx) {
  ctx.chunks().remove(removed_, pass.first);
  removed_ = pass.first;
}

void CanvasSynthesis::require_latents(const Chunk& chunk) const {
  for (std::size_t k = 0; k < chunk.x.size(); ++k) {
    if (std::abs(chunk.x[k]) <= kLargestLatent) continue;  // also false for NaN
    const Point<Latent> at = chunk.squares[k / values()];
    throw Error(ErrorCode::kModel,
                "window at latent ({}, {}): {} gave {}, which no latent can be; lower the guidance or try dtype f32",
                at.x, at.y, denoiser_.info().name, chunk.x[k]);
  }
}

void CanvasSynthesis::read(std::size_t tile, std::span<float> out) const {
  canvas_->read(generations_ % 2, 0, latent_origin(conditions_.cells()[tile], layout_.size()), out);
}

}  // namespace vtissue::stages
