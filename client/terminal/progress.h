// How far long work has come.

#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

namespace quire::terminal {

// What is shown. `total` is more than 0.
struct ProgressState {
  std::string_view verb;  // "importing"
  std::string_view unit;  // "rows"
  int64_t done = 0;
  int64_t total = 1;
  std::chrono::duration<double> elapsed{};
};

// "importing  43% ██████▌         2,150 of 5,000 rows  12.3 k/s  0:03 left",
// in `columns` at most.
std::string ProgressBar(const ProgressState& state, size_t columns);

// "importing: 2,150 of 5,000 rows (43%), 12.3 k/s, 0:03 left"
std::string ProgressLine(const ProgressState& state);

// Draws a bar ten times a second on a terminal; elsewhere writes a line every
// five seconds. Thread safety: one thread at a time.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  struct Screen {
    std::FILE* file = stderr;
    bool is_terminal = false;
    size_t columns = 80;
    // For tests.
    std::function<Clock::time_point()> now = Clock::now;
  };

  // `verb` and `unit` outlive this.
  Progress(std::string_view verb, std::string_view unit, int64_t total,
           Screen screen);
  // Takes the bar off the screen.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(int64_t done);

 private:
  const Screen screen_;
  const Clock::time_point start_;
  Clock::time_point last_shown_;
  ProgressState state_;
  bool drawn_ = false;
};

}  // namespace quire::terminal
