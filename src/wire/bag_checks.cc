#include "wire/bag_checks.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/limits.h"
#include "base/status.h"
#include "quire/v1/embedding.pb.h"

namespace quire::wire {
namespace {

std::optional<Pooling> PoolingOf(int pooling) {
  switch (pooling) {
    case v1::Bags::POOLING_SUM:
      return Pooling::kSum;
    case v1::Bags::POOLING_MEAN:
      return Pooling::kMean;
    case v1::Bags::POOLING_MAX:
      return Pooling::kMax;
    case v1::Bags::POOLING_SQRTN:
      return Pooling::kSqrtn;
    default:
      return std::nullopt;
  }
}

std::string PoolingName(const BagsDraft& bags) {
  return v1::Bags::Pooling_Name(static_cast<v1::Bags::Pooling>(bags.pooling));
}

absl::Status BadValue(std::string_view field, std::string_view sentence) {
  return Error(Reason::kBadValue, sentence, field);
}

absl::Status BadShape(std::string_view field, std::string_view sentence) {
  return Error(Reason::kBadShape, sentence, field);
}

// Of lookups and pushes alike.
absl::Status CheckPooling(const BagsDraft& bags) {
  if (!PoolingOf(bags.pooling)) {
    return BadValue("bags.pooling",
                    fmt::format("bags have pooling {}; set it to POOLING_SUM, "
                                "POOLING_MEAN, POOLING_MAX or POOLING_SQRTN",
                                bags.pooling));
  }
  if (!bags.weights.empty() && bags.pooling != v1::Bags::POOLING_SUM) {
    return BadValue("bags.weights",
                    fmt::format("weights came with {}; they go with "
                                "POOLING_SUM only, leave them out",
                                PoolingName(bags)));
  }
  return absl::OkStatus();
}

absl::Status CheckOffsets(const std::vector<int64_t>& offsets,
                          int64_t id_count) {
  if (!offsets.empty() && offsets[0] != 0) {
    return BadValue(
        "bags.offsets[0]",
        fmt::format("offsets[0] is {}; the first bag starts at 0", offsets[0]));
  }
  for (size_t i = 1; i < offsets.size(); ++i) {
    if (offsets[i] < offsets[i - 1]) {
      return BadValue(
          fmt::format("bags.offsets[{}]", i),
          fmt::format("offsets[{}] is {}, less than offsets[{}], which is {}; "
                      "offsets ascend",
                      i, offsets[i], i - 1, offsets[i - 1]));
    }
    if (offsets[i] > id_count) {
      return BadValue(
          fmt::format("bags.offsets[{}]", i),
          fmt::format("offsets[{}] is {}, beyond the {} ids that came; a bag "
                      "starts at or before their end",
                      i, offsets[i], id_count));
    }
  }
  return absl::OkStatus();
}

absl::Status AddBags(int64_t count, int64_t& bag_count) {
  if (count > kIdsPerRequestMax - bag_count) {
    return Error(
        Reason::kTooLarge,
        fmt::format("{} bags in one request up to here; at most {} are "
                    "allowed, send several requests",
                    bag_count + count, kIdsPerRequestMax),
        "bags");
  }
  bag_count += count;
  return absl::OkStatus();
}

// Ids of rank 2: one bag per row.
absl::Status BagsOfRows(const BagsDraft& draft, const Shape& ids_shape,
                        int64_t& bag_count, std::vector<int64_t>& offsets) {
  const int64_t rows = ids_shape.dims()[0];
  const int64_t columns = ids_shape.dims()[1];
  if (!draft.offsets.empty()) {
    return BadShape(
        "bags.offsets",
        fmt::format(
            "{} offsets came with ids of shape {}, of which each row is "
            "a bag; leave the offsets out, or send ids of rank 1",
            draft.offsets.size(), ids_shape.ToString()));
  }
  QUIRE_RETURN_IF_ERROR(AddBags(rows, bag_count));
  offsets.reserve(static_cast<size_t>(rows) + 1);
  for (int64_t row = 0; row <= rows; ++row) {
    offsets.push_back(row * columns);
  }
  return absl::OkStatus();
}

// Ids of rank 1: bags as the offsets say.
absl::Status BagsAtOffsets(BagsDraft& draft, int64_t id_count,
                           int64_t& bag_count, std::vector<int64_t>& offsets) {
  if (draft.offsets.empty() && id_count > 0) {
    return BadShape("bags.offsets",
                    fmt::format("{} ids of rank 1 came without offsets; say "
                                "where each bag starts, or send ids of rank 2, "
                                "a row for each bag",
                                id_count));
  }
  QUIRE_RETURN_IF_ERROR(CheckOffsets(draft.offsets, id_count));
  QUIRE_RETURN_IF_ERROR(
      AddBags(static_cast<int64_t>(draft.offsets.size()), bag_count));
  offsets = std::move(draft.offsets);
  offsets.push_back(id_count);
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckLookupBags(const BagsDraft& bags) {
  QUIRE_RETURN_IF_ERROR(CheckPooling(bags));
  if (!bags.winners.empty()) {
    return BadValue("bags.winners",
                    "a lookup came with winners; they go with a push, set "
                    "return_winners to get them");
  }
  if (bags.return_winners && bags.pooling != v1::Bags::POOLING_MAX) {
    return BadValue("bags.return_winners",
                    fmt::format("return_winners came with {}; only POOLING_MAX "
                                "has winners, leave it out",
                                PoolingName(bags)));
  }
  return absl::OkStatus();
}

absl::Status CheckGradientBags(const BagsDraft& bags, int64_t gradient_count) {
  QUIRE_RETURN_IF_ERROR(CheckPooling(bags));
  if (bags.return_winners) {
    return BadValue("bags.return_winners",
                    "a push came with return_winners; it goes with a lookup, "
                    "leave it out");
  }
  const auto winner_count =
      static_cast<int64_t>(bags.winners.size() / sizeof(int32_t));
  if (bags.pooling != v1::Bags::POOLING_MAX) {
    return winner_count == 0
               ? absl::OkStatus()
               : BadValue("bags.winners",
                          fmt::format("winners came with {}; they go with "
                                      "POOLING_MAX only, leave them out",
                                      PoolingName(bags)));
  }
  if (winner_count == 0 && gradient_count > 0) {
    return BadValue("bags.winners",
                    "a push of POOLING_MAX came without winners; send those "
                    "that the lookup gives when its bags.return_winners is "
                    "set");
  }
  if (winner_count != gradient_count) {
    return BadShape("bags.winners",
                    fmt::format("{} winners came with a gradient of {} floats; "
                                "send one for each",
                                winner_count, gradient_count));
  }
  return absl::OkStatus();
}

absl::Status CheckWeightGradients(const TableDraft& table) {
  if (!table.return_weight_gradients ||
      (table.bags && table.bags->pooling == v1::Bags::POOLING_SUM &&
       (!table.bags->weights.empty() || table.ids.empty()))) {
    return absl::OkStatus();
  }
  return BadValue("return_weight_gradients",
                  "gradients of weights are wanted, but no weights came; send "
                  "bags of POOLING_SUM with weights, or leave it out");
}

absl::Status ResolveBags(BagsDraft& draft, const Shape& ids_shape,
                         int64_t& bag_count, BagsRequest& bags) {
  const int64_t id_count = ids_shape.element_count();
  if (ids_shape.rank() != 1 && ids_shape.rank() != 2) {
    return BadShape("ids.shape",
                    fmt::format("ids of shape {} came with bags; send ids of "
                                "rank 1 with offsets, or of rank 2, a row for "
                                "each bag",
                                ids_shape.ToString()));
  }
  const auto weight_count =
      static_cast<int64_t>(draft.weights.size() / sizeof(float));
  if (weight_count != 0 && weight_count != id_count) {
    return BadShape("bags.weights",
                    fmt::format("{} weights came with {} ids; send one for "
                                "each, or none for all 1",
                                weight_count, id_count));
  }
  QUIRE_RETURN_IF_ERROR(
      ids_shape.rank() == 2
          ? BagsOfRows(draft, ids_shape, bag_count, bags.offsets)
          : BagsAtOffsets(draft, id_count, bag_count, bags.offsets));
  bags.pooling = *PoolingOf(draft.pooling);
  bags.weights = draft.weights;
  bags.winners = draft.winners;
  bags.return_winners = draft.return_winners;
  return absl::OkStatus();
}

}  // namespace quire::wire
