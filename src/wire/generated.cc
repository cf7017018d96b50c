#include "wire/generated.h"

#include <fmt/format.h>

#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "quire/v1/embedding.pb.h"
#include "wire/field_count.h"
#include "wire/piece_reader.h"

namespace quire::wire {
namespace {

template <typename Message>
constexpr bool kIsStreamRequest = requires(const Message& message) {
  message.request_id();
};

// A generated object, and the pieces that views of its arrays point to.
template <typename Message>
struct Storage {
  Message message;
  std::deque<Bytes> arrays;  // grows without moving what it has
};

// Shows one generated object as a draft.
class Converter {
 public:
  Converter(std::deque<Bytes>& arrays, Draft& draft)
      : arrays_(arrays), draft_(draft) {}

  void Convert(const v1::LookupRequest& request);
  void Convert(const v1::ApplyGradientRequest& request);
  void Convert(const v1::LookupResponse& response);

 private:
  // All entries of `tables`.
  template <typename Tables>
  void ConvertTables(const Tables& tables);

  void ConvertTable(const v1::TableLookup& source, TableDraft& target);
  void ConvertTable(const v1::TableGradient& source, TableDraft& target);
  void ConvertTable(const v1::TableLookupResult& source, TableDraft& target);

  void ConvertRef(const v1::TableRef& source, TableDraft& target);
  // If there are any: of a lookup or a push.
  template <typename Table>
  void ConvertBags(const Table& source, TableDraft& target);
  void ConvertIds(const v1::IdBatch& source, TableDraft& target);
  void ConvertTensor(const v1::Tensor& source, TableDraft& target);

  // The elements of a string or an array of numbers.
  template <typename Array>
  ByteRange View(const Array& array) {
    const std::span elements(array.data(), static_cast<size_t>(array.size()));
    return ByteRange(arrays_.emplace_back(std::as_bytes(elements)));
  }

  std::deque<Bytes>& arrays_;
  Draft& draft_;
};

ShapeDraft ConvertShape(const v1::Shape& source) {
  ShapeDraft target;
  target.present = true;
  target.dims.assign(source.dims().begin(), source.dims().end());
  return target;
}

Position PositionOf(const v1::Position& source) {
  return {.epoch = source.epoch(), .lsn = source.lsn()};
}

void Converter::Convert(const v1::LookupRequest& request) {
  if (request.has_min_position()) {
    draft_.position = PositionOf(request.min_position());
  }
  if (request.has_max_response_bytes()) {
    draft_.max_response_bytes = request.max_response_bytes();
  }
  ConvertTables(request.tables());
}

void Converter::Convert(const v1::ApplyGradientRequest& request) {
  if (request.has_push_id()) {
    draft_.push_id = {.session = View(request.push_id().session_id()),
                      .sequence = request.push_id().sequence()};
  }
  draft_.min_durability = request.min_durability();
  ConvertTables(request.tables());
}

void Converter::Convert(const v1::LookupResponse& response) {
  if (response.has_position()) {
    draft_.position = PositionOf(response.position());
  }
  ConvertTables(response.tables());
}

template <typename Tables>
void Converter::ConvertTables(const Tables& tables) {
  for (const auto& source : tables) {
    ConvertTable(source, draft_.tables.emplace_back());
  }
}

void Converter::ConvertTable(const v1::TableLookup& source,
                             TableDraft& target) {
  target.element_type = source.output_dtype();
  ConvertRef(source.table(), target);
  ConvertBags(source, target);
  ConvertIds(source.ids(), target);
}

void Converter::ConvertTable(const v1::TableGradient& source,
                             TableDraft& target) {
  ConvertRef(source.table(), target);
  if (source.has_learning_rate()) {
    target.learning_rate = source.learning_rate();
  }
  if (source.has_gradient_scale()) {
    target.gradient_scale = source.gradient_scale();
  }
  target.return_weight_gradients = source.return_weight_gradients();
  target.duplicates_summed = source.duplicates_summed();
  ConvertBags(source, target);
  ConvertIds(source.ids(), target);
  ConvertTensor(source.gradient(), target);
}

void Converter::ConvertTable(const v1::TableLookupResult& source,
                             TableDraft& target) {
  target.uid = View(source.table_uid());
  target.winners = View(source.winners());
  ConvertTensor(source.embeddings(), target);
}

void Converter::ConvertRef(const v1::TableRef& source, TableDraft& target) {
  target.name = source.name();
  target.uid = View(source.uid());
}

template <typename Table>
void Converter::ConvertBags(const Table& source, TableDraft& target) {
  if (!source.has_bags()) {
    return;
  }
  const v1::Bags& bags = source.bags();
  target.bags = {.pooling = bags.pooling(),
                 .return_winners = bags.return_winners(),
                 .offsets = {bags.offsets().begin(), bags.offsets().end()},
                 .weights = View(bags.weights()),
                 .winners = View(bags.winners())};
  draft_.offset_count += bags.offsets_size();
}

void Converter::ConvertIds(const v1::IdBatch& source, TableDraft& target) {
  if (source.has_shape()) {
    target.ids_shape = ConvertShape(source.shape());
  }
  target.ids = View(source.ids());
}

void Converter::ConvertTensor(const v1::Tensor& source, TableDraft& target) {
  if (source.has_shape()) {
    target.values_shape = ConvertShape(source.shape());
  }
  target.element_type = source.dtype();
  target.values = View(source.values());
  target.packed = View(source.packed());
}

// All of a message in one run, as the generated parser wants it: the piece
// itself if there is but one, else a copy in `flat`.
Bytes Flatten(std::span<const Bytes> pieces, size_t size, std::string& flat) {
  if (pieces.size() == 1) {
    return pieces[0];
  }
  flat.resize(size);
  const std::span<std::byte> out = std::as_writable_bytes(std::span(flat));
  ByteRange(pieces.data(), 0, size).CopyTo(out.data());
  return out;
}

template <typename Message>
absl::Status ParseMessage(std::span<const Bytes> pieces, Message& message) {
  const size_t size = PieceReader(pieces).left();
  if (size > std::numeric_limits<int32_t>::max()) {
    return Error(Reason::kTooLarge,
                 fmt::format("a message of {} bytes; protobuf has no messages "
                             "over 2 GiB",
                             size));
  }
  QUIRE_RETURN_IF_ERROR(CheckFieldCount(pieces, *Message::descriptor()));
  std::string flat;
  const Bytes bytes = Flatten(pieces, size, flat);
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Error(Reason::kMalformed,
                 fmt::format("the {} bytes received are not a {}", size,
                             Message::descriptor()->full_name()));
  }
  return absl::OkStatus();
}

// The request_id of a stream's message that is refused as a whole, if it can
// be read all the same.
std::optional<uint64_t> FindRequestId(std::span<const Bytes> pieces) {
  using Request = v1::LookupStreamRequest;
  static_assert(int{Request::kRequestIdFieldNumber} ==
                int{v1::ApplyGradientStreamRequest::kRequestIdFieldNumber});
  std::optional<uint64_t> found;
  PieceReader in(pieces);
  while (!in.AtEnd()) {
    const uint32_t tag = static_cast<uint32_t>(in.Varint());
    if (tag == TagOf(Request::kRequestIdFieldNumber, WireType::kVarint)) {
      const uint64_t request_id = in.Varint();
      found = in.ok() ? request_id : found;
    } else if (TypeOf(tag) == WireType::kStartGroup) {
      in.Fail();  // what follows is not ours
    } else {
      in.Skip(TypeOf(tag));
    }
  }
  return in.ok() ? found.value_or(0) : found;
}

}  // namespace

template <typename Message>
absl::Status ReadGenerated(std::span<const Bytes> pieces, Draft& draft) {
  auto storage = std::make_shared<Storage<Message>>();
  draft.storage = storage;
  const Message& message = storage->message;
  const absl::Status parsed = ParseMessage(pieces, storage->message);
  if constexpr (kIsStreamRequest<Message>) {
    draft.request_id =
        parsed.ok() ? message.request_id() : FindRequestId(pieces);
  }
  QUIRE_RETURN_IF_ERROR(parsed);
  Converter converter(storage->arrays, draft);
  if constexpr (kIsStreamRequest<Message>) {
    converter.Convert(message.request());
  } else {
    converter.Convert(message);
  }
  return absl::OkStatus();
}

template absl::Status ReadGenerated<v1::LookupRequest>(std::span<const Bytes>,
                                                       Draft&);
template absl::Status ReadGenerated<v1::LookupStreamRequest>(
    std::span<const Bytes>, Draft&);
template absl::Status ReadGenerated<v1::ApplyGradientRequest>(
    std::span<const Bytes>, Draft&);
template absl::Status ReadGenerated<v1::ApplyGradientStreamRequest>(
    std::span<const Bytes>, Draft&);
template absl::Status ReadGenerated<v1::LookupResponse>(std::span<const Bytes>,
                                                        Draft&);

}  // namespace quire::wire
