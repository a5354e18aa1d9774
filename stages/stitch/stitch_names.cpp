#include "stages/stitch/stitch_names.h"

#include <algorithm>
#include <stdexcept>

namespace vtissue::stages {
namespace {

template <typename Value>
std::string_view word_for(const std::vector<std::pair<std::string_view, Value>>& words, Value value) {
  const auto found = std::ranges::find_if(words, [&](const auto& word) { return word.second == value; });
  if (found == words.end()) throw std::logic_error("a pyramid option without a name");
  return found->first;
}

}  // namespace

std::vector<std::pair<std::string_view, io::PyramidProfile>> pyramid_profiles() {
  using io::PyramidProfile;
  return {{"svs", PyramidProfile::kSvs}, {"generic", PyramidProfile::kGeneric}, {"ome", PyramidProfile::kOme}};
}

std::vector<std::pair<std::string_view, io::PyramidCodec>> pyramid_codecs() {
  using io::PyramidCodec;
  return {{"jpeg", PyramidCodec::kJpeg},
          {"jpeg2000", PyramidCodec::kJpeg2000},
          {"lzw", PyramidCodec::kLzw},
          {"deflate", PyramidCodec::kDeflate},
          {"zstd", PyramidCodec::kZstd}};
}

std::vector<std::pair<std::string_view, io::ChromaSampling>> chroma_samplings() {
  return {{"4:4:4", io::ChromaSampling::k444}, {"4:2:0", io::ChromaSampling::k420}};
}

std::string_view name_of(io::PyramidProfile profile) { return word_for(pyramid_profiles(), profile); }
std::string_view name_of(io::PyramidCodec codec) { return word_for(pyramid_codecs(), codec); }
std::string_view name_of(io::ChromaSampling sampling) { return word_for(chroma_samplings(), sampling); }

}  // namespace vtissue::stages
