// What the client gives, as C takes it.

#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/client_c.h"

namespace quire::c {

// Labels that own their bytes, and the view of them that C has.
class OwnedLabels {
 public:
  // Copies an array of strings.
  template <typename Strings>
  explicit OwnedLabels(const Strings& labels) : offsets_{0} {
    for (const std::string& label : labels) {
      text_ += label;
      offsets_.push_back(static_cast<int64_t>(text_.size()));
    }
    view_ = {.text = text_.data(),
             .offsets = offsets_.data(),
             .count = static_cast<int64_t>(offsets_.size()) - 1};
  }
  OwnedLabels(const OwnedLabels&) = delete;
  OwnedLabels& operator=(const OwnedLabels&) = delete;

  quire_labels* view() { return &view_; }
  const quire_labels* view() const { return &view_; }

 private:
  // First, so that C's pointer is this object's.
  quire_labels view_;
  std::string text_;
  std::vector<int64_t> offsets_;
};

// A message as JSON, to be freed with quire_text_free.
absl::StatusOr<char*> WriteJson(const google::protobuf::Message& message);

quire_position PositionOf(const std::optional<v1::Position>& position);

// What C wants to know of a push.
struct PushTargets {
  // [items] of ids, and where their weight gradients go, or NULL.
  std::vector<int64_t> id_counts;
  std::vector<float*> weight_gradients;
};
PushTargets TargetsOf(std::span<const quire_gradient_item> items);

// Copies weight gradients to where they go. BUG if a server sent too many or
// too few.
absl::Status CopyWeightGradients(const Pushed& pushed,
                                 const PushTargets& targets);

// Copies the figures, to what is not NULL.
void CopyPushed(const Pushed& from, quire_pushed* pushed,
                quire_pushed_table* tables);

// Rows of a response. BUG if its tensors are not as many as they say.
absl::StatusOr<quire_rows*> RowsOf(v1::ReadRowsResponse response);
absl::StatusOr<quire_rows*> RowsOf(v1::ExportTableResponse::Chunk chunk);

}  // namespace quire::c

// Constant after construction.
struct quire_rows {
  quire::v1::ExportTableResponse::Chunk chunk;
  int64_t count;
  int64_t dim;
  int64_t state_dim;
  // NULL if there are none.
  std::unique_ptr<quire::c::OwnedLabels> labels;
};

// Constant after construction.
struct quire_neighbours {
  std::vector<int64_t> offsets = {0};
  std::vector<int64_t> ids;
  std::vector<float> scores;
  std::unique_ptr<quire::c::OwnedLabels> labels;
};
