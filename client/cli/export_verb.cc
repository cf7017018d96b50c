#include <fmt/format.h>

#include <memory>

#include "base/status.h"
#include "client/cli/failure.h"
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
};

// As given, or as the file's name says.
absl::StatusOr<RowFormat> FormatOf(const ExportOptions& options,
                                   const Session& session) {
  const std::string& file = options.file;
  RowFormat format = RowFormat::kNpy;
  if (options.format) {
    format = *options.format;
  } else if (file.ends_with(".csv")) {
    format = RowFormat::kCsv;
  } else if (file.ends_with(".vec")) {
    format = RowFormat::kWord2vec;
  } else if (file.ends_with(".txt")) {
    format = RowFormat::kGlove;
  } else if (!file.ends_with(".npy")) {
    return formats::InputError(fmt::format(
        "'{}' does not tell its format: give one with --format", file));
  }
  if (format == RowFormat::kNpy && file == "-" &&
      session.screen().out.is_terminal) {
    return formats::InputError(
        "npy is bytes, and standard output is a terminal; name a file");
  }
  return format;
}

absl::Status WriteChunk(const Chunk& chunk, RowWriter& writer) {
  const std::vector<std::string_view> labels(chunk.labels().begin(),
                                             chunk.labels().end());
  const auto& values = chunk.values().values();
  return writer.Write(
      chunk.first_id(),
      std::span(values.data(), static_cast<size_t>(values.size())), labels);
}

// Writes all rows; returns how many.
absl::StatusOr<int64_t> WriteRows(Client::Export& rows, RowFormat format,
                                  OutputFile& file, Session& session) {
  const v1::Table& table = rows.table();
  const formats::RowFileInfo info = {
      .format = format,
      .row_count = table.spec().num_embeddings(),
      .dim = table.spec().embedding_dim(),
      .labelled = table.stats().label_count() > 0};
  const std::unique_ptr<RowWriter> writer = MakeRowWriter(info, file);
  QUIRE_RETURN_IF_ERROR(writer->Begin());
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
    QUIRE_RETURN_IF_ERROR(WriteChunk(*chunk, *writer));
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
  return written;
}

absl::Status Export(const ExportOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(const RowFormat format, FormatOf(options, session));
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  v1::ExportTableRequest request;
  request.mutable_table()->set_name(options.table);
  const OrderlyEnd orderly_end;
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<Client::Export> rows,
                         client->ExportTable(request, session.StreamCall()));
  QUIRE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(options.file));
  QUIRE_ASSIGN_OR_RETURN(const int64_t written,
                         WriteRows(*rows, format, file, session));
  QUIRE_RETURN_IF_ERROR(file.Commit());
  const std::optional<v1::Position> position = rows->position();
  // Standard output may be the file.
  fmt::print(
      stderr, "exported {} × {} of table '{}'{} to {}\n",
      terminal::FormatCount(written, "row"),
      terminal::FormatCount(rows->table().spec().embedding_dim(), "float"),
      options.table,
      position ? fmt::format(" as of LSN {}", position->lsn()) : "",
      options.file == "-" ? "standard output" : options.file);
  return absl::OkStatus();
}

}  // namespace

void AddExport(Program& program) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App& verb = program.AddVerb(
      program.app(),
      {.name = "export",
       .description = "Write a table's rows to a file",
       .examples = {"quire export users users.npy",
                    "quire export glove - -f glove | gzip > glove.txt.gz"}},
      [options](Session& session) { return Export(*options, session); });
  AddTable(verb, options->table);
  verb.add_option("FILE", options->file,
                  "appears when it is complete; - for standard output")
      ->required()
      ->type_name("");
  AddChoice<std::optional<RowFormat>>(
      verb, "-f,--format", options->format,
      {{"npy", RowFormat::kNpy},
       {"glove", RowFormat::kGlove},
       {"word2vec", RowFormat::kWord2vec},
       {"csv", RowFormat::kCsv}},
      "default: by the ending .npy, .txt, .vec, "
      ".csv");
}

}  // namespace quire::cli
