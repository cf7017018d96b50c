#include "client/part_error.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace quire {
namespace {

// Takes "name[7]" from the beginning of `text` and returns 7.
std::optional<int64_t> TakeIndex(std::string_view name,
                                 std::string_view& text) {
  if (!text.starts_with(name)) {
    return std::nullopt;
  }
  const char* const end = text.data() + text.size();
  int64_t index = 0;
  const auto [rest, error] =
      std::from_chars(text.data() + name.size(), end, index);
  if (error != std::errc() || rest == end || *rest != ']') {
    return std::nullopt;
  }
  text.remove_prefix(static_cast<size_t>(rest + 1 - text.data()));
  return index;
}

}  // namespace

absl::Status InWholeLookup(const absl::Status& error, const Part& part,
                           bool is_cut,
                           std::span<const std::optional<UniqueIds>> unique) {
  const std::string field = FieldOf(error);
  std::string_view rest = field;
  const std::optional<int64_t> table = TakeIndex("tables[", rest);
  const std::optional<Reason> reason = ReasonOf(error);
  if (!reason || !table || *table < 0 || *table >= std::ssize(part.ranges)) {
    return error;
  }
  const ItemRange& range = part.ranges[static_cast<size_t>(*table)];
  const std::optional<UniqueIds>& sent = unique[range.item_index];
  if (!is_cut && !sent) {
    return error;
  }
  std::string whole_field = fmt::format("tables[{}]", range.item_index);
  if (const auto id = TakeIndex(".ids.ids[", rest)) {
    const int64_t in_item = range.id_begin + *id;
    const bool is_one_of_them =
        sent && in_item >= 0 && in_item < std::ssize(sent->first);
    whole_field += fmt::format(
        ".ids.ids[{}]",
        is_one_of_them
            ? static_cast<int64_t>(sent->first[static_cast<size_t>(in_item)])
            : in_item);
  }
  whole_field += rest;
  std::string message(error.message());
  if (range.id_begin > 0) {
    message += fmt::format(
        " (The lookup went out in parts: positions count from id {}.)",
        range.id_begin);
  }
  if (sent) {
    message += " (Equal ids went out once: positions do not count the others.)";
  }
  absl::Status whole = Error(*reason, message, whole_field);
  const std::optional<int64_t> retry_after_ms = RetryAfterMsOf(error);
  return retry_after_ms ? WithRetryAfterMs(std::move(whole), *retry_after_ms)
                        : whole;
}

}  // namespace quire
