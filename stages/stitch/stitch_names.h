#pragma once

#include <string_view>
#include <vector>

#include "io/pyramid_writer.h"

namespace vtissue::stages {

/// The words of the configuration for what a virtual slide can be written as: in its order, the first the default.
std::vector<std::pair<std::string_view, io::PyramidProfile>> pyramid_profiles();
std::vector<std::pair<std::string_view, io::PyramidCodec>> pyramid_codecs();
std::vector<std::pair<std::string_view, io::ChromaSampling>> chroma_samplings();

std::string_view name_of(io::PyramidProfile profile);
std::string_view name_of(io::PyramidCodec codec);
std::string_view name_of(io::ChromaSampling sampling);

}  // namespace vtissue::stages
