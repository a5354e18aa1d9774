#pragma once

#include <hdf5.h>

#include <cstddef>

namespace vtissue::io::hdf5 {

inline constexpr H5Z_filter_t kLzfFilter = 32000;

/// Registers a decoder for filter 32000, LZF, which h5py offers beside gzip and HDF5 itself lacks. Reading only. A
/// chunk that does not decode to the size set by set_lzf_chunk_bytes() fails to be read. To be called once, under the
/// lock of the API.
void register_lzf_decoder();

/// The size of a decoded chunk of the dataset that is read next. HDF5 takes whatever a filter returns for a whole
/// chunk, and not every file states the size in the filter's parameters. Under the lock of the API.
void set_lzf_chunk_bytes(std::size_t bytes);

}  // namespace vtissue::io::hdf5
