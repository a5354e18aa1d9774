#include "io/vips_runtime.h"

#include <tiffio.h>
#include <vips/vips.h>

#include <mutex>

#include "core/error.h"

namespace vtissue::io {
namespace {

void ignore_message(const gchar*, GLogLevelFlags, const gchar*, gpointer) {}

void start() {
  // Errors of both libraries reach the caller through their return values. libtiff's handlers are of
  // the whole process; OpenSlide's copy of libtiff would otherwise report unknown tags on stderr.
  TIFFSetErrorHandler(nullptr);
  TIFFSetWarningHandler(nullptr);
  g_log_set_handler("VIPS", static_cast<GLogLevelFlags>(G_LOG_LEVEL_WARNING | G_LOG_LEVEL_INFO), ignore_message,
                    nullptr);
  if (vips_init("vtissue") != 0) throw Error(ErrorCode::kBadInput, "libvips cannot start: {}", vips_error_buffer());
  vips_concurrency_set(1);
  vips_cache_set_max(0);
}

}  // namespace

void ensure_image_libraries() {
  static std::once_flag once;
  std::call_once(once, start);
}

}  // namespace vtissue::io
