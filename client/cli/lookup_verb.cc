#include <fmt/format.h>

#include <charconv>
#include <iterator>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "client/bags.h"
#include "client/cli/output.h"
#include "client/cli/row_options.h"
#include "client/cli/verbs.h"
#include "client/formats/input_error.h"
#include "client/formats/npy_header.h"
#include "client/formats/numbers.h"
#include "client/terminal/nested_json.h"
#include "client/terminal/tensor_text.h"
#include "tensor/bags.h"

namespace quire::cli {
namespace {

using terminal::IdBatch;
using enum OutputFormat;

struct LookupOptions {
  std::string table;
  RowOptions rows;
  std::optional<Pooling> pooling;
  std::vector<int64_t> offsets;
  std::vector<float> weights;
  // EPOCH:LSN, or empty.
  std::string min_position;
  OutputFormat output = kTable;
  bool full = false;
};

// The result as one document, shape and numbers.
std::string DocumentOf(const std::string& table, const IdBatch& batch,
                       const FloatTensor& rows,
                       const std::optional<v1::Position>& position) {
  std::string text = "{\"table\":";
  terminal::AppendJsonString(table, text);
  text += ",\"ids\":";
  terminal::AppendNestedJson(batch.shape, std::span(batch.ids), text);
  const Shape rank = {static_cast<int64_t>(rows.shape.rank())};
  text += ",\"shape\":";
  terminal::AppendNestedJson(rank, rows.shape.dims(), text);
  if (position) {
    fmt::format_to(std::back_inserter(text),
                   ",\"position\":{{\"epoch\":{},\"lsn\":{}}}",
                   position->epoch(), position->lsn());
  }
  text += ",\"embeddings\":";
  terminal::AppendNestedJson(rows.shape, std::span(rows.values), text);
  return text + "}\n";
}

// Calls add(id, row) for each row.
template <typename F>
void ForEachRow(const IdBatch& batch, const FloatTensor& rows, F add) {
  const auto dim = static_cast<size_t>(rows.shape.dim(rows.shape.rank() - 1));
  for (size_t i = 0; i < batch.ids.size(); ++i) {
    add(batch.ids[i], std::span(rows.values).subspan(i * dim, dim));
  }
}

std::string LinesOf(const IdBatch& batch, const FloatTensor& rows) {
  std::string text;
  ForEachRow(batch, rows, [&text](int64_t id, std::span<const float> row) {
    fmt::format_to(std::back_inserter(text), "{{\"id\":{},\"embedding\":", id);
    terminal::AppendNestedJson({std::ssize(row)}, row, text);
    text += "}\n";
  });
  return text;
}

std::string CsvTitles(const FloatTensor& rows) {
  std::string text = "id";
  for (int64_t i = 0; i < rows.shape.dim(rows.shape.rank() - 1); ++i) {
    fmt::format_to(std::back_inserter(text), ",{}", i);
  }
  return text + "\n";
}

std::string CsvOf(const IdBatch& batch, const FloatTensor& rows) {
  std::string text;
  ForEachRow(batch, rows, [&text](int64_t id, std::span<const float> row) {
    fmt::format_to(std::back_inserter(text), "{}", id);
    for (const float value : row) {
      text += ',';
      formats::AppendFloat(value, text);
    }
    text += '\n';
  });
  return text;
}

void PrintRows(const LookupOptions& options, const IdBatch& batch,
               const FloatTensor& rows,
               const std::optional<v1::Position>& position, bool is_first) {
  switch (options.output) {
    case kTable:
      Print(fmt::format(
          "{}{}\nshape {}\n", is_first ? "" : "\n",
          terminal::TensorText(rows.shape, rows.values, options.full),
          rows.shape.ToString()));
      return;
    case kJson:
      Print(DocumentOf(options.table, batch, rows, position));
      return;
    case kJsonLines:
      Print(LinesOf(batch, rows));
      return;
    case kCsv:
      Print((is_first ? CsvTitles(rows) : "") + CsvOf(batch, rows));
      return;
    case kNpy:
      Print(formats::MakeNpyHeader(rows.shape.dims()));
      Print({reinterpret_cast<const char*>(rows.values.data()),
             rows.values.size() * sizeof(float)});
      return;
  }
}

absl::Status CheckPooling(const LookupOptions& options) {
  if (!options.pooling) {
    return options.offsets.empty() && options.weights.empty()
               ? absl::OkStatus()
               : formats::InputError(
                     "--offsets and --weights are of bags; add --pool");
  }
  return options.output == kJsonLines || options.output == kCsv
             ? formats::InputError(
                   "-o jsonl and -o csv have a line for each id, and a bag has "
                   "several; take table, json or npy")
             : absl::OkStatus();
}

// Where the bags of a batch begin, and at last where its ids end.
absl::StatusOr<std::vector<int64_t>> OffsetsOf(const LookupOptions& options,
                                               const IdBatch& batch) {
  std::vector<int64_t> offsets = options.offsets;
  if (batch.shape.rank() == 2 && offsets.empty()) {
    for (int64_t row = 0; row <= batch.shape.dim(0); ++row) {
      offsets.push_back(row * batch.shape.dim(1));
    }
    return offsets;
  }
  if (batch.shape.rank() != 1 || (offsets.empty() && !batch.ids.empty())) {
    return formats::InputError(fmt::format(
        "ids of shape {}{}: bags are the rows of '[[1,2],[3,4]]', or begin in "
        "plain ids where --offsets says",
        batch.shape.ToString(), offsets.empty() ? "" : " and --offsets"));
  }
  offsets.push_back(std::ssize(batch.ids));
  return offsets;
}

absl::StatusOr<FloatTensor> LookupBags(const LookupOptions& options,
                                       const IdBatch& batch,
                                       const quire::LookupOptions& lookup,
                                       Client& client) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<int64_t> offsets,
                         OffsetsOf(options, batch));
  const Bags bags = {.pooling = *options.pooling,
                     .offsets = offsets,
                     .weights = options.weights};
  if (const absl::Status typed = CheckBags(bags, batch.ids.size(), "");
      !typed.ok()) {
    return formats::InputError(std::string(typed.message()));
  }
  return client.LookupBags(options.table, batch.ids, bags, lookup);
}

absl::Status CheckNpy(const LookupOptions& options, size_t batch_count,
                      const Session& session) {
  if (options.output != kNpy) {
    return absl::OkStatus();
  }
  if (session.screen().out.is_terminal) {
    return formats::InputError(
        "-o npy is bytes, and standard output is a terminal; add > FILE.npy");
  }
  if (batch_count != 1) {
    return formats::InputError(
        fmt::format("-o npy holds one batch, and there are {}", batch_count));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<v1::Position>> ReadPosition(
    const std::string& text) {
  if (text.empty()) {
    return std::nullopt;
  }
  const char* const end = text.data() + text.size();
  const auto read = [end](const char* from, uint64_t& number) {
    const auto [at, error] = std::from_chars(from, end, number);
    return error == std::errc() ? at : nullptr;
  };
  uint64_t epoch = 0;
  uint64_t lsn = 0;
  const char* const colon = read(text.data(), epoch);
  if (colon == nullptr || colon == end || *colon != ':' ||
      read(colon + 1, lsn) != end) {
    return formats::InputError(fmt::format(
        "--min-position is EPOCH:LSN, as 'quire apply' tells it (3:1207), but "
        "here it is {:?}",
        text));
  }
  v1::Position position;
  position.set_epoch(epoch);
  position.set_lsn(lsn);
  return position;
}

absl::Status Lookup(const LookupOptions& options, Session& session) {
  QUIRE_RETURN_IF_ERROR(CheckPooling(options));
  std::optional<v1::Position> position;
  quire::LookupOptions lookup = {.position = &position};
  QUIRE_ASSIGN_OR_RETURN(lookup.min_position,
                         ReadPosition(options.min_position));
  QUIRE_ASSIGN_OR_RETURN(const std::vector<IdBatch> batches,
                         options.rows.Read(options.table, session));
  QUIRE_RETURN_IF_ERROR(CheckNpy(options, batches.size(), session));
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  bool is_first = true;
  for (const IdBatch& batch : batches) {
    QUIRE_ASSIGN_OR_RETURN(
        const FloatTensor rows,
        options.pooling
            ? LookupBags(options, batch, lookup, *client)
            : client->Lookup(options.table, batch.ids, batch.shape, lookup));
    PrintRows(options, batch, rows, position, is_first);
    is_first = false;
  }
  return absl::OkStatus();
}

}  // namespace

void AddLookup(Program& program) {
  auto options = std::make_shared<LookupOptions>();
  CLI::App& verb = program.AddVerb(
      program.app(),
      {.name = "lookup",
       .description = "Show rows; the result has the shape of the ids + [dim]",
       .examples = {"quire lookup dictionary '[[2,3],[1,0],[8,6]]'",
                    "quire lookup glove --word king --word queen --full",
                    "quire lookup dictionary ids.npy -o npy > rows.npy",
                    "quire lookup dictionary '[[2,3],[1,0]]' --pool mean",
                    "quire lookup dictionary 3 --min-position 1:17",
                    "echo '[[0,1]]' | quire lookup dictionary -o json"}},
      [options](Session& session) { return Lookup(*options, session); });
  AddTable(verb, options->table);
  options->rows.AddTo(verb);
  AddChoice<std::optional<Pooling>>(
      verb, "--pool", options->pooling,
      {{"sum", Pooling::kSum},
       {"mean", Pooling::kMean},
       {"max", Pooling::kMax},
       {"sqrtn", Pooling::kSqrtn}},
      "make one row of each bag: of each row of ids");
  verb.add_option("--offsets", options->offsets,
                  "where each bag begins, in plain ids: 0,3,5")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("LIST");
  verb.add_option("--weights", options->weights,
                  "of each id, for --pool sum: 1,0.5,2")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("LIST");
  verb.add_option("--min-position", options->min_position,
                  "rows no older than this, as 'quire apply' tells it: 3:1207; "
                  "waits for it until --timeout")
      ->type_name("EPOCH:LSN");
  AddOutput(verb, options->output, {kTable, kJson, kJsonLines, kCsv, kNpy});
  verb.add_flag("--full", options->full,
                "show every number; else long vectors are cut as torch does");
}

}  // namespace quire::cli
