#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <memory>

#include "base/limits.h"
#include "base/status.h"
#include "client/cli/failure.h"
#include "client/cli/file_spec.h"
#include "client/cli/format_option.h"
#include "client/cli/help.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"
#include "client/cli/spec_options.h"
#include "client/cli/state_import.h"
#include "client/cli/verbs.h"
#include "client/formats/input_error.h"
#include "client/formats/label_census.h"
#include "client/formats/row_reader.h"
#include "client/terminal/progress.h"
#include "client/terminal/units.h"

namespace quire::cli {
namespace {

using formats::LabelCensus;
using formats::RowBlock;
using formats::RowFileInfo;
using formats::RowReader;
using terminal::FormatBytes;
using terminal::FormatCount;
using enum OutputFormat;

struct ImportOptions {
  std::string file;
  std::optional<std::string> name;
  std::optional<int64_t> step;
  formats::RowReaderOptions reader;
  SpecOptions spec;
  bool dry_run = false;
  OutputFormat output = kTable;
};

bool IsNameLetter(unsigned char c) {
  return c < 0x80 && (std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-');
}

// The table's name: as given, or the file's.
absl::StatusOr<std::string> NameOf(const ImportOptions& options) {
  if (options.name) {
    return *options.name;
  }
  if (options.file == "-") {
    return formats::InputError(
        "standard input has no name: give the table one with --name");
  }
  std::string name = formats::TableNameFromPath(options.file);
  if (std::ranges::all_of(name, IsNameLetter) &&
      name.size() <= kTableNameBytesMax && std::isalnum(name.front()) != 0) {
    return name;
  }
  std::ranges::replace_if(
      name, [](char c) { return !IsNameLetter(static_cast<unsigned char>(c)); },
      '-');
  return formats::InputError(fmt::format(
      "the file's name is no name for a table; give one, like --name {}",
      name.substr(name.find_first_not_of("-._") == std::string::npos
                      ? 0
                      : name.find_first_not_of("-._"),
                  kTableNameBytesMax)));
}

std::string DryRunText(const v1::ImportTableRequest::Header& header,
                       const RowFileInfo& info) {
  const v1::TableSpec& spec = header.spec();
  return fmt::format(
      "would make table '{}' from a {} file: {} × {}, {} of "
      "values{}{}; optimizer {}\n",
      spec.name(), formats::RowFormatName(info.format),
      FormatCount(info.row_count, "row"), FormatCount(info.dim, "float"),
      FormatBytes(info.row_count * info.dim *
                  static_cast<int64_t>(sizeof(float))),
      info.labelled ? ", with labels" : "",
      info.state.empty() ? ""
                         : fmt::format(", with optimizer state after {}",
                                       FormatCount(header.step(), "step")),
      spec.has_optimizer() ? OptimizerText(spec.optimizer())
                           : "sgd, the server's default");
}

Json DryRunJson(const v1::ImportTableRequest::Header& header,
                const RowFileInfo& info) {
  return {{"dry_run", true},
          {"format", formats::RowFormatName(info.format)},
          {"labelled", info.labelled},
          {"state", !info.state.empty()},
          {"step", header.step()},
          {"spec", ToJson(header.spec())}};
}

// Sends all rows and makes the table; what is unusual about the labels goes
// to `census`.
absl::StatusOr<v1::Table> Send(RowReader& reader,
                               const v1::ImportTableRequest::Header& header,
                               Session& session, LabelCensus& census) {
  QUIRE_ASSIGN_OR_RETURN(StateOrder order,
                         StateOrder::Of(reader.info(), header.spec()));
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  const OrderlyEnd orderly_end;
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<Client::Import> import,
                         client->ImportTable(header, session.StreamCall()));
  const RowFileInfo& info = reader.info();
  const terminal::Screen screen = session.screen();
  terminal::Progress progress("importing", "rows", info.row_count,
                              {.file = stderr,
                               .is_terminal = screen.error.is_terminal,
                               .columns = screen.columns});
  int64_t sent = 0;
  for (RowBlock block;;) {
    QUIRE_RETURN_IF_ERROR(reader.Read(RowsPerBlock(info), block));
    if (block.row_count == 0) {
      return import->Finish();
    }
    QUIRE_RETURN_IF_ERROR(
        import->Write(block.values, block.labels, order.Arrange(block.state)));
    std::ranges::for_each(block.labels, [&census](const std::string& label) {
      census.Add(label);
    });
    sent += block.row_count;
    progress.Update(sent);
    if (interrupted()) {
      return InterruptedError();
    }
  }
}

std::string SummaryText(const v1::Table& table, const LabelCensus& census,
                        double seconds) {
  const v1::TableSpec& spec = table.spec();
  std::string text = fmt::format("imported {} × {} as table '{}' in {:.2f} s\n",
                                 FormatCount(spec.num_embeddings(), "row"),
                                 FormatCount(spec.embedding_dim(), "float"),
                                 spec.name(), seconds);
  if (census.label_count() > 0) {
    text += fmt::format(
        "{}: {} came again{}, {} not UTF-8\n",
        FormatCount(census.label_count(), "label"),
        FormatCount(census.duplicate_count()),
        census.duplicate_count() > 0
            ? fmt::format(" (the first: '{}')", census.first_duplicate())
            : "",
        FormatCount(census.not_utf8_count()));
  }
  return text;
}

Json SummaryJson(const v1::Table& table, const LabelCensus& census,
                 double seconds) {
  return {{"table", ToJson(table)},
          {"seconds", seconds},
          {"labels", census.label_count()},
          {"duplicate_labels", census.duplicate_count()},
          {"labels_not_utf8", census.not_utf8_count()}};
}

// The table to make of what `reader` reads: what the file says of its training,
// and then what the options say.
absl::StatusOr<v1::ImportTableRequest::Header> HeaderOf(
    const ImportOptions& options, const RowReader& reader) {
  const RowFileInfo& info = reader.info();
  QUIRE_ASSIGN_OR_RETURN(v1::TableSpec spec,
                         TrainingSpecOf(info.metadata, options.file));
  QUIRE_ASSIGN_OR_RETURN(*spec.mutable_name(), NameOf(options));
  QUIRE_RETURN_IF_ERROR(options.spec.Apply(spec));
  spec.set_num_embeddings(info.row_count);
  spec.set_embedding_dim(info.dim);
  v1::ImportTableRequest::Header header;
  if (options.reader.state) {
    QUIRE_RETURN_IF_ERROR(StateOrder::Of(info, spec).status());
    QUIRE_ASSIGN_OR_RETURN(const int64_t step,
                           StepOf(options.step, info, spec, options.file));
    header.set_step(step);
  }
  *header.mutable_spec() = std::move(spec);
  return header;
}

absl::Status Import(const ImportOptions& options, Session& session) {
  QUIRE_RETURN_IF_ERROR(NameOf(options).status());
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<RowReader> reader,
                         formats::OpenRows(options.file, options.reader));
  QUIRE_ASSIGN_OR_RETURN(const v1::ImportTableRequest::Header header,
                         HeaderOf(options, *reader));
  if (options.dry_run) {
    Print(options.output == kTable
              ? DryRunText(header, reader->info())
              : ToLine(DryRunJson(header, reader->info())));
    return absl::OkStatus();
  }
  const auto start = std::chrono::steady_clock::now();
  LabelCensus census;
  QUIRE_ASSIGN_OR_RETURN(const v1::Table table,
                         Send(*reader, header, session, census));
  const std::chrono::duration<double> elapsed =
      std::chrono::steady_clock::now() - start;
  Print(options.output == kTable
            ? SummaryText(table, census, elapsed.count())
            : ToLine(SummaryJson(table, census, elapsed.count())));
  return absl::OkStatus();
}

void AddReaderOptions(CLI::App& verb, formats::RowReaderOptions& options) {
  using formats::RowFormat;
  verb.add_option("--dim", options.dim,
                  "floats in a row; default: from the file. In a glove file: "
                  "what most of its first lines have")
      ->type_name("N")
      ->check(Between(1, kDimMax));
  AddChoice<std::optional<RowFormat>>(
      verb, "-f,--format", options.format,
      FormatChoices({RowFormat::kSafetensors, RowFormat::kNpy, RowFormat::kNpz,
                     RowFormat::kTorch, RowFormat::kGlove, RowFormat::kWord2vec,
                     RowFormat::kWord2vecBinary, RowFormat::kFvecs}),
      "default: seen from the file");
  verb.add_option("--tensor", options.tensor,
                  "which one, of a file that holds several; without it their "
                  "names are listed")
      ->type_name("NAME");
  verb.add_flag("--state", options.state,
                "bring the optimizer state too, of safetensors, npz and torch");
}

}  // namespace

void AddImport(Program& program) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App& verb = program.AddVerb(
      program.app(),
      {.name = "import",
       .description = "Make a table from a file of rows",
       .examples = {"quire import examples/glove.5k.100d.txt",
                    "quire import vectors.txt.gz --name words --dry-run",
                    "curl https://…/vectors.vec | quire import - --name words",
                    "quire import users.npy --optimizer adagrad --lr 0.05",
                    "quire import model.pt --tensor emb.weight --name users"}},
      [options](Session& session) { return Import(*options, session); });
  verb.add_option("FILE", options->file,
                  "may be packed by gzip; - for standard input, which is held "
                  "in memory")
      ->required()
      ->type_name("");
  verb.add_option("--name", options->name,
                  "of the table; default: the file's, without its ending")
      ->type_name("NAME");
  AddReaderOptions(verb, options->reader);
  verb.add_option("--step", options->step,
                  "with --state: pushes that it has seen; default: what the "
                  "file says")
      ->type_name("N")
      ->check(Between(0, 1e18))
      ->needs("--state");
  options->spec.AddTo(verb);
  verb.add_flag("--dry-run", options->dry_run,
                "say what would be made, and make nothing");
  AddOutput(verb, options->output, {kTable, kJson});
}

}  // namespace quire::cli
