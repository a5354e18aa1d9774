#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "io/slide_reader.h"
#include "io/tile_store.h"

namespace vtissue::stages {

/// The slide as tiles.h5 saw it: its µm/px is used again, so that a --mpp given there holds here too. Throws Error
/// kBadInput if it cannot be opened or has another size than the tiles' slide.
std::shared_ptr<io::SlideReader> open_slide_of(const std::filesystem::path& path, const io::TileSet& tiles);

/// Throws Error kBadInput unless the slide at `path`, whose digest is `sha256`, is the one the tiles were made from:
/// two slides of one scanner often have the same size.
void require_slide_of(const std::filesystem::path& path, const std::string& sha256, const io::TileSet& tiles);

/// Throws Error kBadInput unless a store made by `made_by` comes from the slide of the digest `expected`. A store that
/// does not tell (empty) passes: a table of the user's own.
void require_same_slide(const std::filesystem::path& store, const std::string& slide_sha256,
                        const std::string& expected, const std::filesystem::path& other, const char* made_by);

}  // namespace vtissue::stages
