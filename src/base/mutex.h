// Mutexes that clang's thread-safety analysis understands, over the standard
// ones. (Debian's absl::Mutex is not instrumented: ThreadSanitizer reports
// races that are not there.)
//
//   Mutex mutex_;
//   int count_ QUIRE_GUARDED_BY(mutex_);
//   …
//   MutexLock lock(mutex_);

#pragma once

#include <condition_variable>
#include <mutex>
#include <shared_mutex>

#if defined(__clang__)
#define QUIRE_THREAD_ATTRIBUTE_(x) __attribute__((x))
#else
#define QUIRE_THREAD_ATTRIBUTE_(x)
#endif

#define QUIRE_CAPABILITY(name) QUIRE_THREAD_ATTRIBUTE_(capability(name))
#define QUIRE_SCOPED_CAPABILITY QUIRE_THREAD_ATTRIBUTE_(scoped_lockable)
#define QUIRE_GUARDED_BY(x) QUIRE_THREAD_ATTRIBUTE_(guarded_by(x))
#define QUIRE_PT_GUARDED_BY(x) QUIRE_THREAD_ATTRIBUTE_(pt_guarded_by(x))
#define QUIRE_REQUIRES(...) \
  QUIRE_THREAD_ATTRIBUTE_(requires_capability(__VA_ARGS__))
#define QUIRE_REQUIRES_SHARED(...) \
  QUIRE_THREAD_ATTRIBUTE_(requires_shared_capability(__VA_ARGS__))
#define QUIRE_EXCLUDES(...) QUIRE_THREAD_ATTRIBUTE_(locks_excluded(__VA_ARGS__))
#define QUIRE_ACQUIRE(...) \
  QUIRE_THREAD_ATTRIBUTE_(acquire_capability(__VA_ARGS__))
#define QUIRE_ACQUIRE_SHARED(...) \
  QUIRE_THREAD_ATTRIBUTE_(acquire_shared_capability(__VA_ARGS__))
#define QUIRE_RELEASE(...) \
  QUIRE_THREAD_ATTRIBUTE_(release_capability(__VA_ARGS__))
#define QUIRE_RELEASE_GENERIC(...) \
  QUIRE_THREAD_ATTRIBUTE_(release_generic_capability(__VA_ARGS__))
#define QUIRE_RELEASE_SHARED(...) \
  QUIRE_THREAD_ATTRIBUTE_(release_shared_capability(__VA_ARGS__))
#define QUIRE_NO_THREAD_SAFETY_ANALYSIS \
  QUIRE_THREAD_ATTRIBUTE_(no_thread_safety_analysis)

namespace quire {

class QUIRE_CAPABILITY("mutex") Mutex {
 public:
  void lock() QUIRE_ACQUIRE() { mutex_.lock(); }
  void unlock() QUIRE_RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class QUIRE_CAPABILITY("mutex") SharedMutex {
 public:
  void lock() QUIRE_ACQUIRE() { mutex_.lock(); }
  void unlock() QUIRE_RELEASE() { mutex_.unlock(); }
  void lock_shared() QUIRE_ACQUIRE_SHARED() { mutex_.lock_shared(); }
  void unlock_shared() QUIRE_RELEASE_SHARED() { mutex_.unlock_shared(); }

 private:
  std::shared_mutex mutex_;
};

class QUIRE_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) QUIRE_ACQUIRE(mutex) : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() QUIRE_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

class QUIRE_SCOPED_CAPABILITY WriterLock {
 public:
  explicit WriterLock(SharedMutex& mutex) QUIRE_ACQUIRE(mutex) : mutex_(mutex) {
    mutex_.lock();
  }
  ~WriterLock() QUIRE_RELEASE() { mutex_.unlock(); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  SharedMutex& mutex_;
};

class QUIRE_SCOPED_CAPABILITY ReaderLock {
 public:
  explicit ReaderLock(SharedMutex& mutex) QUIRE_ACQUIRE_SHARED(mutex)
      : mutex_(mutex) {
    mutex_.lock_shared();
  }
  ~ReaderLock() QUIRE_RELEASE_GENERIC() { mutex_.unlock_shared(); }
  ReaderLock(const ReaderLock&) = delete;
  ReaderLock& operator=(const ReaderLock&) = delete;

 private:
  SharedMutex& mutex_;
};

// A condition variable for Mutex. Waits may wake for no reason: loop.
class CondVar {
 public:
  void Wait(Mutex& mutex) QUIRE_REQUIRES(mutex) { condition_.wait(mutex); }

  // Returns false once `deadline` (steady clock) has passed.
  bool WaitUntil(Mutex& mutex, std::chrono::steady_clock::time_point deadline)
      QUIRE_REQUIRES(mutex) {
    return condition_.wait_until(mutex, deadline) == std::cv_status::no_timeout;
  }

  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable_any condition_;
};

}  // namespace quire
