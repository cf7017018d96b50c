#include <fmt/format.h>

#include <algorithm>
#include <memory>

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

// "2 rows changed, 1 padding gradient dropped, 1 row skipped; step 7": the last
// two only where it happened.
std::string PushedText(const PushedTable& pushed) {
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
  return fmt::format("{}; step {}\n", text, terminal::FormatCount(pushed.step));
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
  QUIRE_ASSIGN_OR_RETURN(const std::vector<PushedTable> pushed,
                         client->ApplyGradient({&item, 1}));
  const PushedTable& result = pushed.at(0);
  Print(options.output == kTable
            ? PushedText(result)
            : ToLine(Json{{"table", options.table},
                          {"rows_changed", result.rows_changed},
                          {"padding_dropped", result.padding_dropped},
                          {"rows_skipped", result.rows_skipped},
                          {"step", result.step}}));
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
  AddOutput(verb, options->output, {kTable, kJson});
}

}  // namespace quire::cli
