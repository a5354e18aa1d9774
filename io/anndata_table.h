#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/anndata.h"
#include "io/hdf5.h"

/// Data frames of an AnnData file: obs, var, raw/var (formats.md 3.5).
namespace vtissue::io {

/// Reads parent/name, a group, or a dataset of compound type as anndata up to 0.6 wrote it (`parent` is then the file's
/// root). Throws Error kBadInput: missing, no index, columns of other lengths, category codes out of range.
AnnTable read_ann_table(const hdf5::Group& parent, const std::string& name);

/// Writes parent/name as dataframe 0.2.0.
void write_ann_table(hdf5::Group& parent, const std::string& name, const AnnTable& table);

/// The attributes that every element carries.
void write_encoding(hdf5::Object& object, std::string_view type, std::string_view version);

}  // namespace vtissue::io
