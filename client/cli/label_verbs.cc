#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/status.h"
#include "client/cli/output.h"
#include "client/cli/row_options.h"
#include "client/cli/verbs.h"
#include "client/formats/byte_source.h"
#include "client/formats/input_error.h"
#include "client/formats/line_reader.h"
#include "client/formats/row_writer.h"
#include "client/terminal/text_table.h"
#include "client/terminal/units.h"

namespace quire::cli {
namespace {

using formats::InputError;
using enum OutputFormat;

// Rows and their labels, as far as they have one.
struct Labelled {
  std::vector<int64_t> ids;
  Labels labels;
};

struct LabelOptions {
  std::string table;
  std::vector<std::string> terms;
  OutputFormat output = kTable;
};

std::string TextOf(const Labelled& rows) {
  terminal::TextTable table({{"id", terminal::Align::kRight}, {"label"}});
  for (size_t i = 0; i < rows.ids.size(); ++i) {
    table.AddRow({fmt::format("{}", rows.ids[i]), rows.labels[i]});
  }
  return table.Text();
}

std::string CsvOf(const Labelled& rows) {
  std::string text = "id,label\n";
  for (size_t i = 0; i < rows.ids.size(); ++i) {
    text += fmt::format("{},", rows.ids[i]);
    formats::AppendCsvField(rows.labels[i], text);
    text += '\n';
  }
  return text;
}

std::string JsonOf(const Labelled& rows, OutputFormat output) {
  std::string lines;
  Json list = Json::array();
  for (size_t i = 0; i < rows.ids.size(); ++i) {
    Json row = {{"id", rows.ids[i]}, {"label", rows.labels[i]}};
    if (output == kJsonLines) {
      lines += ToLine(row);
    } else {
      list.push_back(std::move(row));
    }
  }
  return output == kJsonLines ? lines : ToLine(list);
}

void PrintLabels(const Labelled& rows, OutputFormat output) {
  Print(output == kTable ? TextOf(rows)
        : output == kCsv ? CsvOf(rows)
                         : JsonOf(rows, output));
}

// Reads "2=cat", or "2<tab>cat" from a file.
absl::Status AddLabelled(std::string_view text, char separator,
                         Labelled& rows) {
  const size_t end = text.find(separator);
  if (end == std::string_view::npos) {
    return InputError(fmt::format("'{}' is no label; {} would be one", text,
                                  separator == '=' ? "2=cat" : "2<tab>cat"));
  }
  std::vector<int64_t> ids;
  QUIRE_RETURN_IF_ERROR(terminal::AppendPlainIds(text.substr(0, end), ids));
  if (ids.size() != 1) {
    return InputError(fmt::format("'{}': a label is for one row", text));
  }
  rows.ids.push_back(ids[0]);
  rows.labels.emplace_back(text.substr(end + 1));
  return absl::OkStatus();
}

absl::StatusOr<Labelled> ReadLabelled(std::string_view path) {
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<formats::ByteSource> source,
                         formats::OpenSource(path));
  formats::LineReader lines(*source);
  Labelled rows;
  for (;;) {
    QUIRE_ASSIGN_OR_RETURN(const std::optional<std::string_view> line,
                           lines.Next());
    if (!line) {
      return rows;
    }
    if (absl::Status status = AddLabelled(*line, '\t', rows); !status.ok()) {
      return InputError(fmt::format("{} line {}: {}", source->name(),
                                    lines.line_number(),
                                    formats::SentenceOf(status)));
    }
  }
}

absl::StatusOr<Labelled> ReadTerms(const std::vector<std::string>& terms) {
  const std::string& first = terms.front();
  if (terms.size() == 1 && (first == "-" || first.starts_with('@'))) {
    return ReadLabelled(first == "-" ? std::string_view(first)
                                     : std::string_view(first).substr(1));
  }
  Labelled rows;
  for (const std::string& term : terms) {
    QUIRE_RETURN_IF_ERROR(AddLabelled(term, '=', rows));
  }
  return rows;
}

absl::Status Set(const LabelOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(const Labelled rows, ReadTerms(options.terms));
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_RETURN_IF_ERROR(
      client->SetLabels(options.table, rows.ids, rows.labels));
  Print(options.output == kTable
            ? fmt::format("set {}\n",
                          terminal::FormatCount(std::ssize(rows.ids), "label"))
            : ToLine(Json{{"rows", rows.ids.size()}}));
  return absl::OkStatus();
}

void AddSet(Program& program, CLI::App& group) {
  auto options = std::make_shared<LabelOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "set",
       .description = "Set labels; an empty one removes",
       .examples = {"quire label set dictionary 2=cat 3=dog 4=",
                    "quire label set dictionary - < labels.tsv"}},
      [options](Session& session) { return Set(*options, session); });
  AddTable(verb, options->table);
  verb.add_option("LABELS", options->terms,
                  "ID=LABEL; or @FILE, or - for standard input, whose lines "
                  "are an id, a tab, a label")
      ->required()
      ->type_name("");
  AddOutput(verb, options->output, {kTable, kJson});
}

struct GetOptions {
  std::string table;
  RowOptions rows;
  OutputFormat output = kTable;
};

absl::Status Get(const GetOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(const auto batches,
                         options.rows.Read(options.table, session));
  Labelled rows;
  for (const terminal::IdBatch& batch : batches) {
    rows.ids.insert(rows.ids.end(), batch.ids.begin(), batch.ids.end());
  }
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(rows.labels,
                         client->GetLabels(options.table, rows.ids));
  PrintLabels(rows, options.output);
  return absl::OkStatus();
}

void AddGet(Program& program, CLI::App& group) {
  auto options = std::make_shared<GetOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "get",
       .description = "Show the labels of rows",
       .examples = {"quire label get glove 0..9",
                    "quire label get glove ids.npy -o csv"}},
      [options](Session& session) { return Get(*options, session); });
  AddTable(verb, options->table);
  options->rows.AddTo(verb);
  AddOutput(verb, options->output, {kTable, kJson, kJsonLines, kCsv});
}

absl::Status Find(const LabelOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                         session.IdsOf(options.table, options.terms));
  PrintLabels({.ids = ids, .labels = options.terms}, options.output);
  return absl::OkStatus();
}

void AddFind(Program& program, CLI::App& group) {
  auto options = std::make_shared<LabelOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "find",
       .description = "Show the rows of labels: of each the smallest id",
       .examples = {"quire label find glove king queen",
                    "quire label find glove king -o json"}},
      [options](Session& session) { return Find(*options, session); });
  AddTable(verb, options->table);
  verb.add_option("LABELS", options->terms, "exactly as they were set")
      ->required()
      ->type_name("");
  AddOutput(verb, options->output, {kTable, kJson, kJsonLines, kCsv});
}

}  // namespace

void AddLabelVerbs(Program& program) {
  CLI::App& group =
      program.AddGroup("label", "Get, set and find the labels of rows");
  AddGet(program, group);
  AddSet(program, group);
  AddFind(program, group);
}

}  // namespace quire::cli
