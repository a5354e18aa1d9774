#include "models/parallel.h"

#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "models/device.h"

namespace vtissue::models {
namespace {

TEST(ParallelFor, HasAsManyThreadsAsTheDevice) {
  for (const int threads : {1, 2, 3}) {
    const auto device = Device::open("cpu", threads);
    std::set<std::thread::id> ids;
    std::vector<int> seen(12);
    device->run([&] {
      std::mutex mutex;
      parallel_for(0, 12, 1, [&](std::int64_t first, std::int64_t last) {
        const std::lock_guard lock(mutex);
        ids.insert(std::this_thread::get_id());
        for (std::int64_t i = first; i < last; ++i) ++seen[static_cast<std::size_t>(i)];
      });
    });
    EXPECT_EQ(ids.size(), static_cast<std::size_t>(threads));
    EXPECT_EQ(seen, std::vector<int>(12, 1));
  }
}

TEST(ParallelFor, RethrowsWhatTheWorkThrows) {
  const auto device = Device::open("cpu", 2);
  device->run([] {
    const auto fail = [](std::int64_t first, std::int64_t) {
      if (first > 0) throw std::runtime_error("of the second part");
    };
    EXPECT_THROW(parallel_for(0, 2, 1, fail), std::runtime_error);
  });
}

}  // namespace
}  // namespace vtissue::models
