# Warnings and sanitizers, on an interface target that every target of ours links privately.
add_library(vtissue_options INTERFACE)
target_compile_options(vtissue_options INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wno-missing-field-initializers)
# GCC 12 sees overlaps in std::string's operator+ that are not there (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(vtissue_options INTERFACE -Wno-restrict)
endif()
# In a group, GCC takes an unnamed namespace for one of a header.
if(VTISSUE_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  target_compile_options(vtissue_options INTERFACE -Wno-subobject-linkage)
endif()
if(VTISSUE_WERROR)
  target_compile_options(vtissue_options INTERFACE -Werror)
endif()
if(VTISSUE_SANITIZE)
  add_compile_options(-fsanitize=${VTISSUE_SANITIZE} -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${VTISSUE_SANITIZE})
endif()
if(VTISSUE_FUZZ)
  add_compile_options(-fno-sanitize-recover=all)  # a finding ends the run
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # The sloppiness is what a precompiled header needs; without it nothing of models/ would hit.
  # Paths relative to the tree: every checkout and work tree shares what one has compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE_PROGRAM})
  add_compile_options(-fpch-preprocess)
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()
