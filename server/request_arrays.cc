#include "server/request_arrays.h"

namespace quire {
namespace {

// Every copy begins at a multiple of this.
constexpr size_t kAlignment = alignof(int64_t);

size_t RoomFor(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

size_t RoomFor(const ByteRange& range) { return RoomFor(range.size()); }

}  // namespace

int64_t RequestArrays::BytesOf(const ByteRange& ids,
                               const std::optional<wire::BagsRequest>& bags) {
  size_t bytes = RoomFor(ids);
  if (bags) {
    bytes += RoomFor(bags->weights) + RoomFor(bags->winners);
  }
  return static_cast<int64_t>(bytes);
}

int64_t RequestArrays::FloatBytes(int64_t count) {
  return static_cast<int64_t>(
      RoomFor(static_cast<size_t>(count) * sizeof(float)));
}

RequestArrays::RequestArrays(int64_t bytes)
    : memory_(std::make_unique_for_overwrite<std::byte[]>(
          static_cast<size_t>(bytes))),
      next_(memory_.get()) {}

std::optional<Bags> RequestArrays::BagsOf(
    const std::optional<wire::BagsRequest>& bags) {
  if (!bags) {
    return std::nullopt;
  }
  return Bags{.pooling = bags->pooling,
              .offsets = bags->offsets,
              .weights = Copy<float>(bags->weights),
              .winners = Copy<int32_t>(bags->winners)};
}

ByteRange RequestArrays::Floats(
    int64_t count, const std::function<void(std::byte* out)>& write) {
  const Bytes& floats =
      pieces_.emplace_back(next_, static_cast<size_t>(count) * sizeof(float));
  write(next_);
  next_ += RoomFor(floats.size());
  return ByteRange(floats);
}

template <typename Element>
std::span<const Element> RequestArrays::Copy(const ByteRange& range) {
  std::byte* const copy = next_;
  range.CopyTo(copy);
  next_ += RoomFor(range);
  return {reinterpret_cast<const Element*>(copy),
          range.size() / sizeof(Element)};
}

template std::span<const int64_t> RequestArrays::Copy<int64_t>(
    const ByteRange& range);

}  // namespace quire
