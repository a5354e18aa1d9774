#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace vtissue {

/// Name of a temporary file or folder beside `target`. Not unique over processes: an output folder
/// has one writer at a time (pipeline/lock.h), so a leftover of a killed run is simply overwritten.
std::filesystem::path temporary_name(const std::filesystem::path& target);

/// Removes what a killed run may have left beside `target`: its temporary file or folder, and the former
/// folder that a new one was replacing. What cannot be removed stays.
void remove_leftovers(const std::filesystem::path& target);

/// Flushes a written file or a folder's entries to the disk. Throws Error kOutput.
void sync_to_disk(const std::filesystem::path& path);

/// fsync of `temporary`, rename to `target` (replacing a file; a folder is swapped), fsync of the
/// folder. After it returns the target is whole; if it throws (Error kOutput) the old one is there.
void publish(const std::filesystem::path& temporary, const std::filesystem::path& target);

/// Writes `content` under a temporary name and publishes it. Throws Error kOutput; then neither a
/// partial target nor the temporary file remains.
void write_file_atomically(const std::filesystem::path& target, std::span<const std::byte> content);
void write_file_atomically(const std::filesystem::path& target, std::string_view content);

/// Throws Error kOutput with the system's reason and, when the disk is full, the remedy.
[[noreturn]] void throw_output_error(const std::filesystem::path& path, std::string_view action, int error_number);

}  // namespace vtissue
