#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>

#include "base/status.h"
#include "client/cli/output.h"
#include "client/cli/row_options.h"
#include "client/cli/verbs.h"
#include "client/formats/input_error.h"
#include "client/terminal/units.h"

namespace quire::cli {
namespace {

using formats::InputError;
using terminal::IdBatch;
using terminal::NestedNumbers;
using enum OutputFormat;

struct ApplyOptions {
  std::string table;
  RowOptions rows;
  std::optional<std::string> gradient;
  std::optional<float> fill;
  std::optional<double> learning_rate;
  v1::Durability min_durability = v1::DURABILITY_UNSPECIFIED;
  OutputFormat output = kTable;
};

absl::StatusOr<std::vector<float>> FilledGradient(const ApplyOptions& options,
                                                  const IdBatch& batch,
                                                  Client& client) {
  QUIRE_ASSIGN_OR_RETURN(const v1::Table table, client.GetTable(options.table));
  const auto dim = static_cast<size_t>(table.spec().embedding_dim());
  return std::vector<float>(batch.ids.size() * dim, *options.fill);
}

// The gradient of each id. What is typed has the shape of the ids + [dim].
absl::StatusOr<std::vector<float>> ReadGradient(const ApplyOptions& options,
                                                const IdBatch& batch) {
  QUIRE_ASSIGN_OR_RETURN(NestedNumbers<float> gradient,
                         terminal::ReadFloats(*options.gradient));
  QUIRE_ASSIGN_OR_RETURN(const Shape shape,
                         Shape::Make(gradient.dims, kRankMax + 1));
  const auto wanted = batch.shape.dims();
  const bool fits =
      shape.rank() == batch.shape.rank() + 1 &&
      std::equal(wanted.begin(), wanted.end(), gradient.dims.begin());
  if (!fits) {
    return InputError(fmt::format(
        "a gradient of shape {} for ids of shape {}; it is that of the ids "
        "and one dim more",
        shape.ToString(), batch.shape.ToString()));
  }
  return std::move(gradient.values);
}

absl::StatusOr<IdBatch> ReadBatch(const ApplyOptions& options,
                                  Session& session) {
  if (options.gradient.has_value() == options.fill.has_value()) {
    return InputError("give either --gradient or --fill");
  }
  if (options.gradient == "-" && options.rows.from_standard_input()) {
    return InputError("ids and gradient cannot both be standard input");
  }
  QUIRE_ASSIGN_OR_RETURN(std::vector<IdBatch> batches,
                         options.rows.Read(options.table, session));
  if (batches.size() != 1) {
    return InputError(fmt::format(
        "a push has one batch of ids, and there are {}", batches.size()));
  }
  return std::move(batches[0]);
}

// "written", of an answer that says how safe the push is.
std::string ReachedName(const Pushed& pushed) {
  const google::protobuf::EnumValueDescriptor* const reached =
      v1::Durability_descriptor()->FindValueByNumber(pushed.reached);
  return reached == nullptr ? std::to_string(pushed.reached)
                            : ShortName(*reached);
}

// "2 rows changed, 1 padding gradient dropped, 1 row skipped; step 7; written
// at 3:1042; had been applied before": what did not happen is left out, and so
// is where the push lies if it lies in memory.
std::string PushedText(const Pushed& whole) {
  const PushedTable& pushed = whole.tables.at(0);
  std::string text = terminal::FormatCount(pushed.rows_changed, "row");
  text += " changed";
  if (pushed.padding_dropped > 0) {
    text += fmt::format(
        ", {} dropped",
        terminal::FormatCount(pushed.padding_dropped, "padding gradient"));
  }
  if (pushed.rows_skipped > 0) {
    text += fmt::format(", {} skipped (not finite)",
                        terminal::FormatCount(pushed.rows_skipped, "row"));
  }
  text += fmt::format("; step {}", terminal::FormatCount(pushed.step));
  if (whole.position) {
    text += fmt::format("; {} at {}:{}", ReachedName(whole),
                        whole.position->epoch(), whole.position->lsn());
  }
  if (whole.duplicate) {
    text += "; had been applied before";
  }
  return text + "\n";
}

// What an answer does not say is left out.
Json PushedJson(const std::string& table, const Pushed& whole) {
  const PushedTable& pushed = whole.tables.at(0);
  Json json = {{"table", table},
               {"rows_changed", pushed.rows_changed},
               {"padding_dropped", pushed.padding_dropped},
               {"rows_skipped", pushed.rows_skipped},
               {"step", pushed.step}};
  if (whole.position) {
    json["position"] = ToJson(*whole.position);
  }
  if (whole.reached != v1::DURABILITY_UNSPECIFIED) {
    json["reached"] = ReachedName(whole);
  }
  json["duplicate"] = whole.duplicate;
  json["exactly_once"] = whole.exactly_once;
  return json;
}

absl::Status Apply(const ApplyOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(const IdBatch batch, ReadBatch(options, session));
  std::vector<float> gradient;
  if (options.gradient) {
    QUIRE_ASSIGN_OR_RETURN(gradient, ReadGradient(options, batch));
  }
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  if (options.fill) {
    QUIRE_ASSIGN_OR_RETURN(gradient, FilledGradient(options, batch, *client));
  }
  const GradientItem item = {.table = options.table,
                             .uid = std::nullopt,
                             .ids = batch.ids,
                             .gradient = gradient,
                             .learning_rate = options.learning_rate};
  QUIRE_ASSIGN_OR_RETURN(
      const Pushed pushed,
      client->ApplyGradient({&item, 1},
                            {.min_durability = options.min_durability}));
  Print(options.output == kTable ? PushedText(pushed)
                                 : ToLine(PushedJson(options.table, pushed)));
  return absl::OkStatus();
}

}  // namespace

void AddApply(Program& program) {
  auto options = std::make_shared<ApplyOptions>();
  CLI::App& verb = program.AddVerb(
      program.app(),
      {.name = "apply",
       .description = "Push a gradient: one step of the table's optimizer",
       .examples = {"quire apply dictionary '[[2,3],[1,0],[8,6]]' --fill 0.1",
                    "quire apply dictionary 4 -g '[[1,0,0,0,-1]]' --lr 0.5",
                    "quire apply dictionary 4 --fill 1 --durability synced",
                    "quire apply users ids.npy --gradient gradient.npy"}},
      [options](Session& session) { return Apply(*options, session); });
  AddTable(verb, options->table);
  options->rows.AddTo(verb);
  verb.add_option("-g,--gradient", options->gradient,
                  "of the shape of the ids + [dim]: nested lists, @FILE, "
                  "X.npy, or - for standard input")
      ->type_name("G");
  verb.add_option("--fill", options->fill, "a gradient of this number only")
      ->type_name("X");
  verb.add_option("--lr", options->learning_rate,
                  "learning rate, of this push only")
      ->type_name("X");
  AddChoice<v1::Durability>(
      verb, "--durability", options->min_durability,
      {{"written", v1::DURABILITY_WRITTEN}, {"synced", v1::DURABILITY_SYNCED}},
      "answer when the push survives the server's end "
      "(written) or a power cut (synced), not before; "
      "default: as the table says");
  AddOutput(verb, options->output, {kTable, kJson});
}

}  // namespace quire::cli
