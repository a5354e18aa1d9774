# The loops of models/kernels, each compiled for its instruction set and chosen when the program runs.
set(_kernels "${PROJECT_SOURCE_DIR}/models/kernels")
set(_kernel_options -O3 -fopenmp-simd)
set(_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma)
# A convolution's sums are of fused products and sums.
set(_conv_options ${_kernel_options} -ffp-contract=fast)
set_source_files_properties("${_kernels}/rows_default.cpp" PROPERTIES COMPILE_OPTIONS "${_kernel_options}")
set_source_files_properties("${_kernels}/conv_default.cpp" PROPERTIES COMPILE_OPTIONS "${_conv_options}")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties("${_kernels}/rows_avx2.cpp" PROPERTIES COMPILE_OPTIONS "${_kernel_options};-mavx2;-mfma")
  set_source_files_properties("${_kernels}/rows_avx512.cpp" PROPERTIES COMPILE_OPTIONS "${_kernel_options};${_avx512}")
  set_source_files_properties("${_kernels}/conv_avx2.cpp" PROPERTIES COMPILE_OPTIONS "${_conv_options};-mavx2;-mfma")
  set_source_files_properties("${_kernels}/conv_avx512.cpp" PROPERTIES COMPILE_OPTIONS "${_conv_options};${_avx512}")
  # GCC 12 warns about its own intrinsics' deliberately undefined registers.
  set(_avx512bf16 ${_avx512} -mavx512bf16 -Wno-uninitialized -Wno-maybe-uninitialized)
  set_source_files_properties("${_kernels}/attention_avx512.cpp" PROPERTIES COMPILE_OPTIONS "${_kernel_options};${_avx512bf16}")
  set_source_files_properties("${_kernels}/conv_avx512bf16.cpp" PROPERTIES COMPILE_OPTIONS "${_conv_options};${_avx512bf16}")
else()
  get_target_property(_sources vtissue_models SOURCES)
  list(FILTER _sources EXCLUDE REGEX "/kernels/[a-z]+_avx[0-9a-z]+\\.cpp$")
  set_target_properties(vtissue_models PROPERTIES SOURCES "${_sources}")
endif()
# at::parallel_for is parallel only where it is compiled with OpenMP, whose library is LibTorch's: two would be two teams.
set_source_files_properties("${PROJECT_SOURCE_DIR}/models/parallel.cpp" PROPERTIES
  COMPILE_OPTIONS -fopenmp SKIP_PRECOMPILE_HEADERS ON SKIP_UNITY_BUILD_INCLUSION ON)
get_filename_component(_libtorch_lib "${LIBTORCH_CPU_LIBRARY}" DIRECTORY)
file(GLOB _openmp "${_libtorch_lib}/libgomp*.so*")
if(NOT _openmp)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  set(_openmp ${OpenMP_CXX_LIBRARIES})
endif()
target_link_libraries(vtissue_models PRIVATE ${_openmp})

foreach(_source rows_default rows_avx2 rows_avx512 attention_avx512 conv_default conv_avx2 conv_avx512 conv_avx512bf16)
  # Alone and without LibTorch: an inline function compiled for AVX-512 must not become everybody's.
  set_source_files_properties("${_kernels}/${_source}.cpp" PROPERTIES
    SKIP_PRECOMPILE_HEADERS ON SKIP_UNITY_BUILD_INCLUSION ON)
endforeach()
