#include "models/cancerfoundation/vocabulary.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"

namespace vtissue::models {

CfVocabulary parse_cf_vocabulary(const nlohmann::json& object) {
  if (!object.is_object()) throw Error(ErrorCode::kModel, "the vocabulary is not a JSON object");
  CfVocabulary vocabulary;
  std::vector<bool> seen(object.size());
  for (const auto& [symbol, id] : object.items()) {
    if (!id.is_number_integer() || id < 0 || id >= object.size() || seen[id.get<std::size_t>()]) {
      throw Error(ErrorCode::kModel, "the vocabulary gives \"{}\" the id {}; expected 0 to {}, each once", symbol,
                  id.dump(), object.size() - 1);
    }
    seen[id.get<std::size_t>()] = true;
    vocabulary[symbol] = id.get<std::int64_t>();
  }
  return vocabulary;
}

}  // namespace vtissue::models
