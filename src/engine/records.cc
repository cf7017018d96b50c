#include "engine/records.h"

#include <fmt/format.h>

#include <cstring>
#include <string_view>

#include "base/check.h"
#include "base/status.h"

namespace quire {
namespace {

// At the beginning of a push's record.
struct PushHead {
  SessionId session;
  uint64_t sequence = 0;  // 0: no session
  uint64_t hash = 0;
  uint64_t part_count = 0;
};
static_assert(sizeof(PushHead) == 40);

// Then as many of these.
struct PartHead {
  TableUid table;
  int64_t step = 0;
  double learning_rate = 0.0;
  double gradient_scale = 0.0;  // if kHasScale
  uint64_t id_count = 0;
  uint64_t offset_count = 0;  // bags + 1, if kHasBags
  uint64_t weight_count = 0;
  uint64_t winner_count = 0;
  uint64_t gradient_bytes = 0;
  uint32_t flags = 0;
  uint32_t pooling = 0;
};
static_assert(sizeof(PartHead) == 88);
// Then each part's arrays: ids, offsets, weights, winners, gradient; zeros up
// to a multiple of 8.

constexpr uint32_t kHasScale = 1;
constexpr uint32_t kHasBags = 2;

struct RowsHead {
  TableUid table;
  uint64_t id_count = 0;
  uint64_t value_count = 0;
  uint64_t state_count = 0;
};
static_assert(sizeof(RowsHead) == 40);

constexpr std::array<std::byte, 8> kZeros = {};

template <typename Element>
Bytes BytesOf(std::span<const Element> array) {
  return std::as_bytes(array);
}

absl::Status NoRecord(std::string_view why) {
  return Error(Reason::kCorrupt,
               fmt::format("a record of the log whose checksum is right is "
                           "none of this version: {}",
                           why));
}

// Takes what a record has, one after the other.
class Taker {
 public:
  explicit Taker(Bytes payload) : payload_(payload) {}

  template <typename Head>
  bool Take(Head& head) {
    if (payload_.size() < sizeof(head)) {
      return false;
    }
    std::memcpy(&head, payload_.data(), sizeof(head));
    payload_ = payload_.subspan(sizeof(head));
    return true;
  }
  template <typename Element>
  bool TakeArray(uint64_t count, std::span<const Element>& array) {
    if (payload_.size() / sizeof(Element) < count) {
      return false;
    }
    array = {reinterpret_cast<const Element*>(payload_.data()),
             static_cast<size_t>(count)};
    payload_ = payload_.subspan(array.size_bytes());
    return true;
  }
  // Of what has been taken from `begin` on.
  bool SkipPadding(const std::byte* begin) {
    const auto taken = static_cast<size_t>(payload_.data() - begin);
    std::span<const std::byte> padding;
    return TakeArray(-taken % 8, padding);
  }

  const std::byte* position() const { return payload_.data(); }
  bool is_at_end() const { return payload_.empty(); }

 private:
  Bytes payload_;
};

}  // namespace

PushRecordBytes::PushRecordBytes(const PushRecord& push) {
  heads_.resize(sizeof(PushHead) + push.parts.size() * sizeof(PartHead));
  PushHead head;
  if (push.id) {
    head.session = push.id->session;
    head.sequence = push.id->sequence;
    head.hash = push.id->hash;
  }
  head.part_count = push.parts.size();
  std::memcpy(heads_.data(), &head, sizeof(head));
  pieces_.reserve(1 + push.parts.size() * 3);
  Add(heads_);
  for (size_t i = 0; i < push.parts.size(); ++i) {
    const PushRecordPart& part = push.parts[i];
    PartHead part_head = {.table = part.table,
                          .step = part.step,
                          .learning_rate = part.learning_rate,
                          .gradient_scale = part.gradient_scale.value_or(0.0),
                          .id_count = part.ids.size(),
                          .gradient_bytes = part.gradient.size(),
                          .flags = part.gradient_scale ? kHasScale : 0};
    Add(BytesOf(part.ids));
    if (part.bags) {
      part_head.flags |= kHasBags;
      part_head.pooling = static_cast<uint32_t>(part.bags->pooling);
      part_head.offset_count = part.bags->offsets.size();
      part_head.weight_count = part.bags->weights.size();
      part_head.winner_count = part.bags->winners.size();
      Add(BytesOf(part.bags->offsets));
      Add(BytesOf(part.bags->weights));
      Add(BytesOf(part.bags->winners));
    }
    ByteRange::Reader gradient(part.gradient);
    for (size_t left = part.gradient.size(); left > 0;) {
      const size_t size = std::min(left, gradient.contiguous_size());
      Add({gradient.Next(size, nullptr), size});
      left -= size;
    }
    Add(Bytes(kZeros).first(-static_cast<size_t>(size_) % 8));
    std::memcpy(heads_.data() + sizeof(PushHead) + i * sizeof(PartHead),
                &part_head, sizeof(part_head));
  }
}

void PushRecordBytes::Add(Bytes piece) {
  if (!piece.empty()) {
    pieces_.push_back(piece);
    size_ += std::ssize(piece);
  }
}

void PushRecordBytes::Place(size_t part, int64_t step, double learning_rate) {
  PartHead head;
  std::byte* const place =
      heads_.data() + sizeof(PushHead) + part * sizeof(PartHead);
  std::memcpy(&head, place, sizeof(head));
  head.step = step;
  head.learning_rate = learning_rate;
  std::memcpy(place, &head, sizeof(head));
}

absl::StatusOr<PushRecord> ReadPushRecord(Bytes payload,
                                          std::vector<Bytes>& scratch) {
  Taker taker(payload);
  PushHead head;
  // Every part has a head.
  if (!taker.Take(head) ||
      payload.size() / sizeof(PartHead) < head.part_count) {
    return NoRecord("a push that is cut");
  }
  std::vector<PartHead> heads(static_cast<size_t>(head.part_count));
  for (PartHead& part_head : heads) {
    if (!taker.Take(part_head)) {
      return NoRecord("a push that is cut");
    }
  }
  PushRecord push;
  if (head.sequence != 0) {
    push.id = {
        .session = head.session, .sequence = head.sequence, .hash = head.hash};
  }
  scratch.clear();
  scratch.reserve(heads.size());
  for (const PartHead& part_head : heads) {
    PushRecordPart& part = push.parts.emplace_back(
        PushRecordPart{.table = part_head.table,
                       .step = part_head.step,
                       .learning_rate = part_head.learning_rate});
    if ((part_head.flags & kHasScale) != 0) {
      part.gradient_scale = part_head.gradient_scale;
    }
    Bags bags = {.pooling = static_cast<Pooling>(part_head.pooling)};
    Bytes gradient;
    if (!taker.TakeArray(part_head.id_count, part.ids) ||
        !taker.TakeArray(part_head.offset_count, bags.offsets) ||
        !taker.TakeArray(part_head.weight_count, bags.weights) ||
        !taker.TakeArray(part_head.winner_count, bags.winners) ||
        !taker.TakeArray(part_head.gradient_bytes, gradient) ||
        !taker.SkipPadding(payload.data())) {
      return NoRecord("a push that is cut");
    }
    if ((part_head.flags & kHasBags) != 0) {
      if (part_head.pooling > static_cast<uint32_t>(Pooling::kSqrtn) ||
          bags.offsets.empty()) {
        return NoRecord("a push with bags of an unknown kind");
      }
      part.bags = bags;
    }
    part.gradient = ByteRange(scratch.emplace_back(gradient));
  }
  if (!taker.is_at_end()) {
    return NoRecord("a push that has more than it says");
  }
  return push;
}

WriteRowsRecordBytes::WriteRowsRecordBytes(const WriteRowsRecord& rows) {
  const RowsHead head = {.table = rows.table,
                         .id_count = rows.ids.size(),
                         .value_count = rows.values.size(),
                         .state_count = rows.state.size()};
  std::memcpy(head_.data(), &head, sizeof(head));
  pieces_ = {Bytes(head_), BytesOf(rows.ids), BytesOf(rows.values),
             BytesOf(rows.state)};
  for (const Bytes& piece : pieces_) {
    size_ += std::ssize(piece);
  }
}

absl::StatusOr<WriteRowsRecord> ReadWriteRowsRecord(Bytes payload) {
  Taker taker(payload);
  RowsHead head;
  WriteRowsRecord rows;
  if (!taker.Take(head) || !taker.TakeArray(head.id_count, rows.ids) ||
      !taker.TakeArray(head.value_count, rows.values) ||
      !taker.TakeArray(head.state_count, rows.state) || !taker.is_at_end()) {
    return NoRecord("rows that are cut");
  }
  rows.table = head.table;
  return rows;
}

}  // namespace quire
