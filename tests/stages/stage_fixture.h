#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/units.h"
#include "pipeline/run_context.h"
#include "pipeline/stage.h"

namespace vtissue::stages {

class SilentProgress : public pipeline::Progress {
 public:
  void stage_started(std::string_view, std::int64_t, std::string_view) override {}
  void advanced(std::string_view, std::int64_t) override {}
  void stage_finished(std::string_view, std::string_view) override {}
};

/// A picture to draw test slides on, [h, w, 3].
struct Canvas {
  std::int64_t width, height;
  std::vector<std::uint8_t> rgb;

  Canvas(std::int64_t w, std::int64_t h, std::initializer_list<std::uint8_t> colour) : width(w), height(h) {
    rgb.reserve(static_cast<std::size_t>(w * h * 3));
    for (std::int64_t i = 0; i < w * h; ++i) rgb.insert(rgb.end(), colour);
  }
  std::uint8_t* at(std::int64_t x, std::int64_t y) { return &rgb[static_cast<std::size_t>((y * width + x) * 3)]; }
};

/// An uncompressed RGB TIFF of one strip; `mpp` µm/px in its resolution tags if given.
inline void write_tiff(const std::filesystem::path& path, const Canvas& canvas, std::optional<double> mpp) {
  std::vector<std::uint8_t> bytes = {'I', 'I', 42, 0, 8, 0, 0, 0};
  const auto put = [&](std::uint64_t value, int count) {
    for (int i = 0; i < count; ++i) bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  };
  const auto entry = [&](int tag, int type, std::uint32_t count, std::uint32_t value) {
    put(static_cast<std::uint64_t>(tag), 2), put(static_cast<std::uint64_t>(type), 2), put(count, 4), put(value, 4);
  };
  const int entries = mpp ? 13 : 10;
  const auto data = static_cast<std::uint32_t>(8 + 2 + 12 * entries + 4);  // bits, resolution, pixels
  const auto pixels = data + 6 + 8;
  put(static_cast<std::uint64_t>(entries), 2);
  entry(256, 4, 1, static_cast<std::uint32_t>(canvas.width));
  entry(257, 4, 1, static_cast<std::uint32_t>(canvas.height));
  entry(258, 3, 3, data);
  entry(259, 3, 1, 1);
  entry(262, 3, 1, 2);
  entry(273, 4, 1, pixels);
  entry(277, 3, 1, 3);
  entry(278, 4, 1, static_cast<std::uint32_t>(canvas.height));
  entry(279, 4, 1, static_cast<std::uint32_t>(canvas.rgb.size()));
  if (mpp) {
    entry(282, 5, 1, data + 6);
    entry(283, 5, 1, data + 6);
  }
  entry(284, 3, 1, 1);
  if (mpp) entry(296, 3, 1, 3);
  put(0, 4);
  for (int c = 0; c < 3; ++c) put(8, 2);
  put(mpp ? static_cast<std::uint64_t>(1e8 / *mpp + 0.5) : 0, 4), put(10000, 4);  // pixels per centimetre
  bytes.insert(bytes.end(), canvas.rgb.begin(), canvas.rgb.end());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A folder of its own, and stages run in it as the engine would.
class StageFixture : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / (std::string("vtissue-") + info->test_suite_name() + "-" +
                                                        info->name() + "-" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path file(const std::string& name) const { return folder_ / name; }

  struct Outcome {
    nlohmann::json reported;
    std::vector<std::string> warnings;
  };

  /// Runs the stage; committed parts stay in `work` of the test's folder.
  Outcome run(const pipeline::Stage& stage, const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
              const std::string& work = "work", std::stop_token stop = {}) {
    SilentProgress progress;
    pipeline::RunContext ctx(std::string(stage.name()), pipeline::ChunkStore(folder_ / work), {}, progress, stop);
    stage.run(inputs, outputs, ctx);
    return {ctx.reported(), ctx.warnings()};
  }

  /// A file of the third-party data, or nothing where VTISSUE_DATA is not set or lacks it.
  static std::optional<std::filesystem::path> third_party(const std::string& name) {
    const char* root = std::getenv("VTISSUE_DATA");
    if (root == nullptr || !std::filesystem::exists(std::filesystem::path(root) / name)) return std::nullopt;
    return std::filesystem::path(root) / name;
  }

  std::filesystem::path folder_;
};

}  // namespace vtissue::stages
