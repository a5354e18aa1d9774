// How fast does SD3's autoencoder decode tiles beside diffusers'?

#include <cmath>
#include <cstdio>

#include "benchmarks/compare.h"
#include "core/error.h"
#include "models/autoencoder_kl/inference.h"
#include "models/mkl_mode.h"

namespace vtissue::benchmarks {
namespace {

constexpr int kLatent = 32;  // of a tile of 256 px

/// The network as people run it on a GPU, or our form for a processor.
std::function<at::Tensor()> prepare_decoder(models::AutoencoderKl& network, const at::Tensor& z, at::ScalarType dtype,
                                            const at::Device& device) {
  const models::AutoencoderKlConfig config = network->config();
  if (device.is_cpu()) {
    const auto fast = std::make_shared<models::AutoencoderKlInference>(*network, dtype);
    network = nullptr;
    return [=] { return fast->decode(config.from_model(z)); };
  }
  network->to(device, dtype);
  const at::Tensor given = z.to(device);
  return [=]() mutable {
    return network->decode(config.from_model(given).to(dtype).contiguous(at::MemoryFormat::ChannelsLast));
  };
}

Question question(const Options& options) {
  models::AutoencoderKl network{models::AutoencoderKlConfig{}};
  network->eval();
  at::manual_seed(2);
  const at::Tensor z = at::randn({options.batch, network->config().latent_channels, kLatent, kLatent});
  return {.network = "sd3_vae",
          .title = "SD3 VAE, decoding tiles of 256 px",
          .unit = "tiles",
          .weights = network.ptr(),
          .inputs = {{"z", z}},
          .prepare = [network, z](at::ScalarType dtype, const at::Device& device) mutable {
            return prepare_decoder(network, z, dtype, device);
          }};
}

}  // namespace
}  // namespace vtissue::benchmarks

int main(int argc, char** argv) {
  using namespace vtissue::benchmarks;
  vtissue::models::restart_with_library_settings(argv);
  try {
    Options defaults;
    defaults.batch = 1;
    const Options options = parse_options(argc, argv, defaults);
    return compare(question(options), options);
  } catch (const vtissue::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
