#include "client/terminal/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "client/terminal/printable.h"
#include "client/terminal/units.h"

namespace quire::terminal {
namespace {

using namespace std::chrono_literals;

constexpr auto kBarEvery = 100ms;
constexpr auto kLineEvery = 5s;

constexpr size_t kBarColumnsMax = 30;
constexpr size_t kBarColumnsMin = 5;

double Share(const ProgressState& state) {
  return std::clamp(
      static_cast<double>(state.done) / static_cast<double>(state.total), 0.0,
      1.0);
}

double Rate(const ProgressState& state) {
  return static_cast<double>(state.done) /
         std::max(state.elapsed.count(), 1e-9);
}

std::string TimeLeft(const ProgressState& state) {
  if (state.done == 0) {
    return "-:--";
  }
  const double seconds =
      static_cast<double>(state.total - state.done) / Rate(state);
  return FormatClock(std::chrono::seconds(std::llround(std::ceil(seconds))));
}

std::string Blocks(double share, size_t columns) {
  constexpr auto kEighths =
      std::to_array<std::string_view>({"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"});
  const auto eighths =
      static_cast<size_t>(std::floor(share * static_cast<double>(8 * columns)));
  std::string bar;
  for (size_t i = 0; i < eighths / 8; ++i) {
    bar += "█";
  }
  bar += kEighths[eighths % 8];
  bar.append(columns - DisplayWidth(bar), ' ');
  return bar;
}

}  // namespace

std::string ProgressBar(const ProgressState& state, size_t columns) {
  const std::string left =
      fmt::format("{} {:3.0f}% ", state.verb, std::floor(100 * Share(state)));
  const std::string right =
      fmt::format("  {} of {} {}  {}/s  {} left", FormatCount(state.done),
                  FormatCount(state.total), state.unit, FormatRate(Rate(state)),
                  TimeLeft(state));
  const size_t taken = left.size() + right.size();
  if (taken + kBarColumnsMin > columns) {
    return left.substr(0, columns);
  }
  return left +
         Blocks(Share(state), std::min(kBarColumnsMax, columns - taken)) +
         right;
}

std::string ProgressLine(const ProgressState& state) {
  return fmt::format("{}: {} of {} {} ({:.0f}%), {}/s, {} left", state.verb,
                     FormatCount(state.done), FormatCount(state.total),
                     state.unit, std::floor(100 * Share(state)),
                     FormatRate(Rate(state)), TimeLeft(state));
}

Progress::Progress(std::string_view verb, std::string_view unit, int64_t total,
                   Screen screen)
    : screen_(std::move(screen)),
      start_(screen_.now()),
      last_shown_(start_),
      state_{.verb = verb,
             .unit = unit,
             .done = 0,
             .total = std::max<int64_t>(total, 1),
             .elapsed = {}} {}

Progress::~Progress() {
  if (drawn_) {
    fmt::print(screen_.file, "\r\x1b[K");
    std::fflush(screen_.file);
  }
}

void Progress::Update(int64_t done) {
  const Clock::time_point now = screen_.now();
  const auto every =
      screen_.is_terminal ? Clock::duration(kBarEvery) : kLineEvery;
  if (now - last_shown_ < every) {
    return;
  }
  last_shown_ = now;
  state_.done = done;
  state_.elapsed = now - start_;
  if (screen_.is_terminal) {
    fmt::print(screen_.file, "\r{}\x1b[K",
               ProgressBar(state_, screen_.columns - 1));
    drawn_ = true;
  } else {
    fmt::print(screen_.file, "{}\n", ProgressLine(state_));
  }
  std::fflush(screen_.file);
}

}  // namespace quire::terminal
