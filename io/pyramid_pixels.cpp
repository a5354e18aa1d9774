// write_pyramid() from pixels at hand: blocks are encoded ahead of the writer by threads of its own.

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>

#include "io/pyramid_block.h"

namespace vtissue::io {
namespace {

class BlocksAhead {
 public:
  BlocksAhead(const PyramidOptions& options, const BlockPixels& pixels, int threads, const LevelDecorator& decorate)
      : options_(options),
        layout_(layout_of(options)),
        pixels_(pixels),
        decorate_(decorate),
        count_(layout_.blocks_x * layout_.blocks_y),
        ahead_(2 * threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }

  ~BlocksAhead() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  /// Blocks in their order, each once.
  std::vector<std::byte> take(int bx, int by) {
    const int id = by * layout_.blocks_x + bx;
    std::unique_lock lock(mutex_);
    wanted_ = id;
    changed_.notify_all();
    changed_.wait(lock, [&] { return failure_ != nullptr || done_.contains(id); });
    if (failure_ != nullptr) std::rethrow_exception(failure_);
    std::vector<std::byte> part = std::move(done_.at(id));
    done_.erase(id);
    return part;
  }

 private:
  void work() {
    std::vector<std::uint8_t> scratch;
    std::optional<BlockEncoder> encoder;  // made in the loop, where what it throws is caught
    for (;;) {
      int id = 0;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopping_ || next_ >= count_ || next_ < wanted_ + ahead_; });
        if (stopping_ || next_ >= count_) return;
        id = next_++;
      }
      try {
        if (!encoder) encoder.emplace(options_);
        std::vector<std::byte> part = encode(id % layout_.blocks_x, id / layout_.blocks_x, *encoder, scratch);
        const std::lock_guard lock(mutex_);
        done_.emplace(id, std::move(part));
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (failure_ == nullptr) failure_ = std::current_exception();
        stopping_ = true;
      }
      changed_.notify_all();
    }
  }

  std::vector<std::byte> encode(int bx, int by, BlockEncoder& encoder, std::vector<std::uint8_t>& scratch) const {
    const std::int64_t block = options_.block_px;
    const Box<TargetPx> box{{bx * block, by * block},
                            {std::clamp<std::int64_t>(options_.size.width - bx * block, 0, block),
                             std::clamp<std::int64_t>(options_.size.height - by * block, 0, block)}};
    const bool empty = box.size.width == 0 || box.size.height == 0;  // padding alone
    return encoder.encode(
        bx, by, empty ? PixelRows{nullptr, box.size.width, box.size.height, 0} : pixels_(box, scratch), decorate_);
  }

  const PyramidOptions& options_;
  PyramidLayout layout_;
  const BlockPixels& pixels_;
  const LevelDecorator& decorate_;
  const int count_, ahead_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, std::vector<std::byte>> done_;
  std::exception_ptr failure_;
  int next_ = 0, wanted_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;  // last: they use the others
};

}  // namespace

void write_pyramid(const std::filesystem::path& path, const PyramidOptions& options, const BlockPixels& pixels,
                   int threads, const RgbImage& label, const RgbImage& macro, const LevelDecorator& decorate) {
  if (threads < 1) throw std::invalid_argument("write_pyramid: at least one thread");
  BlocksAhead blocks(options, pixels, threads, decorate);
  write_pyramid(
      path, options, [&](int bx, int by) { return blocks.take(bx, by); }, label, macro, decorate);
}

}  // namespace vtissue::io
