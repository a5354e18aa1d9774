#pragma once

namespace vtissue::io::hdf5 {

/// Registers a decoder for filter 32000, LZF, which h5py offers beside gzip and HDF5 itself lacks.
/// Reading only. To be called once, under the lock of the API.
void register_lzf_decoder();

}  // namespace vtissue::io::hdf5
