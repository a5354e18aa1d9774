#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

namespace vtissue::viewer {

/// Byte strings by key, at most `limit` bytes of them; the longest unused goes first. Thread-safe.
template <typename Key>
class ByteCache {
 public:
  using Bytes = std::shared_ptr<const std::string>;

  explicit ByteCache(std::size_t limit) : limit_(limit) {}

  /// Null if it is not kept.
  Bytes find(const Key& key) {
    const std::lock_guard lock(mutex_);
    const auto place = places_.find(key);
    if (place == places_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, place->second);
    return place->second->second;
  }

  /// What is larger than the limit is not kept.
  void keep(const Key& key, Bytes bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes->size() > limit_ || places_.contains(key)) return;
    bytes_ += bytes->size();
    entries_.emplace_front(key, std::move(bytes));
    places_[key] = entries_.begin();
    while (bytes_ > limit_) {
      bytes_ -= entries_.back().second->size();
      places_.erase(entries_.back().first);
      entries_.pop_back();
    }
  }

  std::size_t bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  using Entries = std::list<std::pair<Key, Bytes>>;
  const std::size_t limit_;
  mutable std::mutex mutex_;
  Entries entries_;  // the latest used first
  std::map<Key, typename Entries::iterator> places_;
  std::size_t bytes_ = 0;
};

}  // namespace vtissue::viewer
