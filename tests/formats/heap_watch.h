// Holds what a fuzz target allocates against the size of its input.

#pragma once

#include <cstddef>

namespace quire::formats::testing {

// Counts from its construction on; one at a time, one thread. Needs
// AddressSanitizer, whose hooks it uses.
class HeapWatch {
 public:
  HeapWatch();
  ~HeapWatch();
  HeapWatch(const HeapWatch&) = delete;
  HeapWatch& operator=(const HeapWatch&) = delete;

  // The largest single allocation, and the most that lived at once.
  size_t largest() const;
  size_t peak() const;
};

// Ends the process, with a sentence, if one allocation was larger than an input
// of `size` bytes and `slack`, or all together more than several times that.
void ExpectModest(const HeapWatch& watch, size_t size, size_t slack);

}  // namespace quire::formats::testing
