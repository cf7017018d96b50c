#include "client/cli/table_text.h"

#include <fmt/format.h>

#include "absl/time/time.h"
#include "client/cli/spec_options.h"
#include "client/formats/row_writer.h"
#include "client/terminal/text_table.h"
#include "client/terminal/units.h"

namespace quire::cli {
namespace {

using terminal::Align;
using terminal::FormatBytes;
using terminal::FormatCount;
using terminal::TextTable;

int64_t BytesOf(const v1::TableStats& stats) {
  return stats.value_bytes() + stats.state_bytes() + stats.label_bytes();
}

std::string StateText(const v1::Table& table) {
  if (table.state() == v1::TABLE_STATE_FILLING) {
    return fmt::format("filling, {:.0f}%", 100 * table.filled());
  }
  const std::string state =
      ShortName(*v1::TableState_descriptor()->FindValueByNumber(table.state()));
  return table.spec().frozen() ? state + ", frozen" : state;
}

std::string PersistenceText(const v1::Table& table) {
  const std::string persistence =
      ShortName(*v1::Persistence_descriptor()->FindValueByNumber(
          table.spec().persistence()));
  return !table.has_saved_unix_seconds()
             ? persistence
             : persistence + ", saved " +
                   absl::FormatTime(
                       "%Y-%m-%d %H:%M:%S UTC",
                       absl::FromUnixSeconds(table.saved_unix_seconds()),
                       absl::UTCTimeZone());
}

// What differs from a plain table, in a row each.
void AddRules(const v1::TableSpec& spec, TextTable& text) {
  if (spec.has_padding_idx()) {
    text.AddRow({"padding_idx", FormatCount(spec.padding_idx())});
  }
  if (spec.has_max_norm()) {
    text.AddRow({"max_norm", fmt::format("{}, norm_type {}", spec.max_norm(),
                                         spec.norm_type())});
  }
  if (const std::string rules = RulesText(spec); !rules.empty()) {
    text.AddRow({"gradients", rules});
  }
}

std::string PushesText(const v1::Table& table) {
  const v1::TableStats& stats = table.stats();
  const std::string skipped =
      stats.rows_skipped() > 0
          ? fmt::format(", {} skipped",
                        FormatCount(stats.rows_skipped(), "row"))
          : "";
  return fmt::format("{}, {} changed{}; step {}", FormatCount(stats.pushes()),
                     FormatCount(stats.rows_changed(), "row"), skipped,
                     FormatCount(table.step()));
}

std::string ListJson(std::span<const v1::Table> tables, OutputFormat output) {
  std::string lines;
  Json list = Json::array();
  for (const v1::Table& table : tables) {
    if (output == OutputFormat::kJsonLines) {
      lines += ToLine(ToJson(table));
    } else {
      list.push_back(ToJson(table));
    }
  }
  return output == OutputFormat::kJsonLines ? lines : ToLine(list);
}

std::string ListCsv(std::span<const v1::Table> tables) {
  std::string text = "name,rows,dim,optimizer,state,bytes,step,labels\n";
  for (const v1::Table& table : tables) {
    const v1::TableSpec& spec = table.spec();
    text += fmt::format("{},{},{},", spec.name(), spec.num_embeddings(),
                        spec.embedding_dim());
    formats::AppendCsvField(OptimizerText(spec.optimizer()), text);
    text += ',';
    formats::AppendCsvField(StateText(table), text);
    text += fmt::format(",{},{},{}\n", BytesOf(table.stats()), table.step(),
                        table.stats().label_count());
  }
  return text;
}

std::string ListTable(std::span<const v1::Table> tables) {
  if (tables.empty()) {
    return "no tables; 'quire table create' makes one, 'quire import' makes "
           "one from a file\n";
  }
  TextTable text({{"name"},
                  {"rows", Align::kRight},
                  {"dim", Align::kRight},
                  {"optimizer"},
                  {"state"},
                  {"memory", Align::kRight},
                  {"step", Align::kRight},
                  {"labels", Align::kRight}});
  for (const v1::Table& table : tables) {
    const v1::TableSpec& spec = table.spec();
    text.AddRow({spec.name(), FormatCount(spec.num_embeddings()),
                 FormatCount(spec.embedding_dim()),
                 OptimizerSummary(spec.optimizer()), StateText(table),
                 FormatBytes(BytesOf(table.stats())), FormatCount(table.step()),
                 FormatCount(table.stats().label_count())});
  }
  return text.Text();
}

}  // namespace

std::string TableText(const v1::Table& table) {
  const v1::TableSpec& spec = table.spec();
  const v1::TableStats& stats = table.stats();
  TextTable text({{""}, {""}});
  text.AddRow({"name", spec.name()});
  text.AddRow({"rows", FormatCount(spec.num_embeddings())});
  text.AddRow({"dim", FormatCount(spec.embedding_dim())});
  text.AddRow({"state", StateText(table)});
  text.AddRow({"initial rows",
               fmt::format("{}, seed {}", InitializerText(spec.initializer()),
                           spec.seed())});
  text.AddRow({"optimizer", OptimizerText(spec.optimizer())});
  AddRules(spec, text);
  text.AddRow({"persistence", PersistenceText(table)});
  text.AddRow({"shards", FormatCount(spec.shard_count())});
  text.AddRow(
      {"memory", fmt::format("{}: rows {}, optimizer state {}, labels {}",
                             FormatBytes(BytesOf(stats)),
                             FormatBytes(stats.value_bytes()),
                             FormatBytes(stats.state_bytes()),
                             FormatBytes(stats.label_bytes()))});
  text.AddRow({"labels", FormatCount(stats.label_count())});
  text.AddRow(
      {"lookups", fmt::format("{}, {}", FormatCount(stats.lookups()),
                              FormatCount(stats.rows_looked_up(), "row"))});
  text.AddRow({"pushes", PushesText(table)});
  text.AddRow({"uid", ToHex(table.uid())});
  return text.Text();
}

std::string TableListText(std::span<const v1::Table> tables,
                          OutputFormat output) {
  switch (output) {
    case OutputFormat::kJson:
    case OutputFormat::kJsonLines:
      return ListJson(tables, output);
    case OutputFormat::kCsv:
      return ListCsv(tables);
    default:
      return ListTable(tables);
  }
}

}  // namespace quire::cli
