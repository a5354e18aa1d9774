# Writes registry_data.h: the files of configs/models as texts, so that the program knows the published models wherever
# it is installed.
file(GLOB registry_files CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/configs/models/*.yaml")
set(registry_text "#pragma once\n\n#include <array>\n#include <string_view>\n#include <utility>\n\nnamespace vtissue::cli {\n\n")
list(LENGTH registry_files registry_count)
string(APPEND registry_text "inline constexpr std::array<std::pair<std::string_view, std::string_view>, ${registry_count}> kRegistryFiles = {{\n")
foreach(registry_file IN LISTS registry_files)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${registry_file}")
  get_filename_component(registry_name "${registry_file}" NAME_WE)
  file(READ "${registry_file}" registry_content)
  string(APPEND registry_text "    {\"${registry_name}\", R\"yaml(${registry_content})yaml\"},\n")
endforeach()
string(APPEND registry_text "}};\n\n}  // namespace vtissue::cli\n")
file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/generated/cli/registry_data.h" CONTENT "${registry_text}" @ONLY)
