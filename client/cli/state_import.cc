#include "client/cli/state_import.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/status.h"
#include "client/cli/failure.h"
#include "client/cli/interrupt.h"
#include "client/cli/optimizer_options.h"
#include "client/formats/input_error.h"
#include "client/terminal/progress.h"

namespace quire::cli {
namespace {

using formats::RowBlock;
using formats::RowReader;
using formats::StatePart;

constexpr int64_t kBlockBytes = int64_t{4} << 20;

// Whether the formula of a push has the number of steps in it: docs/OPTIMIZERS.
bool CountsSteps(const v1::Optimizer& optimizer) {
  switch (optimizer.kind_case()) {
    case v1::Optimizer::kAdagrad:
      return optimizer.adagrad().lr_decay() != 0;
    case v1::Optimizer::kRowwiseAdagrad:
    case v1::Optimizer::kLarsSgd:
    case v1::Optimizer::kFtrl:
      return false;
    default:
      return true;
  }
}

std::string TextOf(const std::vector<StatePart>& parts) {
  std::vector<std::string> texts;
  for (const StatePart& part : parts) {
    texts.push_back(fmt::format("{} [{}]", part.name, part.floats));
  }
  return texts.empty() ? "none" : fmt::format("{}", fmt::join(texts, ", "));
}

// Where in a row of a file's state each float of the table's state is.
absl::StatusOr<std::vector<size_t>> Places(
    const std::vector<StatePart>& found, const std::vector<StatePart>& wanted) {
  std::vector<size_t> places;
  for (const StatePart& part : wanted) {
    size_t begin = 0;
    const auto same = std::ranges::find_if(found, [&](const StatePart& other) {
      begin += other == part ? 0 : static_cast<size_t>(other.floats);
      return other == part;
    });
    if (same == found.end() || found.size() != wanted.size()) {
      return formats::InputError(fmt::format(
          "the file has the optimizer state {}; the table's optimizer needs {}",
          TextOf(found), TextOf(wanted)));
    }
    for (int64_t i = 0; i < part.floats; ++i) {
      places.push_back(begin + static_cast<size_t>(i));
    }
  }
  return places;
}

// The parts of the state of a table with rows.
absl::StatusOr<std::vector<StatePart>> PartsOf(Client& client,
                                               const std::string& table) {
  QUIRE_ASSIGN_OR_RETURN(const v1::GetRowResponse row, client.GetRow(table, 0));
  std::vector<StatePart> parts;
  for (const v1::GetRowResponse::State& state : row.state()) {
    parts.push_back({.name = state.name(), .floats = state.values_size()});
  }
  return parts;
}

void SetMatrix(int64_t rows, int64_t columns, v1::Tensor& tensor) {
  tensor.mutable_shape()->add_dims(static_cast<int32_t>(rows));
  tensor.mutable_shape()->add_dims(static_cast<int32_t>(columns));
  tensor.mutable_values()->Reserve(static_cast<int>(rows * columns));
}

v1::WriteRowsRequest RequestOf(const std::string& table, int64_t first_id,
                               const RowBlock& block,
                               std::span<const size_t> places) {
  v1::WriteRowsRequest request;
  request.mutable_table()->set_name(table);
  for (int64_t row = 0; row < block.row_count; ++row) {
    request.mutable_ids()->add_ids(first_id + row);
  }
  SetMatrix(block.row_count, std::ssize(block.values) / block.row_count,
            *request.mutable_values());
  request.mutable_values()->mutable_values()->Add(block.values.begin(),
                                                  block.values.end());
  SetMatrix(block.row_count, std::ssize(places), *request.mutable_state());
  auto& state = *request.mutable_state()->mutable_values();
  for (size_t begin = 0; begin < block.state.size(); begin += places.size()) {
    for (const size_t place : places) {
      state.Add(block.state[begin + place]);
    }
  }
  return request;
}

absl::Status WriteRows(RowReader& reader, const std::string& table,
                       Session& session) {
  const formats::RowFileInfo& info = reader.info();
  if (info.row_count == 0) {
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(const std::vector<StatePart> parts,
                         PartsOf(*client, table));
  QUIRE_ASSIGN_OR_RETURN(const std::vector<size_t> places,
                         Places(info.state, parts));
  const terminal::Screen screen = session.screen();
  terminal::Progress progress("importing state", "rows", info.row_count,
                              {.file = stderr,
                               .is_terminal = screen.error.is_terminal,
                               .columns = screen.columns});
  int64_t sent = 0;
  for (RowBlock block;;) {
    QUIRE_RETURN_IF_ERROR(reader.Read(RowsPerBlock(info), block));
    if (block.row_count == 0) {
      return absl::OkStatus();
    }
    QUIRE_RETURN_IF_ERROR(
        client->WriteRows(RequestOf(table, sent, block, places)).status());
    sent += block.row_count;
    progress.Update(sent);
    if (interrupted()) {
      return InterruptedError();
    }
  }
}

absl::Status Thaw(const std::string& table, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  v1::AlterTableRequest request;
  request.mutable_table()->set_name(table);
  request.set_frozen(false);
  return client->AlterTable(request).status();
}

}  // namespace

int64_t RowsPerBlock(const formats::RowFileInfo& info) {
  const int64_t floats = info.dim + formats::StateFloats(info.state);
  return std::max<int64_t>(
      1, kBlockBytes / (floats * static_cast<int64_t>(sizeof(float))));
}

absl::Status CheckStateImport(const v1::TableSpec& spec) {
  if (!spec.has_optimizer()) {
    return formats::InputError(
        "the file does not say whose its optimizer state is: give --optimizer");
  }
  if (CountsSteps(spec.optimizer())) {
    const std::string summary = OptimizerSummary(spec.optimizer());
    return formats::InputError(fmt::format(
        "the steps of {} depend on how many there were, and an import cannot "
        "set that number: its state would go on wrongly. Leave --state out; a "
        "backup (quire backup) keeps state and steps",
        summary.substr(0, summary.find(','))));
  }
  return absl::OkStatus();
}

absl::Status ImportState(RowReader& reader, const v1::TableSpec& spec,
                         Session& session) {
  absl::Status status = WriteRows(reader, spec.name(), session);
  if (status.ok() && !spec.frozen()) {
    status = Thaw(spec.name(), session);
  }
  if (status.ok()) {
    return status;
  }
  const absl::StatusOr<Client*> client = session.client();
  if (!client.ok() || !(*client)->DropTable(spec.name()).ok()) {
    fmt::print(stderr,
               "quire: table '{}' is there, frozen and without its whole "
               "optimizer state; drop it\n",
               spec.name());
  }
  return status;
}

}  // namespace quire::cli
