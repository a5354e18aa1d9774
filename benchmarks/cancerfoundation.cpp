// How fast does CancerFoundation embed spots of 1,199 genes beside torch's encoder layers, which the published code
// uses?

#include <cmath>
#include <cstdio>

#include "benchmarks/compare.h"
#include "core/error.h"
#include "models/cancerfoundation/inference.h"
#include "models/mkl_mode.h"

namespace vtissue::benchmarks {
namespace {

constexpr std::int64_t kLength = 1200;
constexpr int kBins = 51;

Question question(const Options& options) {
  models::CancerFoundationConfig config;
  if (options.depth > 0) config.layers = options.depth;
  models::CancerFoundation network(config);
  network->eval();
  std::vector<std::int64_t> ids(static_cast<std::size_t>(kLength));
  for (std::int64_t i = 1; i < kLength; ++i) ids[static_cast<std::size_t>(i)] = 2 + i;
  at::manual_seed(2);
  at::Tensor values = at::randint(0, kBins, {options.batch, kLength}).to(at::kFloat);
  values.select(1, 0).fill_(-2);
  return {.network = "cancerfoundation",
          .title = "CancerFoundation, 1,200 tokens",
          .unit = "spots",
          .depth = config.layers,
          .weights = network.ptr(),
          .inputs = {{"ids", at::tensor(ids, at::kLong).unsqueeze(0).repeat({options.batch, 1})},
                     {"values", values},
                     {"size.genes", at::tensor(config.vocabulary, at::kLong)}},
          .prepare = [=](at::ScalarType dtype, const at::Device& device) mutable -> std::function<at::Tensor()> {
            const auto fast =
                std::make_shared<models::CancerFoundationInference>(*network, ids, kBins, dtype, device, options.batch);
            const at::Tensor given = values.to(device);
            return [=] { return fast->forward(given, /*with_tokens=*/false).cls; };
          }};
}

}  // namespace
}  // namespace vtissue::benchmarks

int main(int argc, char** argv) {
  using namespace vtissue::benchmarks;
  vtissue::models::restart_with_library_settings(argv);
  try {
    Options defaults;
    defaults.batch = 4;
    defaults.dtype = "f32";
    const Options options = parse_options(argc, argv, defaults);
    return compare(question(options), options);
  } catch (const vtissue::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
