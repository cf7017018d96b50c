// A child process: the server under test, or a ceiling's other end.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <vector>

namespace quire::bench {

// What is to be cleaned up when this is destroyed, or by Die().
//
// Thread safety: any thread.
class AtEnd {
 public:
  explicit AtEnd(std::function<void()> clean_up);
  ~AtEnd();
  AtEnd(const AtEnd&) = delete;
  AtEnd& operator=(const AtEnd&) = delete;

 private:
  std::list<std::function<void()>>::iterator place_;
};

// Thread safety: one thread.
class Process {
 public:
  // Starts argv[0] with the words "PORT_FILE" among its arguments replaced by
  // the name of a file, and waits until the child has written its port there.
  // Ends this process with a sentence if that does not come about.
  // SIGTERM, and waits, when this is destroyed.
  explicit Process(std::vector<std::string> argv);

  // "127.0.0.1:41234"
  std::string address() const;
  int port() const { return port_; }

  // Minor page faults since it was started.
  int64_t minor_faults() const;
  // Memory that is in its address space and in RAM, in bytes.
  int64_t resident_bytes() const;

 private:
  pid_t pid_ = -1;
  int port_ = 0;
  std::optional<AtEnd> end_;
};

// Writes the port to the file that a Process reads.
void WritePort(const std::string& port_file, int port);

// A sentence on standard error, and the end.
[[noreturn]] void Die(const std::string& sentence);

}  // namespace quire::bench
