#include "pipeline/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <limits>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "core/error.h"

namespace vtissue::pipeline {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array<int, 2> kSignals = {SIGINT, SIGTERM};
constexpr char kQuit = 0;  ///< written by the destructor; signal numbers are positive

// What the handler may touch: lock-free atomics and write().
std::atomic<int> write_end = -1;
std::atomic<int> signals_seen = 0;
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void on_signal(int number) {
  const int saved = errno;
  if (signals_seen.fetch_add(1) > 0) ::_exit(static_cast<int>(ErrorCode::kInterrupted));
  const char byte = static_cast<char>(number);
  [[maybe_unused]] const ssize_t written = ::write(write_end.load(), &byte, 1);
  errno = saved;
}

}  // namespace

struct StopOnSignal::Impl {
  explicit Impl(std::optional<std::chrono::milliseconds> max_time) {
    if (max_time) deadline = Clock::now() + *max_time;
    if (write_end.load() >= 0) throw std::logic_error("StopOnSignal: one at a time");
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
    write_end = pipe[1];
    signals_seen = 0;
    thread = std::thread([this] { watch(); });
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &action, &former[i]);
  }

  ~Impl() {
    for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &former[i], nullptr);
    [[maybe_unused]] const ssize_t written = ::write(pipe[1], &kQuit, 1);
    thread.join();
    write_end = -1;
    ::close(pipe[0]);
    ::close(pipe[1]);
  }

  void watch() {
    while (true) {
      pollfd readable{pipe[0], POLLIN, 0};
      const int ready = ::poll(&readable, 1, milliseconds_left());
      if (ready < 0 && errno == EINTR) continue;
      if (ready == 0) {
        if (Clock::now() < *deadline) continue;
        spdlog::warn("--max-time is over: stopping after the current chunk");
        deadline.reset();
        stop.request_stop();
        continue;
      }
      char byte = kQuit;
      if (::read(pipe[0], &byte, 1) != 1 || byte == kQuit) return;
      spdlog::warn("{}: stopping after the current chunk; a second signal quits at once",
                   byte == SIGINT ? "SIGINT" : "SIGTERM");
      stop.request_stop();
    }
  }

  /// For poll(): -1 without a deadline.
  int milliseconds_left() const {
    if (!deadline) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, std::numeric_limits<int>::max()));
  }

  std::stop_source stop;
  std::optional<Clock::time_point> deadline;
  std::array<int, 2> pipe{-1, -1};
  std::array<struct sigaction, kSignals.size()> former{};
  std::thread thread;
};

StopOnSignal::StopOnSignal(std::optional<std::chrono::milliseconds> max_time)
    : impl_(std::make_unique<Impl>(max_time)) {}

StopOnSignal::~StopOnSignal() = default;

std::stop_token StopOnSignal::token() const { return impl_->stop.get_token(); }

}  // namespace vtissue::pipeline
