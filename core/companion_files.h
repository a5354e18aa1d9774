#pragma once

#include <filesystem>
#include <vector>

namespace vtissue {

/// The other files that a slide consists of besides the one it is named by, sorted: the folder beside a MIRAX .mrxs,
/// the files that a Hamamatsu .vms or .vmu names, the other DICOM files of a .dcm's folder. Empty for every other file.
/// Files that are named but missing are left out: to miss them is the reader's to say. Throws Error kBadInput if the
/// folder cannot be read.
std::vector<std::filesystem::path> companion_files(const std::filesystem::path& file);

}  // namespace vtissue
