# LibTorch as imported targets, without the wheel's own package file, which demands the CUDA toolkit.
#
#   LIBTORCH_ROOT   a folder with include/ and lib/ (cache variable or environment); by default the
#                   pinned wheel in the cache folder that tools/get-libtorch.sh fills.
#
# Defines LibTorch::LibTorch and LIBTORCH_VERSION.
set(_libtorch_cache "$ENV{VTISSUE_CACHE}")
if(NOT _libtorch_cache)
  set(_libtorch_cache "$ENV{HOME}/.cache/vtissue")
endif()
set(LIBTORCH_ROOT "$ENV{LIBTORCH_ROOT}" CACHE PATH "LibTorch 2.x: folder with include/ and lib/")
if(LIBTORCH_ROOT)
  set(_libtorch_root "${LIBTORCH_ROOT}")
else()
  set(_libtorch_root "${_libtorch_cache}/libtorch-2.11.0/torch")
endif()

find_path(LIBTORCH_INCLUDE_DIR torch/script.h PATHS "${_libtorch_root}/include" NO_DEFAULT_PATH)
find_library(LIBTORCH_CPU_LIBRARY torch_cpu PATHS "${_libtorch_root}/lib" NO_DEFAULT_PATH)
find_library(LIBTORCH_C10_LIBRARY c10 PATHS "${_libtorch_root}/lib" NO_DEFAULT_PATH)
find_library(LIBTORCH_CUDA_LIBRARY torch_cuda PATHS "${_libtorch_root}/lib" NO_DEFAULT_PATH)
find_library(LIBTORCH_C10_CUDA_LIBRARY c10_cuda PATHS "${_libtorch_root}/lib" NO_DEFAULT_PATH)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LIBTORCH_CPU_LIBRARY LIBTORCH_C10_LIBRARY LIBTORCH_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run tools/get-libtorch.sh, or set LIBTORCH_ROOT")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::c10 SHARED IMPORTED)
  set_target_properties(LibTorch::c10 PROPERTIES IMPORTED_LOCATION "${LIBTORCH_C10_LIBRARY}")
  add_library(LibTorch::LibTorch SHARED IMPORTED)
  set_target_properties(LibTorch::LibTorch PROPERTIES
    IMPORTED_LOCATION "${LIBTORCH_CPU_LIBRARY}"
    INTERFACE_LINK_LIBRARIES LibTorch::c10)
  # After the system's folders: the wheel carries a newer fmt, which must not hide the one spdlog is built with.
  target_compile_options(LibTorch::LibTorch INTERFACE
    "SHELL:-idirafter ${LIBTORCH_INCLUDE_DIR}" "SHELL:-idirafter ${LIBTORCH_INCLUDE_DIR}/torch/csrc/api/include")
  # A CUDA build of LibTorch registers its kernels when the library is loaded, so it must be linked even
  # though no symbol of it is used. The CPU machine's wheel has the file too, but not what it needs.
  option(VTISSUE_CUDA "Link LibTorch's CUDA libraries" OFF)
  if(VTISSUE_CUDA AND LIBTORCH_CUDA_LIBRARY)
    target_link_options(LibTorch::LibTorch INTERFACE "-Wl,--no-as-needed"
      "${LIBTORCH_CUDA_LIBRARY}" "${LIBTORCH_C10_CUDA_LIBRARY}" "-Wl,--as-needed")
  endif()
  # Since 2.9 the numbers are in headeronly/; before, in the C++ API's version.h.
  foreach(_header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
    if(EXISTS "${LIBTORCH_INCLUDE_DIR}/${_header}" AND NOT LIBTORCH_VERSION)
      file(STRINGS "${LIBTORCH_INCLUDE_DIR}/${_header}" _version REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
      string(REGEX REPLACE "[^0-9]*([0-9]+)" "\\1." LIBTORCH_VERSION "${_version}")
      string(REGEX REPLACE "\\.[^0-9]*$" "" LIBTORCH_VERSION "${LIBTORCH_VERSION}")
    endif()
  endforeach()
endif()
mark_as_advanced(LIBTORCH_INCLUDE_DIR LIBTORCH_CPU_LIBRARY LIBTORCH_C10_LIBRARY LIBTORCH_CUDA_LIBRARY LIBTORCH_C10_CUDA_LIBRARY)
