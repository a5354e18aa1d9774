// How fast is a forward pass of the PixCell transformer beside diffusers'?

#include <cmath>
#include <cstdio>

#include "benchmarks/compare.h"
#include "core/error.h"
#include "models/mkl_mode.h"
#include "models/stmdit/inference.h"

namespace vtissue::benchmarks {
namespace {

Question question(const Options& options) {
  models::StmditConfig config;
  const bool xl = options.size == "xl";
  config.dim = xl ? 1152 : 768;
  config.heads = xl ? 16 : 12;
  config.depth = options.depth > 0 ? options.depth : xl ? 28 : 12;
  models::Stmdit network(config);
  network->initialize(1);
  const at::NoGradGuard no_grad;
  at::manual_seed(2);
  for (const at::Tensor& p : network->parameters())
    p.add_(at::randn_like(p), 0.3 / std::sqrt(static_cast<double>(config.dim)));
  const at::Tensor x = at::randn({options.batch, 16, 32, 32}), y = at::randn({options.batch, 1, 1536});
  const at::Tensor t = at::full({options.batch}, 500, at::kLong);
  return {.network = "pixcell",
          .title = xl ? "PixCell-256 (XL/2) forward" : "PixCell-B forward",
          .unit = "forwards",
          .depth = config.depth,
          .weights = network.ptr(),
          .inputs = {{"x", x},
                     {"y", y},
                     {"t", t},
                     {"size.dim", at::tensor(config.dim, at::kLong)},
                     {"size.heads", at::tensor(config.heads, at::kLong)}},
          .prepare = [=](at::ScalarType dtype, const at::Device& device) mutable -> std::function<at::Tensor()> {
            const auto fast = std::make_shared<models::StmditInference>(*network, dtype, device, options.batch);
            const models::StmditInput input{
                .x = x.to(device), .t = t.to(device, at::kFloat), .morphology = y.to(device)};
            return [=] { return fast->forward(input); };
          }};
}

}  // namespace
}  // namespace vtissue::benchmarks

int main(int argc, char** argv) {
  using namespace vtissue::benchmarks;
  vtissue::models::restart_with_library_settings(argv);
  try {
    const Options options = parse_options(argc, argv, {});
    return compare(question(options), options);
  } catch (const vtissue::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
