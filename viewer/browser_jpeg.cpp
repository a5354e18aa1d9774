#include "viewer/browser_jpeg.h"

#include <array>
#include <cstdint>

namespace vtissue::viewer {
namespace {

constexpr std::uint8_t kStart = 0xD8, kEnd = 0xD9, kScan = 0xDA, kHuffman = 0xC4, kQuantization = 0xDB, kRestart = 0xDD,
                       kComment = 0xFE;

std::uint8_t at(std::span<const std::byte> bytes, std::size_t i) { return std::to_integer<std::uint8_t>(bytes[i]); }

std::size_t word(std::span<const std::byte> bytes, std::size_t i) {
  return static_cast<std::size_t>(at(bytes, i)) << 8 | at(bytes, i + 1);
}

void append(std::string& out, std::span<const std::byte> bytes) {
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

/// A marker segment: its code, and all of it with marker and length.
struct Segment {
  std::uint8_t code = 0;
  std::span<const std::byte> bytes;
};

/// The segment that begins at `position`, moved past it; nothing where there is none.
std::optional<Segment> next_segment(std::span<const std::byte> bytes, std::size_t& position) {
  // A marker may be preceded by any number of fill bytes.
  while (position + 1 < bytes.size() && at(bytes, position) == 0xFF && at(bytes, position + 1) == 0xFF) ++position;
  if (position + 4 > bytes.size() || at(bytes, position) != 0xFF) return std::nullopt;
  const std::size_t length = word(bytes, position + 2);
  if (length < 2 || position + 2 + length > bytes.size()) return std::nullopt;
  const Segment segment{at(bytes, position + 1), bytes.subspan(position, 2 + length)};
  position += 2 + length;
  return segment;
}

bool starts_whole(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && at(bytes, 0) == 0xFF && at(bytes, 1) == kStart;
}

/// Baseline, extended or progressive with Huffman codes; the others no browser reads.
bool is_frame(std::uint8_t code) { return code >= 0xC0 && code <= 0xC2; }

bool fits(std::span<const std::byte> frame, int width, int height) {
  return frame.size() >= 10 && at(frame, 4) == 8 && word(frame, 5) == static_cast<std::size_t>(height) &&
         word(frame, 7) == static_cast<std::size_t>(width) && at(frame, 9) == 3;
}

}  // namespace

std::optional<std::string> browser_jpeg(std::span<const std::byte> tables, std::span<const std::byte> stream,
                                        bool is_ycbcr, int width, int height) {
  // Scanners pad tiles with zeros.
  while (!stream.empty() && at(stream, stream.size() - 1) == 0) stream = stream.first(stream.size() - 1);
  if (!starts_whole(stream) || at(stream, stream.size() - 2) != 0xFF || at(stream, stream.size() - 1) != kEnd)
    return std::nullopt;

  std::string out;
  out.reserve(tables.size() + stream.size() + 16);
  const std::array<std::uint8_t, 18> head = {0xFF, kStart, 0xFF, 0xEE, 0, 14, 'A', 'd', 'o',
                                             'b',  'e',    0,    100,  0, 0,  0,   0,   std::uint8_t{is_ycbcr}};
  out.append(reinterpret_cast<const char*>(head.data()), head.size());

  if (!tables.empty()) {
    if (!starts_whole(tables)) return std::nullopt;
    std::size_t position = 2;
    while (position + 2 <= tables.size() && at(tables, position + 1) != kEnd) {
      const auto segment = next_segment(tables, position);
      if (!segment) return std::nullopt;
      if (segment->code == kHuffman || segment->code == kQuantization || segment->code == kRestart)
        append(out, segment->bytes);
    }
  }

  bool has_frame = false;
  for (std::size_t position = 2;;) {
    const auto segment = next_segment(stream, position);
    if (!segment) return std::nullopt;
    if (is_frame(segment->code)) {
      if (has_frame || !fits(segment->bytes, width, height)) return std::nullopt;
      has_frame = true;
    }
    const bool is_application = segment->code >= 0xE0 && segment->code <= 0xEF;
    if (!is_application && segment->code != kComment) append(out, segment->bytes);
    if (segment->code == kScan) {
      if (!has_frame) return std::nullopt;
      append(out, stream.subspan(position));
      return out;
    }
  }
}

}  // namespace vtissue::viewer
