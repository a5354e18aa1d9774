#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "core/error.h"
#include "models/cancerfoundation/binning.h"
#include "models/cancerfoundation/inference.h"
#include "models/cancerfoundation/vocabulary.h"
#include "models/engine_support.h"
#include "models/engines.h"
#include "models/json_value.h"
#include "models/model_folder.h"
#include "models/null_engines.h"

namespace vtissue::models {
namespace {

constexpr std::string_view kVocabFile = "vocab.json";
constexpr int kMinBins = 3;

nlohmann::json read_vocabulary(const ModelFolder& folder) {
  if (folder.config().contains("vocab")) return json_object(folder.config(), "vocab");
  const std::filesystem::path path = folder.file(kVocabFile);
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw Error(ErrorCode::kModel, "{}: no \"vocab\" in config.json and no {} beside it", folder.path().string(),
                kVocabFile);
  }
  try {
    return nlohmann::json::parse(in);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::kModel, "{}: not valid JSON: {}", path.string(), error.what());
  }
}

class CancerFoundationEncoder final : public GeneEncoder {
 public:
  CancerFoundationEncoder(const ModelFolder& folder, std::shared_ptr<Device> device)
      : info_(folder.info()), device_(std::move(device)) {
    const CfVocabulary vocabulary = parse_cf_vocabulary(read_vocabulary(folder));
    folder.read_config([&](const nlohmann::json& config) {
      config_ = parse_cancerfoundation_config(config, static_cast<int>(vocabulary.size()));
      config_.pad_id = static_cast<int>(id_of(vocabulary, "<pad>"));
      bins_ = json_int(config, config.contains("bins") ? "bins" : "n_bins", kMinBins, 1 << 16, 51);
      genes_ = json_value<std::vector<std::string>>(config, "genes");
      const int longest = json_int(config, "max_seq_len", 2, 1 << 20, 1200);
      if (genes_.empty() || static_cast<int>(genes_.size()) >= longest) {
        throw Error(ErrorCode::kModel, "config: \"genes\" has {} symbols; expected 1 to {}", genes_.size(),
                    longest - 1);
      }
      if (std::set<std::string>(genes_.begin(), genes_.end()).size() != genes_.size()) {
        throw Error(ErrorCode::kModel, "config: \"genes\" names a symbol twice");
      }
      ids_.push_back(id_of(vocabulary, "<cls>"));
      for (const std::string& gene : genes_) ids_.push_back(id_of(vocabulary, gene));
    });
    device_->run([&] {
      CancerFoundation network(config_);
      const StateDict weights = folder.weights();
      models::load(*network, weights, cancerfoundation_load_rules(weights));
      network_.emplace(*network, ids_, bins_, scalar_type(*device_), torch::Device(device_->name()), info_.micro_batch);
    });
  }

  const ModelInfo& info() const override { return info_; }
  const std::vector<std::string>& genes() const override { return genes_; }
  int dim() const override { return config_.dim; }

  void encode(std::span<const float> values, int n, std::span<float> cls, std::span<float> tokens) const override {
    const std::size_t genes = genes_.size();
    const std::size_t length = genes + 1;
    const auto rows = static_cast<std::size_t>(n);
    const auto dim = static_cast<std::size_t>(config_.dim);
    check_size("expression", values.size(), rows * genes);
    check_size("gene embeddings", cls.size(), rows * dim);
    if (!tokens.empty()) check_size("gene tokens", tokens.size(), rows * genes * dim);
    std::vector<float> batch(static_cast<std::size_t>(info_.micro_batch) * length);
    for_micro_batches(n, info_.micro_batch, [&](int first, int count) {
      for (int i = 0; i < count; ++i) {
        const std::span<float> row = std::span(batch).subspan(static_cast<std::size_t>(i) * length, length);
        row[0] = kCfClassValue;
        bin_row(values, first + i, row.subspan(1));
      }
      device_->run([&] {
        const auto width = static_cast<std::int64_t>(length);
        const auto hidden =
            network_->forward(to_device(batch.data(), {info_.micro_batch, width}, *device_), !tokens.empty());
        require_finite(hidden.cls, info_.name, "gene embeddings");
        if (!tokens.empty()) require_finite(hidden.tokens, info_.name, "gene tokens");
        const auto part = [&](std::span<float> out, std::size_t size) {
          return out.subspan(static_cast<std::size_t>(first) * size, static_cast<std::size_t>(count) * size);
        };
        copy_to_host(hidden.cls, part(cls, dim));
        if (!tokens.empty()) copy_to_host(hidden.tokens.slice(1, 1), part(tokens, genes * dim));
      });
    });
  }

 private:
  static std::int64_t id_of(const CfVocabulary& vocabulary, const std::string& symbol) {
    const auto it = vocabulary.find(symbol);
    if (it == vocabulary.end()) throw Error(ErrorCode::kModel, "the vocabulary has no \"{}\"", symbol);
    return it->second;
  }

  void bin_row(std::span<const float> values, int row, std::span<float> out) const {
    try {
      bin_expression(values.subspan(static_cast<std::size_t>(row) * genes_.size(), genes_.size()), bins_, out);
    } catch (Error& error) {
      error.add("row {}", row);
      throw;
    }
  }

  ModelInfo info_;
  CancerFoundationConfig config_;
  int bins_ = 0;
  std::vector<std::string> genes_;
  std::vector<std::int64_t> ids_;  ///< <cls>, then the genes
  std::shared_ptr<Device> device_;
  std::optional<CancerFoundationInference> network_;  // used on the device's thread only
};

}  // namespace

std::shared_ptr<GeneEncoder> GeneEncoder::load(const std::filesystem::path& folder, std::shared_ptr<Device> device,
                                               const LoadOptions& options) {
  if (ModelFolder::is_null(folder)) return make_null_gene_encoder();
  return std::make_shared<CancerFoundationEncoder>(
      ModelFolder::open(folder, {"cancerfoundation"}, {kVocabFile}, options), std::move(device));
}

}  // namespace vtissue::models
