#include "tests/wire/differential.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cstdint>
#include <optional>

namespace quire::wire::testing {
namespace {

std::string Hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    text += fmt::format("{:02x}", static_cast<uint8_t>(byte));
  }
  return text;
}

template <typename Number>
std::string Describe(const std::optional<Number>& value) {
  return value ? fmt::format("{}", *value) : "absent";
}

// Bit for bit: a NaN is like no other, but it is like itself.
std::string Describe(const std::optional<double>& value) {
  return value ? fmt::format("{:x}", std::bit_cast<uint64_t>(*value))
               : "absent";
}

std::string Describe(const ShapeDraft& shape) {
  return shape.present ? fmt::format("({})", fmt::join(shape.dims, ", "))
                       : "absent";
}

std::string Describe(const std::optional<BagsDraft>& bags) {
  return bags ? fmt::format(
                    "({} {} offsets ({}) weights {} winners {})", bags->pooling,
                    bags->return_winners, fmt::join(bags->offsets, ", "),
                    Hex(ToString(bags->weights)), Hex(ToString(bags->winners)))
              : "absent";
}

}  // namespace

std::string Describe(const Draft& draft) {
  std::string text =
      fmt::format("request_id {} max_response_bytes {} min_durability {}\n",
                  Describe(draft.request_id),
                  Describe(draft.max_response_bytes), draft.min_durability);
  if (draft.position) {
    text += fmt::format("position {} {}\n", draft.position->epoch,
                        draft.position->lsn);
  }
  if (draft.push_id) {
    text += fmt::format("session {} sequence {}\n",
                        Hex(ToString(draft.push_id->session)),
                        draft.push_id->sequence);
  }
  for (const TableDraft& table : draft.tables) {
    text +=
        fmt::format("name {} uid {} learning_rate {} ids {} {} values {} {}\n",
                    Hex(table.name), Hex(ToString(table.uid)),
                    Describe(table.learning_rate), Describe(table.ids_shape),
                    Hex(ToString(table.ids)), Describe(table.values_shape),
                    Hex(ToString(table.values)));
    text += fmt::format("element_type {} packed {}\n", table.element_type,
                        Hex(ToString(table.packed)));
    text += fmt::format("gradient_scale {} {} {} bags {} winners {}\n",
                        Describe(table.gradient_scale),
                        table.return_weight_gradients, table.duplicates_summed,
                        Describe(table.bags), Hex(ToString(table.winners)));
  }
  return text;
}

}  // namespace quire::wire::testing
