// Numbers as people read them.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace quire::terminal {

// "12,345,678"
std::string FormatCount(int64_t count);

// "1 row", "12,345 rows": of nouns that take an s.
std::string FormatCount(int64_t count, std::string_view noun);

// "512 B", "1.5 KiB", "3.2 GiB"
std::string FormatBytes(int64_t bytes);

// "850", "12.3 k", "4.56 M": three digits
std::string FormatRate(double per_second);

// "850 ns", "83.2 µs", "12.3 ms", "4.56 s"
std::string FormatLatency(std::chrono::nanoseconds latency);

// "0:07", "12:34", "1:02:03"
std::string FormatClock(std::chrono::seconds duration);

}  // namespace quire::terminal
