#include "client/halves.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>

#include "base/check.h"
#include "base/status.h"
#include "kernels/kernels.h"

namespace quire {
namespace {

// The feature of a server that gives and takes them.
constexpr std::string_view kHalf = "half";

constexpr size_t kHalfBytes = 2;

const kernels::HalfKernels& KernelsOf(ElementType type) {
  static const kernels::Kernels& kernels = kernels::BestKernels();
  QUIRE_DCHECK(IsHalf(type), "floats are not rounded");
  return type == ElementType::kFloat16 ? kernels.float16 : kernels.bfloat16;
}

// Of the first float that is finite, and not when it is rounded.
std::optional<size_t> FirstTooLarge(ElementType type,
                                    std::span<const float> floats) {
  // Half a step of the last bit beyond the largest.
  const uint32_t first =
      type == ElementType::kFloat16 ? 0x477FF000 : 0x7F7F8000;
  constexpr uint32_t kInfinity = 0x7F800000;
  const auto is_too_large = [=](float x) {
    return (std::bit_cast<uint32_t>(x) & 0x7FFFFFFF) - first <
           kInfinity - first;
  };
  // A chunk at once: nearly all are clean.
  constexpr size_t kChunk = 256;
  for (size_t begin = 0; begin < floats.size(); begin += kChunk) {
    const auto chunk =
        floats.subspan(begin, std::min(kChunk, floats.size() - begin));
    bool found = false;
    for (const float x : chunk) {
      found |= is_too_large(x);
    }
    if (found) {
      return begin +
             static_cast<size_t>(std::ranges::find_if(chunk, is_too_large) -
                                 chunk.begin());
    }
  }
  return std::nullopt;
}

}  // namespace

void Widen(ElementType type, const ByteRange& numbers, float* out) {
  auto* bytes = reinterpret_cast<std::byte*>(out);
  if (!IsHalf(type)) {
    return numbers.CopyTo(bytes);
  }
  ByteRange::Reader reader(numbers);
  std::array<std::byte, kHalfBytes> cut;
  for (size_t left = numbers.size() / kHalfBytes; left > 0;) {
    // As many as lie together, or the one that is cut.
    const size_t together =
        std::min(reader.contiguous_size() / kHalfBytes, left);
    const size_t count = std::max<size_t>(together, 1);
    KernelsOf(type).widen(reader.Next(count * kHalfBytes, cut.data()), count,
                          bytes);
    bytes += count * sizeof(float);
    left -= count;
  }
}

std::optional<size_t> Round(ElementType type, std::span<const float> floats,
                            std::byte* out) {
  KernelsOf(type).round(reinterpret_cast<const std::byte*>(floats.data()),
                        floats.size(), out);
  return FirstTooLarge(type, floats);
}

float LargestOf(ElementType type) {
  return type == ElementType::kFloat16 ? 65504.0f
                                       : std::bit_cast<float>(0x7F7F0000);
}

absl::Status CheckWireType(ElementType type, size_t item_index,
                           const v1::GetServerInfoResponse& server) {
  const std::string field = fmt::format("items[{}].wire_dtype", item_index);
  if (type != ElementType::kFloat32 && !IsHalf(type)) {
    return Error(Reason::kBadValue,
                 fmt::format("wire_dtype is {}; it is FLOAT32, FLOAT16 or "
                             "BFLOAT16",
                             static_cast<int>(type)),
                 field);
  }
  if (IsHalf(type) && std::ranges::count(server.features(), kHalf) == 0) {
    return Error(Reason::kNotBuilt,
                 fmt::format("the server has no {} (among its features is no "
                             "'half'); leave wire_dtype at FLOAT32",
                             ElementTypeName(type)),
                 field);
  }
  return absl::OkStatus();
}

}  // namespace quire
