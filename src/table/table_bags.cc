// What a table does with bags.

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/faults.h"
#include "row/pooling.h"
#include "table/table.h"

namespace quire {
namespace {

// Floats of rows that are copied before they are pooled: they stay in the first
// cache.
constexpr size_t kPoolFloats = 4096;

// Occurrences that are to be pooled, in the order of ids.
struct Wanted {
  std::vector<const float*> rows;
  std::vector<size_t> bags;
  std::vector<int32_t> positions;
  std::vector<float> weights;  // empty for all 1

  void DropFirst(size_t count) {
    const auto drop = [count](auto& from) {
      from.erase(from.begin(), from.begin() + static_cast<ptrdiff_t>(std::min(
                                                  count, from.size())));
    };
    drop(rows);
    drop(bags);
    drop(positions);
    drop(weights);
  }
};

}  // namespace

void Table::GatherBags(std::span<const int64_t> ids, const Bags& bags,
                       std::byte* out, std::byte* winners,
                       ElementType type) const {
  const auto dim = static_cast<size_t>(layout_.dim);
  const size_t rows_at_a_time = std::max<size_t>(1, kPoolFloats / dim);
  std::vector<float> rows(rows_at_a_time * dim);
  BagPool pool(*layout_.kernels, bags.pooling, layout_.dim,
               config_.padding_idx.has_value());
  size_t open_bag = 0;  // those before it are finished
  const auto finish_until = [&](size_t bag) {
    for (; open_bag < bag; ++open_bag) {
      const size_t at = open_bag * dim;
      pool.Finish(out + at * ElementBytes(type),
                  winners == nullptr ? nullptr : winners + at * sizeof(int32_t),
                  type);
    }
  };

  Wanted wanted;
  size_t located = 0;  // ids that have been in `wanted`
  size_t bag = 0;
  while (true) {
    for (; located < ids.size() &&
           wanted.rows.size() < rows_at_a_time + kernels::kPrefetchRows;
         ++located) {
      while (bags.offsets[bag + 1] <= static_cast<int64_t>(located)) {
        ++bag;
      }
      if (ids[located] == config_.padding_idx &&
          !QUIRE_FAULT("mean_counts_padding")) {
        continue;
      }
      wanted.rows.push_back(RowOf(ids[located]));
      wanted.bags.push_back(bag);
      wanted.positions.push_back(static_cast<int32_t>(
          static_cast<int64_t>(located) - bags.offsets[bag]));
      if (!bags.weights.empty()) {
        wanted.weights.push_back(bags.weights[located]);
      }
    }
    const size_t count = std::min(wanted.rows.size(), rows_at_a_time);
    if (count == 0) {
      break;
    }
    GatherPointers(wanted.rows.data(), count, wanted.rows.size() - count,
                   reinterpret_cast<std::byte*>(rows.data()),
                   ElementType::kFloat32);
    for (size_t begin = 0, end = 0; begin < count; begin = end) {
      while (end < count && wanted.bags[end] == wanted.bags[begin]) {
        ++end;
      }
      finish_until(wanted.bags[begin]);
      pool.Take(rows.data() + begin * dim,
                wanted.weights.empty()
                    ? std::span<const float>()
                    : std::span(wanted.weights).subspan(begin, end - begin),
                std::span(wanted.positions).subspan(begin, end - begin));
    }
    wanted.DropFirst(count);
  }
  finish_until(static_cast<size_t>(bags.bag_count()));
}

void Table::WeightGradients(const GradientPart& part,
                            std::span<float> out) const {
  const Bags& bags = *part.bags;
  const auto dim = static_cast<size_t>(layout_.dim);
  const auto scale = static_cast<float>(part.gradient_scale.value_or(1.0));
  std::vector<float> gradient(dim);
  const size_t rows_at_a_time = std::max<size_t>(1, kPoolFloats / dim);
  std::vector<float> values(rows_at_a_time * dim);
  ByteRange::Reader reader(part.gradient);
  for (size_t b = 0; b + 1 < bags.offsets.size(); ++b) {
    const auto begin = static_cast<size_t>(bags.offsets[b]);
    const auto end = static_cast<size_t>(bags.offsets[b + 1]);
    auto* const bytes = reinterpret_cast<std::byte*>(gradient.data());
    const std::byte* read = reader.Next(dim * sizeof(float), bytes);
    if (read != bytes) {
      std::memcpy(bytes, read, dim * sizeof(float));
    }
    for (float& g : gradient) {
      g *= scale;
    }
    for (size_t i = begin; i < end; i += rows_at_a_time) {
      const auto ids = part.ids.subspan(i, std::min(rows_at_a_time, end - i));
      Gather(ids, reinterpret_cast<std::byte*>(values.data()));
      for (size_t j = 0; j < ids.size(); ++j) {
        const bool is_padding = ids[j] == config_.padding_idx &&
                                !QUIRE_FAULT("weight_gradient_of_padding");
        out[i + j] = is_padding
                         ? 0.0f
                         : layout_.kernels->dot(gradient.data(),
                                                values.data() + j * dim, dim);
      }
    }
  }
}

}  // namespace quire
