#include "client/cli/sweep.h"

#include <fmt/format.h>

#include <charconv>

#include "client/formats/input_error.h"

namespace quire::cli {

absl::StatusOr<std::vector<int>> ParseSweep(std::string_view text, int max) {
  int bounds[] = {0, 0, 1};
  int count = 0;
  const char* position = text.data();
  const char* const last = text.data() + text.size();
  bool ok = true;
  while (ok && count < 3) {
    const auto [end, error] = std::from_chars(position, last, bounds[count]);
    ok = error == std::errc();
    ++count;
    position = end;
    if (position == last || *position != ':') {
      break;
    }
    ++position;
  }
  const int first = bounds[0];
  const int end = count == 1 ? first : bounds[1];
  ok = ok && position == last && !text.ends_with(':') && first >= 1 &&
       end >= first && end <= max && bounds[2] >= 1;
  if (!ok) {
    return formats::InputError(fmt::format(
        "'{}' is no sweep; 4, 1:16 and 1:16:5 would be, from 1 to {}", text,
        max));
  }
  std::vector<int> numbers;
  for (int number = first; number <= end; number += bounds[2]) {
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace quire::cli
