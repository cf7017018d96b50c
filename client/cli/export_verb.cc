#include <fmt/format.h>

#include <memory>

#include "base/status.h"
#include "client/cli/failure.h"
#include "client/cli/file_spec.h"
#include "client/cli/format_option.h"
#include "client/cli/interrupt.h"
#include "client/cli/verbs.h"
#include "client/formats/input_error.h"
#include "client/formats/output_file.h"
#include "client/formats/row_writer.h"
#include "client/terminal/progress.h"
#include "client/terminal/units.h"

namespace quire::cli {
namespace {

using formats::OutputFile;
using formats::RowFormat;
using formats::RowWriter;
using Chunk = v1::ExportTableResponse::Chunk;

struct ExportOptions {
  std::string table;
  std::string file;
  std::optional<RowFormat> format;
  bool state = false;
};

bool IsText(RowFormat format) {
  return format == RowFormat::kGlove || format == RowFormat::kWord2vec ||
         format == RowFormat::kCsv;
}

// As given, or as the file's name says, or safetensors.
absl::StatusOr<RowFormat> FormatOf(const ExportOptions& options,
                                   const Session& session) {
  const std::string& file = options.file;
  if (!options.format && file.ends_with(".gz")) {
    return formats::InputError(fmt::format(
        "'{}': an export is not packed; pipe it: quire export {} - -f glove | "
        "gzip > {}",
        file, options.table, file));
  }
  const RowFormat format =
      options.format
          ? *options.format
          : formats::RowFormatOfEnding(file).value_or(RowFormat::kSafetensors);
  if (!IsText(format) && file == "-" && session.screen().out.is_terminal) {
    return formats::InputError(fmt::format(
        "{} is bytes, and standard output is a terminal; name a file",
        formats::RowFormatName(format)));
  }
  if (options.state && !formats::HasRoomForState(format)) {
    return formats::InputError(
        fmt::format("{} has no room for optimizer state; export as "
                    "safetensors, npz or torch",
                    formats::RowFormatName(format)));
  }
  return format;
}

// The parts of the optimizer state of a table's rows.
absl::StatusOr<std::vector<formats::StatePart>> StateOf(const v1::Table& table,
                                                        Session& session) {
  std::vector<formats::StatePart> parts;
  if (table.spec().num_embeddings() == 0) {
    return parts;
  }
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(const v1::GetRowResponse row,
                         client->GetRow(table.spec().name(), 0));
  if (row.table_uid() != table.uid()) {
    return absl::AbortedError(fmt::format(
        "another table has taken the name '{}' meanwhile; export it again",
        table.spec().name()));
  }
  for (const v1::GetRowResponse::State& state : row.state()) {
    parts.push_back({.name = state.name(), .floats = state.values_size()});
  }
  return parts;
}

absl::StatusOr<formats::RowFileInfo> InfoOf(const ExportOptions& options,
                                            RowFormat format,
                                            const v1::Table& table,
                                            Session& session) {
  formats::RowFileInfo info = {.format = format,
                               .row_count = table.spec().num_embeddings(),
                               .dim = table.spec().embedding_dim(),
                               .labelled = table.stats().label_count() > 0,
                               .metadata = MetadataOf(table)};
  if (options.state) {
    info.step = table.step();
    QUIRE_ASSIGN_OR_RETURN(info.state, StateOf(table, session));
    if (info.state.empty() && info.row_count > 0) {
      return formats::InputError(
          fmt::format("table '{}' has no optimizer state: leave --state out",
                      table.spec().name()));
    }
  }
  return info;
}

absl::Status WriteChunk(const Chunk& chunk, int64_t state_floats,
                        RowWriter& writer) {
  const std::vector<std::string_view> labels(chunk.labels().begin(),
                                             chunk.labels().end());
  const auto& values = chunk.values().values();
  const auto& state = chunk.state().values();
  if (state.size() !=
      chunk.values().shape().dims(0) * static_cast<int>(state_floats)) {
    return absl::DataLossError(fmt::format(
        "the server sent {} floats of optimizer state for {} rows of {}",
        state.size(), chunk.values().shape().dims(0), state_floats));
  }
  return writer.Write(
      {.first_id = chunk.first_id(),
       .values = std::span(values.data(), static_cast<size_t>(values.size())),
       .state = std::span(state.data(), static_cast<size_t>(state.size())),
       .labels = labels});
}

// Writes all rows; returns how many.
absl::StatusOr<int64_t> WriteRows(Client::Export& rows,
                                  const formats::RowFileInfo& info,
                                  OutputFile& file, Session& session) {
  const std::unique_ptr<RowWriter> writer = MakeRowWriter(info, file);
  QUIRE_RETURN_IF_ERROR(writer->Begin());
  const int64_t state_floats = formats::StateFloats(info.state);
  const terminal::Screen screen = session.screen();
  terminal::Progress progress("exporting", "rows", info.row_count,
                              {.file = stderr,
                               .is_terminal = screen.error.is_terminal,
                               .columns = screen.columns});
  int64_t written = 0;
  for (;;) {
    QUIRE_ASSIGN_OR_RETURN(const std::optional<Chunk> chunk, rows.Read());
    if (!chunk) {
      break;
    }
    QUIRE_RETURN_IF_ERROR(WriteChunk(*chunk, state_floats, *writer));
    written += chunk->values().values_size() / info.dim;
    progress.Update(written);
    if (interrupted()) {
      return InterruptedError();
    }
  }
  if (written != info.row_count) {
    return absl::DataLossError(
        fmt::format("the server sent {} rows of {}", written, info.row_count));
  }
  QUIRE_RETURN_IF_ERROR(writer->Finish());
  return written;
}

absl::Status Export(const ExportOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(const RowFormat format, FormatOf(options, session));
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  v1::ExportTableRequest request;
  request.mutable_table()->set_name(options.table);
  request.set_include_state(options.state);
  const OrderlyEnd orderly_end;
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<Client::Export> rows,
                         client->ExportTable(request, session.StreamCall()));
  QUIRE_ASSIGN_OR_RETURN(const formats::RowFileInfo info,
                         InfoOf(options, format, rows->table(), session));
  QUIRE_ASSIGN_OR_RETURN(
      OutputFile file,
      OutputFile::Create(options.file, formats::OrderOf(info)));
  QUIRE_ASSIGN_OR_RETURN(const int64_t written,
                         WriteRows(*rows, info, file, session));
  QUIRE_RETURN_IF_ERROR(file.Commit());
  const std::optional<v1::Position> position = rows->position();
  // Standard output may be the file.
  fmt::print(
      stderr, "exported {} × {}{} of table '{}'{} to {}{}\n",
      terminal::FormatCount(written, "row"),
      terminal::FormatCount(rows->table().spec().embedding_dim(), "float"),
      options.state ? " with optimizer state" : "", options.table,
      position ? fmt::format(" as of LSN {}", position->lsn()) : "",
      options.file == "-" ? "standard output" : options.file,
      info.labelled && !formats::HasRoomForLabels(format)
          ? fmt::format("; {} has no room for its labels",
                        formats::RowFormatName(format))
          : "");
  return absl::OkStatus();
}

}  // namespace

void AddExport(Program& program) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App& verb = program.AddVerb(
      program.app(),
      {.name = "export",
       .description = "Write a table's rows to a file",
       .examples = {"quire export users users.safetensors --state",
                    "quire export users users.npy",
                    "quire export glove - -f glove | gzip > glove.txt.gz"}},
      [options](Session& session) { return Export(*options, session); });
  AddTable(verb, options->table);
  verb.add_option("FILE", options->file,
                  "appears when it is complete; - for standard output")
      ->required()
      ->type_name("");
  AddChoice<std::optional<RowFormat>>(
      verb, "-f,--format", options->format,
      FormatChoices({RowFormat::kSafetensors, RowFormat::kNpy, RowFormat::kNpz,
                     RowFormat::kTorch, RowFormat::kGlove, RowFormat::kWord2vec,
                     RowFormat::kWord2vecBinary, RowFormat::kFvecs,
                     RowFormat::kCsv}),
      "default: by the ending (.safetensors, .npy, .npz, .pt, .pth, .txt, "
      ".vec, .bin, .fvecs, .csv), else safetensors");
  verb.add_flag("--state", options->state,
                "write the optimizer state too: safetensors, npz, torch");
}

}  // namespace quire::cli
