#include <fmt/format.h>

#include <memory>

#include "base/status.h"
#include "client/cli/output.h"
#include "client/cli/spec_options.h"
#include "client/cli/table_text.h"
#include "client/cli/verbs.h"
#include "client/formats/input_error.h"
#include "client/terminal/units.h"

namespace quire::cli {
namespace {

using enum OutputFormat;

struct CreateOptions {
  std::string table;
  int64_t row_count = 0;
  int64_t dim = 0;
  v1::IfExists if_exists = v1::IF_EXISTS_ERROR;
  SpecOptions spec;
  OutputFormat output = kTable;
};

struct TableOptions {
  std::string table;
  OutputFormat output = kTable;
};

struct RewindOptions {
  std::string table;
  uint64_t to_lsn = 0;
  OutputFormat output = kTable;
};

struct AlterOptions {
  std::string table;
  std::optional<double> learning_rate;
  std::optional<bool> frozen;
  OutputFormat output = kTable;
};

void PrintTable(const v1::Table& table, OutputFormat output) {
  Print(output == kTable ? TableText(table) : ToLine(ToJson(table)));
}

absl::Status Create(const CreateOptions& options, Session& session) {
  v1::CreateTableRequest request;
  v1::TableSpec& spec = *request.mutable_spec();
  spec.set_name(options.table);
  spec.set_num_embeddings(options.row_count);
  spec.set_embedding_dim(options.dim);
  QUIRE_RETURN_IF_ERROR(options.spec.Apply(spec));
  request.set_if_exists(options.if_exists);

  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(const v1::CreateTableResponse created,
                         client->CreateTable(request));
  if (options.output == kTable && !created.created()) {
    Print("the table was there, and is as asked for\n");
  }
  PrintTable(created.table(), options.output);
  return absl::OkStatus();
}

void AddCreate(Program& program, CLI::App& group) {
  auto options = std::make_shared<CreateOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "create",
       .description = "Make a table",
       .examples = {"quire table create dictionary --rows 10 --dim 5",
                    "quire table create users --rows 1000000 --dim 64 "
                    "--init uniform:-0.01,0.01 \\\n"
                    "        --optimizer rowwise_adagrad --lr 0.05 "
                    "--if-exists verify",
                    "quire table create words --rows 50000 --dim 128 "
                    "--padding-idx 0 --max-norm 1 \\\n"
                    "        --optimizer adam --beta1 0.95 --amsgrad"}},
      [options](Session& session) { return Create(*options, session); });
  AddTable(verb, options->table);
  verb.add_option("--rows", options->row_count, "rows: ids 0 .. rows - 1")
      ->required()
      ->type_name("N");
  verb.add_option("--dim", options->dim, "floats in a row")
      ->required()
      ->type_name("N");
  options->spec.AddInitializerTo(verb);
  options->spec.AddTo(verb);
  AddChoice<v1::IfExists>(
      verb, "--if-exists", options->if_exists,
      {{"error", v1::IF_EXISTS_ERROR}, {"verify", v1::IF_EXISTS_VERIFY}},
      "verify: accept a table that is as asked for");
  AddOutput(verb, options->output, {kTable, kJson});
}

absl::Status List(OutputFormat output, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(const std::vector<v1::Table> tables,
                         client->ListTables());
  Print(TableListText(tables, output));
  return absl::OkStatus();
}

void AddList(Program& program, CLI::App& group) {
  auto output = std::make_shared<OutputFormat>(kTable);
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "list",
       .description = "Show all tables",
       .examples = {"quire table list",
                    "quire table list -o jsonl | jq .spec.name"}},
      [output](Session& session) { return List(*output, session); });
  AddOutput(verb, *output, {kTable, kJson, kJsonLines, kCsv});
}

absl::Status Describe(const TableOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(const v1::Table table,
                         client->GetTable(options.table));
  PrintTable(table, options.output);
  return absl::OkStatus();
}

void AddDescribe(Program& program, CLI::App& group) {
  auto options = std::make_shared<TableOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "describe",
       .description = "Show what a table is, holds and has done",
       .examples = {"quire table describe dictionary",
                    "quire table describe dictionary -o json"}},
      [options](Session& session) { return Describe(*options, session); });
  AddTable(verb, options->table);
  AddOutput(verb, options->output, {kTable, kJson});
}

absl::Status Alter(const AlterOptions& options, Session& session) {
  if (!options.learning_rate && !options.frozen) {
    return formats::InputError("nothing to change: give --lr or --frozen");
  }
  v1::AlterTableRequest request;
  request.mutable_table()->set_name(options.table);
  if (options.learning_rate) {
    request.set_learning_rate(*options.learning_rate);
  }
  if (options.frozen) {
    request.set_frozen(*options.frozen);
  }
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(const v1::Table table, client->AlterTable(request));
  PrintTable(table, options.output);
  return absl::OkStatus();
}

void AddAlter(Program& program, CLI::App& group) {
  auto options = std::make_shared<AlterOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "alter",
       .description = "Change a table's learning rate, freeze it or thaw it",
       .examples = {"quire table alter dictionary --lr 0.001",
                    "quire table alter dictionary --frozen true"}},
      [options](Session& session) { return Alter(*options, session); });
  AddTable(verb, options->table);
  verb.add_option("--lr", options->learning_rate, "of later pushes")
      ->type_name("X");
  verb.add_option("--frozen", options->frozen, "true: refuse pushes")
      ->type_name("true|false");
  AddOutput(verb, options->output, {kTable, kJson});
}

absl::Status Rewind(const RewindOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(
      const v1::RewindTableResponse rewound,
      client->RewindTable(options.table, options.to_lsn, session.StreamCall()));
  Print(options.output == kTable
            ? fmt::format("table '{}' is what it was at LSN {}: step {}. LSN "
                          "{} of epoch {} made it so\n",
                          options.table, options.to_lsn, rewound.table().step(),
                          rewound.position().lsn(), rewound.position().epoch())
            : ToLine(ToJson(rewound)));
  return absl::OkStatus();
}

void AddRewind(Program& program, CLI::App& group) {
  auto options = std::make_shared<RewindOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "rewind",
       .description = "Undo all changes of a LOGGED table after one",
       .examples = {"quire table rewind users --to-lsn 81200",
                    "quire table rewind users --to-lsn 81200 -o json | "
                    "jq .position.lsn"}},
      [options](Session& session) { return Rewind(*options, session); });
  AddTable(verb, options->table);
  verb.add_option("--to-lsn", options->to_lsn,
                  "the last change that stays; apply, export and row tell LSNs")
      ->required()
      ->type_name("N");
  AddOutput(verb, options->output, {kTable, kJson});
}

std::string VerifiedText(const std::string& table,
                         const v1::VerifyTableResponse& verified) {
  if (verified.snapshot_lsn() == 0) {
    return fmt::format(
        "table '{}': there is no snapshot yet, and the log has all of it: "
        "'quire log verify' reads that\n",
        table);
  }
  return fmt::format(
      "table '{}': {} of the snapshot of LSN {} read, all whole\n", table,
      terminal::FormatCount(verified.chunks_verified(), "chunk"),
      verified.snapshot_lsn());
}

absl::Status Verify(const TableOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(
      const v1::VerifyTableResponse verified,
      client->VerifyTable(options.table, session.StreamCall()));
  Print(options.output == kTable ? VerifiedText(options.table, verified)
                                 : ToLine(ToJson(verified)));
  return absl::OkStatus();
}

void AddVerify(Program& program, CLI::App& group) {
  auto options = std::make_shared<TableOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "verify",
       .description = "Read back what the server's disk has of a LOGGED table",
       .examples = {"quire table verify users",
                    "quire table verify users -o json"}},
      [options](Session& session) { return Verify(*options, session); });
  AddTable(verb, options->table);
  AddOutput(verb, options->output, {kTable, kJson});
}

absl::Status Drop(const TableOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_RETURN_IF_ERROR(client->DropTable(options.table));
  Print(options.output == kTable
            ? fmt::format("dropped table '{}'\n", options.table)
            : ToLine(Json{{"dropped", options.table}}));
  return absl::OkStatus();
}

void AddDrop(Program& program, CLI::App& group) {
  auto options = std::make_shared<TableOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "drop",
       .description = "Remove a table and all that it holds",
       .examples = {"quire table drop dictionary",
                    "quire table drop dictionary --server 10.0.0.5:7847"}},
      [options](Session& session) { return Drop(*options, session); });
  AddTable(verb, options->table);
  AddOutput(verb, options->output, {kTable, kJson});
}

}  // namespace

void AddTableVerbs(Program& program) {
  CLI::App& group = program.AddGroup(
      "table", "Create, list, describe, alter, rewind, verify, drop tables");
  AddCreate(program, group);
  AddList(program, group);
  AddDescribe(program, group);
  AddAlter(program, group);
  AddRewind(program, group);
  AddVerify(program, group);
  AddDrop(program, group);
}

}  // namespace quire::cli
