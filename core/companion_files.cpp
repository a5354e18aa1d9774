#include "core/companion_files.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <string>
#include <string_view>

#include "core/error.h"

namespace vtissue {
namespace {

namespace fs = std::filesystem;

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool is_dicom(const fs::path& file) {
  std::array<char, 132> head{};
  std::ifstream in(file, std::ios::binary);
  return in.read(head.data(), head.size()) && std::string_view(head.data() + 128, 4) == "DICM";
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  return files;
}

std::vector<fs::path> dicom_files_beside(const fs::path& file) {
  std::vector<fs::path> files;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().filename() != file.filename() && is_dicom(entry.path())) {
      files.push_back(entry.path());
    }
  }
  return files;
}

/// A .vms is an INI file; which of its keys name files differs between its versions, so each value is tried.
std::vector<fs::path> files_named_in(const fs::path& file) {
  constexpr std::uintmax_t kLongest = 1 << 20;
  std::vector<fs::path> files;
  if (fs::file_size(file) > kLongest) return files;
  std::ifstream in(file, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    const auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    std::string value = line.substr(equals + 1);
    const auto last = value.find_last_not_of(" \t\r");
    value.resize(last == std::string::npos ? 0 : last + 1);
    // A name alone: such a slide lies in one folder.
    if (value.empty() || value == "." || value == ".." || value.find_first_of("/\\") != std::string::npos) continue;
    const fs::path named = file.parent_path() / value;
    std::error_code error;
    if (value != file.filename().string() && fs::is_regular_file(named, error)) files.push_back(named);
  }
  return files;
}

}  // namespace

std::vector<fs::path> companion_files(const fs::path& file) {
  std::vector<fs::path> files;
  const std::string extension = lower_case(file.extension().string());
  try {
    std::error_code error;
    if (extension == ".mrxs" && fs::is_directory(fs::path(file).replace_extension(), error)) {
      files = files_below(fs::path(file).replace_extension());
    } else if (extension == ".vms" || extension == ".vmu") {
      files = files_named_in(file);
    } else if (extension == ".dcm") {
      files = dicom_files_beside(file);
    }
  } catch (const fs::filesystem_error& e) {
    throw Error(ErrorCode::kBadInput, "{}: the files that belong to it cannot be read: {}", file.string(),
                e.code().message());
  }
  std::ranges::sort(files);
  files.erase(std::unique(files.begin(), files.end()), files.end());
  return files;
}

}  // namespace vtissue
