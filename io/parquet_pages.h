#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "io/parquet.h"

/// Pages of a column chunk of Parquet.
namespace vtissue::io::parquet {

/// Appends the chunk's values, numbers as double. `bytes`: the pages as they are in the file. Throws std::runtime_error
/// that says what is wrong.
void read_pages(std::span<const std::byte> bytes, const ParquetFile::Column& column, const ParquetFile::Chunk& chunk,
                std::vector<double>& out);
void read_pages(std::span<const std::byte> bytes, const ParquetFile::Column& column, const ParquetFile::Chunk& chunk,
                std::vector<std::string>& out);

}  // namespace vtissue::io::parquet
