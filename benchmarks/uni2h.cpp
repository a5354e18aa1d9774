// How fast does UNI2-h embed tiles beside timm?

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "benchmarks/compare.h"
#include "core/error.h"
#include "models/mkl_mode.h"
#include "models/vit/inference.h"

namespace vtissue::benchmarks {
namespace {

Question question(const Options& options) {
  const int depth = options.depth > 0 ? options.depth : 24;
  const models::VitConfig config = models::parse_vit_config({{"architecture", "vit_giant_patch14_224"},
                                                             {"model_args",
                                                              {{"img_size", 224},
                                                               {"patch_size", 14},
                                                               {"depth", depth},
                                                               {"num_heads", 24},
                                                               {"init_values", 0.1},
                                                               {"embed_dim", 1536},
                                                               {"mlp_ratio", 2.66667 * 2},
                                                               {"no_embed_class", true},
                                                               {"mlp_layer", "SwiGLUPacked"},
                                                               {"reg_tokens", 8}}}});
  models::Vit network(config);
  {
    const at::NoGradGuard no_grad;
    for (auto& item : network->named_parameters()) {
      if (item.key().ends_with("gamma")) item.value().fill_(0.1);  // so that every layer can be seen in the result
    }
  }
  at::manual_seed(2);
  const at::Tensor x = at::randn({options.batch, 3, 224, 224});
  return {.network = "uni2h",
          .title = "UNI2-h embedding",
          .unit = "tiles",
          .depth = depth,
          .weights = network.ptr(),
          .inputs = {{"x", x}},
          .prepare = [network, x, batch = options.batch](
                         at::ScalarType dtype, const at::Device& device) mutable -> std::function<at::Tensor()> {
            const auto fast = std::make_shared<models::VitInference>(*network, dtype, device, batch);
            network = nullptr;
            const at::Tensor image = x.to(device);
            return [=] { return fast->forward(image); };
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
    const Options options = parse_options(argc, argv, defaults);
    return compare(question(options), options);
  } catch (const vtissue::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
