#pragma once

namespace vtissue::io {

/// Prepares libvips and libtiff for this process, once: one libvips thread a call (the engine owns the
/// cores), no operation cache (it would grow with the slide), and no message on stderr from either.
/// Call before using libvips. Thread-safe. Throws Error kBadInput if libvips cannot start.
void ensure_image_libraries();

}  // namespace vtissue::io
