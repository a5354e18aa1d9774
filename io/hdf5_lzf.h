#pragma once

#include <hdf5.h>

namespace vtissue::io::hdf5 {

inline constexpr H5Z_filter_t kLzfFilter = 32000;

/// Registers a decoder for filter 32000, LZF, which h5py offers beside gzip and HDF5 itself lacks.
/// Reading only. A chunk that does not decode to
/// the size that the filter's third parameter states fails to be read. To be called once, under the lock of the API.
void register_lzf_decoder();

}  // namespace vtissue::io::hdf5
