#include "wire/push_hash.h"

#include <algorithm>
#include <bit>

#include "base/xxh3.h"

namespace quire::wire {
namespace {

class Hasher {
 public:
  Hasher() { XXH3_64bits_reset(&state_); }

  void Add(uint64_t number) {
    XXH3_64bits_update(&state_, &number, sizeof(number));
  }
  // With its size, so that no two lists of ranges are the same bytes.
  void Add(const ByteRange& range) {
    Add(range.size());
    ByteRange::Reader reader(range);
    for (size_t left = range.size(); left > 0;) {
      const size_t size = std::min(left, reader.contiguous_size());
      XXH3_64bits_update(&state_, reader.Next(size, nullptr), size);
      left -= size;
    }
  }
  void Add(Bytes bytes) { Add(ByteRange(bytes)); }
  void Add(const std::optional<double>& number) {
    Add(uint64_t{number.has_value()});
    Add(std::bit_cast<uint64_t>(number.value_or(0.0)));
  }
  void Add(const Shape& shape) {
    Add(Bytes(std::as_bytes(std::span(shape.dims()))));
  }

  uint64_t Digest() const { return XXH3_64bits_digest(&state_); }

 private:
  XXH3_state_t state_;
};

}  // namespace

uint64_t HashOf(const ApplyGradientRequest& request) {
  Hasher hasher;
  for (const TableGradient& table : request.tables) {
    hasher.Add(Bytes(std::as_bytes(std::span(table.table_name))));
    hasher.Add(uint64_t{table.table_uid.has_value()});
    if (table.table_uid) {
      hasher.Add(Bytes(std::as_bytes(std::span(table.table_uid->bytes))));
    }
    hasher.Add(table.learning_rate);
    hasher.Add(table.gradient_scale);
    hasher.Add(uint64_t{table.return_weight_gradients});
    hasher.Add(uint64_t{table.duplicates_summed});
    hasher.Add(table.ids_shape);
    hasher.Add(table.ids);
    hasher.Add(uint64_t{table.bags.has_value()});
    if (table.bags) {
      hasher.Add(static_cast<uint64_t>(table.bags->pooling));
      hasher.Add(Bytes(std::as_bytes(std::span(table.bags->offsets))));
      hasher.Add(table.bags->weights);
      hasher.Add(table.bags->winners);
    }
    hasher.Add(table.gradient_shape);
    hasher.Add(table.gradient);
    // Not of FLOAT32: there was no other when logs began to keep hashes.
    if (IsHalf(table.gradient_dtype)) {
      hasher.Add(static_cast<uint64_t>(table.gradient_dtype));
    }
  }
  return hasher.Digest();
}

}  // namespace quire::wire
