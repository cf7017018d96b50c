// When the server may be used, and where it is.

#pragma once

#include <condition_variable>
#include <mutex>
#include <string>

namespace quire::crash {

// Lets everyone work while a server is there, and nobody while the table is
// checked.
//
// Thread safety: all functions may be called from any thread.
class Gate {
 public:
  // Waits until a server is there; its address, or "" at the end.
  std::string Enter() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_open_ || is_over_; });
    if (is_over_) {
      return "";
    }
    ++inside_;
    return address_;
  }
  void Leave() {
    const std::lock_guard lock(mutex_);
    --inside_;
    changed_.notify_all();
  }
  void Open(const std::string& address) {
    const std::lock_guard lock(mutex_);
    address_ = address;
    is_open_ = true;
    changed_.notify_all();
  }
  // Returns when nobody is inside.
  void Close() {
    std::unique_lock lock(mutex_);
    is_open_ = false;
    changed_.wait(lock, [this] { return inside_ == 0; });
  }
  void End() {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
    changed_.notify_all();
  }
  bool is_open() const {
    const std::lock_guard lock(mutex_);
    return is_open_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string address_;
  int inside_ = 0;
  bool is_open_ = false;
  bool is_over_ = false;
};

}  // namespace quire::crash
