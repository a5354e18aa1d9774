#include "cli/model_pairing.h"

#include "core/error.h"
#include "stages/encode/gene_matching.h"

namespace vtissue::cli {

namespace {

/// `user` was trained with the encoder `wanted` ("": not stated) and takes `dim` values of it.
void require_encoder(std::string_view key, const models::ModelInfo& encoder, int encoder_dim, std::string_view user_key,
                     const models::ModelInfo& user, int dim, const std::string& wanted) {
  if (encoder_dim != dim) {
    throw Error(ErrorCode::kModel,
                "{} ({}) gives {} values a tile, but {} ({}) takes {}; set {} to the encoder that it was "
                "trained with",
                key, encoder.name, encoder_dim, user_key, user.name, dim, key);
  }
  if (!wanted.empty() && encoder.sha256 != wanted) {
    throw Error(ErrorCode::kModel,
                "{} ({}) has the digest {}, but {} ({}) was trained with the encoder {}; set {} to "
                "that one",
                key, encoder.name, encoder.sha256, user_key, user.name, wanted, key);
  }
}

void require_latents(const pipeline::Config& config, const models::Denoiser& denoiser,
                     const models::Autoencoder& autoencoder) {
  if (denoiser.latent_channels() != autoencoder.latent_channels()) {
    throw Error(ErrorCode::kModel,
                "models.autoencoder ({}) decodes {} latent channels, but models.stmdit ({}) makes {}; "
                "use the autoencoder that the denoiser was trained with",
                autoencoder.info().name, autoencoder.latent_channels(), denoiser.info().name,
                denoiser.latent_channels());
  }
  const int tile_px = config.get<int>("tile.size_px");
  if (denoiser.latent_size() * autoencoder.factor() != tile_px) {
    throw Error(ErrorCode::kModel,
                "models.stmdit ({}) makes {} x {} latents, which models.autoencoder ({}) turns into {} "
                "px, but tile.size_px is {}; use models that fit each other and the tile size",
                denoiser.info().name, denoiser.latent_size(), denoiser.latent_size(), autoencoder.info().name,
                denoiser.latent_size() * autoencoder.factor(), tile_px);
  }
}

void require_genes(const pipeline::Config& config, const models::ExpressionPredictor& predictor,
                   const models::GeneEncoder& encoder) {
  const stages::GeneMatch match = stages::match_genes(encoder.genes(), predictor.genes());
  const double minimum = config.get<double>("encode.min_matched_genes");
  if (match.fraction() < minimum) {
    throw Error(ErrorCode::kModel,
                "models.predictor ({}) predicts {} of the {} genes that models.expression ({}) reads "
                "({:.0f} %), encode.min_matched_genes is {:.0f} %; use a predictor of these genes",
                predictor.info().name, match.matched, match.wanted, encoder.info().name, 100 * match.fraction(),
                100 * minimum);
  }
}

}  // namespace

void require_models_fit(const pipeline::Config& config, Engines& engines, bool predicted) {
  const auto encoder = engines.encoder();
  const auto genes = engines.gene_encoder();
  const auto denoiser = engines.denoiser();
  require_encoder("models.encoder", encoder->info(), encoder->dim(), "models.stmdit", denoiser->info(),
                  denoiser->morphology_dim(), denoiser->morphology_sha256());
  if (denoiser->gene_dim() > 0) {
    require_encoder("models.expression", genes->info(), genes->dim(), "models.stmdit", denoiser->info(),
                    denoiser->gene_dim(), denoiser->gene_sha256());
    const auto vectors = static_cast<int>(genes->genes().size()) + 1;  // cls and a token a gene
    if (denoiser->gene_vectors() > 1 && denoiser->gene_vectors() != vectors) {
      throw Error(ErrorCode::kModel,
                  "models.expression ({}) gives {} vectors a tile, but models.stmdit ({}) takes {}; "
                  "use the gene encoder that the denoiser was trained with",
                  genes->info().name, vectors, denoiser->info().name, denoiser->gene_vectors());
    }
  }
  require_latents(config, *denoiser, *engines.autoencoder());
  if (!predicted) return;
  const auto predictor = engines.predictor();
  const auto own = engines.predictor_encoder();
  const char* key = config.has("models.predictor_encoder") ? "models.predictor_encoder" : "models.encoder";
  require_encoder(key, own->info(), own->dim(), "models.predictor", predictor->info(), predictor->feature_dim(),
                  predictor->encoder_sha256());
  require_genes(config, *predictor, *genes);
}

}  // namespace vtissue::cli
