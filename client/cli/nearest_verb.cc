#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <memory>

#include "base/status.h"
#include "client/cli/analogy.h"
#include "client/cli/output.h"
#include "client/cli/verbs.h"
#include "client/formats/input_error.h"
#include "client/formats/row_writer.h"
#include "client/terminal/numbers_input.h"
#include "client/terminal/printable.h"
#include "client/terminal/text_table.h"

namespace quire::cli {
namespace {

using v1::NearestRequest;
using enum OutputFormat;

struct NearestOptions {
  std::string table;
  std::vector<std::string> terms;
  std::vector<std::string> words;
  std::optional<std::string> vector;
  int32_t k = 10;
  NearestRequest::Metric metric = NearestRequest::METRIC_COSINE;
  OutputFormat output = kTable;
};

// A request, and what each of its queries is called.
struct Queries {
  NearestRequest request;
  std::vector<std::string> id_names;
  std::vector<std::string> vector_names;
};

// Ids, lists and files; everything else is words.
bool LooksLikeIds(const std::string& term) {
  return std::isdigit(static_cast<unsigned char>(term.front())) != 0 ||
         term.front() == '[' || term.front() == '@' || term == "-" ||
         term.ends_with(".npy");
}

void AddVector(std::string name, std::span<const float> vector,
               Queries& queries) {
  queries.vector_names.push_back(std::move(name));
  v1::Tensor& tensor = *queries.request.mutable_vectors();
  tensor.mutable_values()->Add(vector.begin(), vector.end());
  tensor.mutable_shape()->clear_dims();
  tensor.mutable_shape()->add_dims(
      static_cast<int32_t>(queries.vector_names.size()));
  tensor.mutable_shape()->add_dims(static_cast<int32_t>(vector.size()));
}

absl::Status AddIds(const NearestOptions& options, Queries& queries) {
  QUIRE_ASSIGN_OR_RETURN(const auto batches, terminal::ReadIds(options.terms));
  for (const terminal::IdBatch& batch : batches) {
    for (const int64_t id : batch.ids) {
      queries.request.add_ids(id);
      queries.id_names.push_back(fmt::format("row {}", id));
    }
  }
  return absl::OkStatus();
}

absl::Status AddAnalogy(const NearestOptions& options, Session& session,
                        Queries& queries) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<SignedWord> words,
                         ParseAnalogy(options.terms));
  Labels labels;
  for (const SignedWord& word : words) {
    labels.push_back(word.word);
  }
  QUIRE_ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                         session.IdsOf(options.table, labels));
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(
      const FloatTensor rows,
      client->Lookup(options.table, ids, Shape{std::ssize(ids)}));
  const bool normalize = options.metric == NearestRequest::METRIC_COSINE;
  AddVector(AnalogyText(words), AnalogyVector(words, rows.values, normalize),
            queries);
  queries.request.mutable_exclude_ids()->Add(ids.begin(), ids.end());
  return absl::OkStatus();
}

absl::Status AddWords(const NearestOptions& options, Session& session,
                      Queries& queries) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                         session.IdsOf(options.table, options.words));
  queries.request.mutable_ids()->Add(ids.begin(), ids.end());
  queries.id_names.insert(queries.id_names.end(), options.words.begin(),
                          options.words.end());
  return absl::OkStatus();
}

// One vector, or one for each row of a matrix.
absl::Status AddVectors(const std::string& argument, Queries& queries) {
  QUIRE_ASSIGN_OR_RETURN(const terminal::NestedNumbers<float> vectors,
                         terminal::ReadFloats(argument));
  const size_t rank = vectors.dims.size();
  if (rank < 1 || rank > 2 || vectors.values.empty()) {
    return formats::InputError(
        "--vector takes one vector, or a matrix of them");
  }
  const auto dim = static_cast<size_t>(vectors.dims.back());
  for (size_t begin = 0; begin < vectors.values.size(); begin += dim) {
    AddVector(fmt::format("vector {}", begin / dim),
              std::span(vectors.values).subspan(begin, dim), queries);
  }
  return absl::OkStatus();
}

absl::StatusOr<Queries> MakeQueries(const NearestOptions& options,
                                    Session& session) {
  Queries queries;
  queries.request.mutable_table()->set_name(options.table);
  queries.request.set_k(options.k);
  queries.request.set_metric(options.metric);
  queries.request.set_return_labels(true);
  if (options.vector) {
    QUIRE_RETURN_IF_ERROR(AddVectors(*options.vector, queries));
  }
  if (!options.terms.empty()) {
    QUIRE_RETURN_IF_ERROR(std::ranges::all_of(options.terms, LooksLikeIds)
                              ? AddIds(options, queries)
                              : AddAnalogy(options, session, queries));
  }
  if (!options.words.empty()) {
    QUIRE_RETURN_IF_ERROR(AddWords(options, session, queries));
  }
  if (queries.id_names.empty() && queries.vector_names.empty()) {
    return formats::InputError(
        "near what? Give --word, ids, --vector, or words with signs after --");
  }
  return queries;
}

std::string LabelOf(const v1::Neighbours& neighbours, int index) {
  return index < neighbours.labels_size() ? neighbours.labels(index) : "";
}

std::string TextOf(const std::vector<std::string>& names,
                   const v1::NearestResponse& response) {
  std::string text;
  for (int q = 0; q < response.queries_size(); ++q) {
    const v1::Neighbours& neighbours = response.queries(q);
    const bool labelled = std::ranges::any_of(
        neighbours.labels(), [](const auto& label) { return !label.empty(); });
    terminal::TextTable table({{"", terminal::Align::kLeft},
                               {"score", terminal::Align::kRight},
                               {"id", terminal::Align::kRight},
                               {labelled ? "label" : ""}});
    for (int i = 0; i < neighbours.ids_size(); ++i) {
      table.AddRow({"", fmt::format("{:.4f}", neighbours.scores(i)),
                    fmt::format("{}", neighbours.ids(i)),
                    LabelOf(neighbours, i)});
    }
    text += fmt::format("{}{}\n{}", q == 0 ? "" : "\n",
                        terminal::Printable(names[static_cast<size_t>(q)]),
                        table.Text());
  }
  return text;
}

std::string JsonOf(const std::vector<std::string>& names,
                   const v1::NearestResponse& response, OutputFormat output) {
  std::string lines;
  Json list = Json::array();
  for (int q = 0; q < response.queries_size(); ++q) {
    const v1::Neighbours& neighbours = response.queries(q);
    Json query = {{"query", names[static_cast<size_t>(q)]},
                  {"neighbours", Json::array()}};
    for (int i = 0; i < neighbours.ids_size(); ++i) {
      query["neighbours"].push_back(
          {{"id", neighbours.ids(i)},
           {"label", LabelOf(neighbours, i)},
           {"score", ToDouble(neighbours.scores(i))}});
    }
    if (output == kJsonLines) {
      lines += ToLine(query);
    } else {
      list.push_back(std::move(query));
    }
  }
  return output == kJsonLines ? lines : ToLine(list);
}

std::string CsvOf(const std::vector<std::string>& names,
                  const v1::NearestResponse& response) {
  std::string text = "query,id,label,score\n";
  for (int q = 0; q < response.queries_size(); ++q) {
    const v1::Neighbours& neighbours = response.queries(q);
    for (int i = 0; i < neighbours.ids_size(); ++i) {
      formats::AppendCsvField(names[static_cast<size_t>(q)], text);
      text += fmt::format(",{},", neighbours.ids(i));
      formats::AppendCsvField(LabelOf(neighbours, i), text);
      text += fmt::format(",{}\n", neighbours.scores(i));
    }
  }
  return text;
}

absl::Status Nearest(const NearestOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(Queries queries, MakeQueries(options, session));
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(const v1::NearestResponse response,
                         client->Nearest(queries.request));
  std::vector<std::string> names = std::move(queries.id_names);
  names.insert(names.end(), queries.vector_names.begin(),
               queries.vector_names.end());
  switch (options.output) {
    case kJson:
    case kJsonLines:
      Print(JsonOf(names, response, options.output));
      break;
    case kCsv:
      Print(CsvOf(names, response));
      break;
    default:
      Print(TextOf(names, response));
  }
  return absl::OkStatus();
}

}  // namespace

void AddNearest(Program& program) {
  auto options = std::make_shared<NearestOptions>();
  CLI::App& verb = program.AddVerb(
      program.app(),
      {.name = "nearest",
       .description = "Find the rows most like a row, a word or a vector",
       .examples = {"quire nearest glove --word king",
                    "quire nearest glove -- king -man +woman",
                    "quire nearest users 42 43 -k 5 --metric dot",
                    "quire nearest users --vector '[0.1,0.2,0.3]' -o json"}},
      [options](Session& session) { return Nearest(*options, session); });
  AddTable(verb, options->table);
  verb.add_option("TERMS", options->terms,
                  "ids, each a query; or words that are added and, with -, "
                  "subtracted: after --")
      ->type_name("");
  verb.add_option("-w,--word", options->words,
                  "near a row by its label; may be repeated")
      ->type_name("LABEL")
      ->allow_extra_args(false);
  verb.add_option("--vector", options->vector,
                  "near a vector, or each of several: '[0.1,0.2]', @FILE, "
                  "X.npy, -")
      ->type_name("V");
  verb.add_option("-k", options->k, "neighbours of each")
      ->type_name("N")
      ->capture_default_str();
  AddChoice<NearestRequest::Metric>(verb, "--metric", options->metric,
                                    {{"cosine", NearestRequest::METRIC_COSINE},
                                     {"dot", NearestRequest::METRIC_DOT},
                                     {"l2", NearestRequest::METRIC_L2}},
                                    "default cosine");
  AddOutput(verb, options->output, {kTable, kJson, kJsonLines, kCsv});
}

}  // namespace quire::cli
