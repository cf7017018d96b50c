// The arrays of a request of the data plane, copied to where they are aligned
// and in one piece.
//
// A message holds ids, weights and winners wherever they came to lie;
// gradients, which are large, are read where they are, unless they are halves,
// which become floats here.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/byte_range.h"
#include "tensor/bags.h"
#include "wire/requests.h"

namespace quire {

// The memory of the copies. Spans and Bags that it gives live as long as it
// does; offsets of bags, as long as the request. One thread at a time.
class RequestArrays {
 public:
  // What the arrays of one table take, in bytes.
  static int64_t BytesOf(const ByteRange& ids,
                         const std::optional<wire::BagsRequest>& bags);

  // What `count` floats take, in bytes.
  static int64_t FloatBytes(int64_t count);

  // Room for `bytes`, the sum of those two over the tables.
  explicit RequestArrays(int64_t bytes);

  std::span<const int64_t> Ids(const ByteRange& ids) {
    return Copy<int64_t>(ids);
  }
  std::optional<Bags> BagsOf(const std::optional<wire::BagsRequest>& bags);
  // `count` floats, which `write` writes at once.
  ByteRange Floats(int64_t count,
                   const std::function<void(std::byte* out)>& write);

 private:
  template <typename Element>
  std::span<const Element> Copy(const ByteRange& range);

  std::unique_ptr<std::byte[]> memory_;
  std::byte* next_;
  // What ranges point to: grows without moving what it has.
  std::deque<Bytes> pieces_;
};

}  // namespace quire
