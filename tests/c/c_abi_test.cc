// The C ABI against a real server, over loopback.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "client/client_c.h"
#include "server/server.h"
#include "tests/main/temp_dir.h"

namespace quire {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// An error, taken and freed.
struct Failure {
  int code = 0;
  std::string code_name;
  std::string reason;
  std::string field;
  std::string message;
};

Failure Take(quire_error* error) {
  if (error == nullptr) {
    return {};
  }
  const Failure failure{.code = quire_error_code(error),
                        .code_name = quire_error_code_name(error),
                        .reason = quire_error_reason(error),
                        .field = quire_error_field(error),
                        .message = quire_error_message(error)};
  quire_error_free(error);
  return failure;
}

void ExpectOk(quire_error* error) {
  const Failure failure = Take(error);
  EXPECT_EQ(failure.code, 0) << failure.code_name << ": " << failure.message;
}

std::string TakeText(char* text) {
  std::string copy = text;
  quire_text_free(text);
  return copy;
}

class CAbiTest : public ::testing::Test {
 protected:
  void SetUp() override { Start(); }

  void Start(ServerOptions options = {}) {
    options.listen = "127.0.0.1:0";
    options.table_bytes_max = 256 << 20;
    options.inflight_bytes_max = int64_t{1} << 30;
    auto server = Server::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ExpectOk(quire_connect(server_->address().c_str(), 20'000, &client_));
    ASSERT_NE(client_, nullptr);
  }

  void TearDown() override { quire_client_free(client_); }

  std::string Create(const std::string& spec) {
    char* table = nullptr;
    ExpectOk(quire_create_table(client_, ("{\"spec\": " + spec + "}").c_str(),
                                -1, &table));
    return TakeText(table);
  }

  // Ten rows of three, trained by plain SGD with learning rate 1.
  std::string CreateWords() {
    return Create(R"({"name": "words", "num_embeddings": 10,
        "embedding_dim": 3, "optimizer": {"learning_rate": 1}})");
  }

  quire_lookup_item Item(const std::vector<int64_t>& ids,
                         std::vector<float>& out) {
    quire_lookup_item item = {};
    item.table = "words";
    item.ids = ids.data();
    item.id_count = std::ssize(ids);
    item.out = out.data();
    item.out_count = std::ssize(out);
    return item;
  }

  quire_gradient_item Gradient(const std::vector<int64_t>& ids,
                               const std::vector<float>& gradient) {
    quire_gradient_item item = {};
    item.table = "words";
    item.ids = ids.data();
    item.id_count = std::ssize(ids);
    item.gradient = gradient.data();
    item.gradient_count = std::ssize(gradient);
    return item;
  }

  std::vector<float> Rows(const std::vector<int64_t>& ids) {
    std::vector<float> out(ids.size() * 3);
    const quire_lookup_item item = Item(ids, out);
    ExpectOk(quire_lookup(client_, &item, 1, -1));
    return out;
  }

  std::vector<float> StoredRows(const std::vector<int64_t>& ids) {
    quire_rows* rows = nullptr;
    ExpectOk(quire_read_rows(client_, "words", ids.data(), std::ssize(ids), 0,
                             -1, &rows));
    EXPECT_EQ(quire_rows_count(rows), std::ssize(ids));
    EXPECT_EQ(quire_rows_dim(rows), 3);
    const float* const values = quire_rows_values(rows);
    std::vector<float> copy(values, values + 3 * ids.size());
    quire_rows_free(rows);
    return copy;
  }

  std::unique_ptr<Server> server_;
  quire_client* client_ = nullptr;
};

TEST_F(CAbiTest, ALookupWritesTheStoredBytesInPlace) {
  CreateWords();
  const std::vector<int64_t> ids = {2, 3, 2, 9};

  EXPECT_EQ(Rows(ids), StoredRows(ids));
}

TEST_F(CAbiTest, AFutureIsReadyOnceItsRowsAreWritten) {
  CreateWords();
  const std::vector<int64_t> ids = {2, 3, 2, 9};
  std::vector<float> out(ids.size() * 3);
  quire_future* future = nullptr;
  {
    const quire_lookup_item item = Item(ids, out);
    ExpectOk(quire_lookup_async(client_, &item, 1, -1, &future));
  }

  EXPECT_EQ(quire_future_wait(future, 20'000), 1);
  EXPECT_EQ(quire_future_is_ready(future), 1);
  ExpectOk(quire_future_error(future));
  EXPECT_EQ(out, Rows(ids));
  EXPECT_EQ(Take(quire_future_pushed(future, nullptr, nullptr)).code, 3);
  quire_future_free(future);
}

TEST_F(CAbiTest, APushMovesRowsAndTellsWhatItDid) {
  CreateWords();
  const std::vector<float> before = Rows({4, 5});
  const std::vector<int64_t> ids = {4, 5, 4};
  const std::vector<float> gradient = {1, 1, 1, 2, 2, 2, 4, 4, 4};
  quire_gradient_item item = Gradient(ids, gradient);
  const double scale = 0.5;
  const double rate = 2;
  item.gradient_scale = &scale;
  item.learning_rate = &rate;
  quire_pushed pushed = {};
  quire_pushed_table table = {};

  ExpectOk(quire_apply_gradient(client_, &item, 1, QUIRE_DURABILITY_UNSPECIFIED,
                                -1, &pushed, &table));

  EXPECT_EQ(table.rows_changed, 2);
  EXPECT_EQ(table.step, 1);
  EXPECT_EQ(pushed.position.lsn, 0u);
  EXPECT_EQ(pushed.reached, QUIRE_DURABILITY_MEMORY);
  EXPECT_EQ(pushed.exactly_once, 1);
  const std::vector<float> after = Rows({4, 5});
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(after[i], before[i] - (i < 3 ? 5.0f : 2.0f));
  }
}

TEST_F(CAbiTest, OptionsSayHowItemsTravel) {
  Create(R"({"name": "words", "num_embeddings": 10, "embedding_dim": 3,
      "initializer": {"constant": {"value": 0.1}},
      "optimizer": {"learning_rate": 1}})");
  const std::vector<int64_t> ids = {4, 5, 4};
  std::vector<float> plain(9);
  std::vector<float> half(9);
  const quire_lookup_item lookups[] = {Item(ids, plain), Item(ids, half)};
  const int32_t types[] = {QUIRE_TYPE_FLOAT32, QUIRE_TYPE_FLOAT16};
  const int32_t unique[] = {0, 1};
  quire_lookup_options how = {};
  how.struct_size = sizeof(how);
  how.wire_types = types;
  how.unique_ids = unique;

  ExpectOk(quire_lookup_with(client_, lookups, 2, &how, -1, nullptr));

  EXPECT_THAT(plain, Each(0.1f));
  EXPECT_THAT(half, Each(0.0999755859375f));
  std::ranges::fill(half, 0.0f);
  quire_future* future = nullptr;
  ExpectOk(quire_lookup_with_async(client_, lookups, 2, &how, -1, &future));
  EXPECT_EQ(quire_future_wait(future, 20'000), 1);
  quire_future_free(future);
  EXPECT_THAT(half, Each(0.0999755859375f));

  const quire_gradient_item push = Gradient(ids, plain);
  quire_push_options push_how = {};
  push_how.struct_size = sizeof(push_how);
  push_how.wire_types = &types[1];
  push_how.unique_ids = &unique[1];
  push_how.min_durability = QUIRE_DURABILITY_MEMORY;
  quire_pushed pushed = {};
  ExpectOk(quire_apply_gradient_with(client_, &push, 1, &push_how, -1, &pushed,
                                     nullptr));
  EXPECT_EQ(pushed.reached, QUIRE_DURABILITY_MEMORY);
  // 0.1 + 0.1, as FLOAT16.
  EXPECT_THAT(Rows({4}), Each(0.1f - 0.199951171875f));
  ExpectOk(
      quire_apply_gradient_with_async(client_, &push, 1, nullptr, -1, &future));
  EXPECT_EQ(quire_future_wait(future, 20'000), 1);
  ExpectOk(quire_future_error(future));
  quire_future_free(future);
  EXPECT_THAT(Rows({5}), Each(0.1f - 0.0999755859375f - 0.1f));
}

TEST_F(CAbiTest, OptionsThatAreNoneAreRefused) {
  CreateWords();
  const std::vector<int64_t> ids = {4};
  std::vector<float> out(3, 1.0f);
  const quire_lookup_item item = Item(ids, out);
  const quire_gradient_item push = Gradient(ids, out);
  const auto lookup = [&](const quire_lookup_options& how) {
    return Take(quire_lookup_with(client_, &item, 1, &how, -1, nullptr));
  };
  const int32_t type = 4;
  quire_lookup_options how = {};

  EXPECT_EQ(lookup(how).field, "options.struct_size");
  how.struct_size = sizeof(how);
  how.wire_types = &type;
  EXPECT_EQ(lookup(how).field, "options.wire_types[0]");
  EXPECT_EQ(lookup(how).code, 3);
  // A caller of a version that had but the first field.
  how.struct_size = sizeof(how.struct_size);
  EXPECT_EQ(lookup(how).code, 0);
  quire_push_options push_how = {};
  push_how.struct_size = sizeof(push_how);
  push_how.wire_types = &type;
  EXPECT_EQ(Take(quire_apply_gradient_with(client_, &push, 1, &push_how, -1,
                                           nullptr, nullptr))
                .field,
            "options.wire_types[0]");
  push_how.wire_types = nullptr;
  push_how.min_durability = 77;
  EXPECT_EQ(Take(quire_apply_gradient_with(client_, &push, 1, &push_how, -1,
                                           nullptr, nullptr))
                .field,
            "min_durability");
}

TEST_F(CAbiTest, WhatAnAsynchronousPushIsGivenMayBeReusedAtOnce) {
  CreateWords();
  quire_future* future = nullptr;
  {
    const std::vector<int64_t> ids = {1};
    const std::vector<float> gradient = {1, 2, 3};
    const quire_gradient_item item = Gradient(ids, gradient);
    ExpectOk(quire_apply_gradient_async(client_, &item, 1, 0, -1, &future));
  }

  ASSERT_EQ(quire_future_wait(future, -1), 1);
  quire_pushed pushed = {};
  quire_pushed_table table = {};
  ExpectOk(quire_future_pushed(future, &pushed, &table));
  EXPECT_EQ(table.rows_changed, 1);
  quire_future_free(future);
}

TEST_F(CAbiTest, FreeingTheClientEndsItsCallsAndNotItsFutures) {
  CreateWords();
  std::vector<quire_future*> futures(50);
  const std::vector<int64_t> ids = {1};
  const std::vector<float> gradient = {1, 2, 3};
  const quire_gradient_item item = Gradient(ids, gradient);
  for (quire_future*& future : futures) {
    ExpectOk(quire_apply_gradient_async(client_, &item, 1, 0, -1, &future));
  }

  quire_client_free(client_);
  client_ = nullptr;

  for (quire_future* future : futures) {
    EXPECT_EQ(quire_future_is_ready(future), 1);
    ExpectOk(quire_future_error(future));
    quire_future_free(future);
  }
}

TEST_F(CAbiTest, MaxBagsGiveWinnersThatTheirPushBrings) {
  CreateWords();
  const std::vector<int64_t> ids = {1, 2, 3, 4};
  const std::vector<int64_t> offsets = {0, 3, 3, 4};
  const std::vector<float> rows = Rows(ids);
  quire_bags bags = {};
  bags.pooling = QUIRE_POOLING_MAX;
  bags.bag_count = 3;
  bags.offsets = offsets.data();
  std::vector<float> out(9, -7);
  std::vector<int32_t> winners(9, -7);
  quire_lookup_item item = Item(ids, out);
  item.bags = &bags;
  item.winners = winners.data();

  ExpectOk(quire_lookup(client_, &item, 1, -1));

  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(out[i], std::max({rows[i], rows[3 + i], rows[6 + i]}));
    EXPECT_EQ(out[i], rows[static_cast<size_t>(winners[i]) * 3 + i]);
    EXPECT_EQ(winners[3 + i], -1);
    EXPECT_EQ(out[3 + i], 0);
  }
  const std::vector<float> gradient(9, 1);
  quire_gradient_item push = Gradient(ids, gradient);
  bags.winners = winners.data();
  push.bags = &bags;
  ExpectOk(quire_apply_gradient(client_, &push, 1, 0, -1, nullptr, nullptr));
  const std::vector<float> after = Rows(ids);
  for (size_t i = 0; i < 9; ++i) {
    const bool won = static_cast<size_t>(winners[i % 3]) == i / 3;
    EXPECT_EQ(after[i], won ? rows[i] - 1 : rows[i]);
  }
}

TEST_F(CAbiTest, WeightedSumsGiveTheGradientOfTheirWeights) {
  Create(R"({"name": "words", "num_embeddings": 10, "embedding_dim": 3,
      "initializer": {"constant": {"value": 2}}})");
  const std::vector<int64_t> ids = {1, 2};
  const std::vector<int64_t> offsets = {0, 2};
  const std::vector<float> weights = {0.5, 3};
  const std::vector<float> gradient = {1, 10, 100};
  std::vector<float> out(3);
  std::vector<float> weight_gradients(2);
  quire_bags bags = {};
  bags.pooling = QUIRE_POOLING_SUM;
  bags.bag_count = 1;
  bags.offsets = offsets.data();
  bags.weights = weights.data();
  quire_lookup_item lookup = Item(ids, out);
  lookup.bags = &bags;
  quire_gradient_item push = Gradient(ids, gradient);
  push.bags = &bags;
  push.weight_gradients = weight_gradients.data();

  ExpectOk(quire_lookup(client_, &lookup, 1, -1));
  EXPECT_THAT(out, Each(7));
  ExpectOk(quire_apply_gradient(client_, &push, 1, 0, -1, nullptr, nullptr));
  EXPECT_THAT(weight_gradients, Each(222));

  weight_gradients = {0, 0};
  quire_future* future = nullptr;
  ExpectOk(quire_apply_gradient_async(client_, &push, 1, 0, -1, &future));
  quire_future_free(future);  // waits: the gradients are there
  EXPECT_NE(weight_gradients[0], 0);
}

TEST_F(CAbiTest, TablesAreMessagesInJson) {
  EXPECT_THAT(CreateWords(), AllOf(HasSubstr("\"created\":true"),
                                   HasSubstr("\"num_embeddings\":\"10\""),
                                   HasSubstr("TABLE_STATE_READY")));
  quire_table_info info = {};
  char* text = nullptr;
  ExpectOk(quire_get_table(client_, "words", -1, &info, &text));
  EXPECT_EQ(info.num_embeddings, 10);
  EXPECT_EQ(info.embedding_dim, 3);
  EXPECT_EQ(info.padding_idx, -1);
  EXPECT_THAT(TakeText(text), HasSubstr("\"embedding_dim\":\"3\""));
  ExpectOk(quire_alter_table(
      client_, R"({"table": {"name": "words"}, "learning_rate": 0.25})", -1,
      &text));
  EXPECT_THAT(TakeText(text), HasSubstr("\"learning_rate\":0.25"));
  ExpectOk(quire_list_tables(client_, -1, &text));
  EXPECT_THAT(TakeText(text), HasSubstr("\"words\""));
  ExpectOk(quire_get_row(client_, "words", 3, -1, &text));
  EXPECT_THAT(TakeText(text), HasSubstr("\"values\":["));
  ExpectOk(quire_server_info(client_, &text));
  EXPECT_THAT(TakeText(text), HasSubstr("\"ids_per_request\":\"4194304\""));
  ExpectOk(quire_get_stats(client_, -1, &text));
  EXPECT_THAT(TakeText(text), HasSubstr("\"method\":\"CreateTable\""));
  ExpectOk(quire_health(client_, -1));
  ExpectOk(quire_drop_table(client_, "words", -1));
  EXPECT_EQ(Take(quire_drop_table(client_, "words", -1)).reason,
            "NO_SUCH_TABLE");
}

TEST_F(CAbiTest, StoredRowsAreWrittenWithTheirState) {
  Create(R"({"name": "words", "num_embeddings": 10, "embedding_dim": 3,
      "optimizer": {"adagrad": {}}})");
  const std::vector<int64_t> ids = {7, 0};
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const std::vector<float> state = {.5, .5, .5, .25, .25, .25};

  ExpectOk(quire_write_rows(client_, "words", ids.data(), 2, values.data(), 6,
                            state.data(), 6, -1));

  quire_rows* rows = nullptr;
  ExpectOk(quire_read_rows(client_, "words", ids.data(), 2, 0, -1, &rows));
  ASSERT_EQ(quire_rows_state_dim(rows), 3);
  EXPECT_EQ(0, std::memcmp(quire_rows_values(rows), values.data(), 24));
  EXPECT_EQ(0, std::memcmp(quire_rows_state(rows), state.data(), 24));
  EXPECT_EQ(quire_rows_labels(rows), nullptr);
  quire_rows_free(rows);
  EXPECT_EQ(Take(quire_write_rows(client_, "words", ids.data(), 2,
                                  values.data(), 5, nullptr, 0, -1))
                .reason,
            "BAD_SHAPE");
}

TEST_F(CAbiTest, LabelsGoInAndComeBack) {
  CreateWords();
  const std::vector<int64_t> ids = {1, 2, 3};
  const std::vector<int64_t> offsets = {0, 5, 5, 8};
  const quire_labels labels = {
      .text = "whaleah\xff", .offsets = offsets.data(), .count = 3};

  ExpectOk(quire_set_labels(client_, "words", ids.data(), 3, &labels, -1));

  quire_labels* found = nullptr;
  ExpectOk(quire_get_labels(client_, "words", ids.data(), 3, -1, &found));
  ASSERT_EQ(found->count, 3);
  EXPECT_EQ(std::vector<int64_t>(found->offsets, found->offsets + 4), offsets);
  EXPECT_EQ(std::string(found->text, 8), "whaleah\xff");
  quire_labels_free(found);
  std::vector<int64_t> of_labels(3);
  ExpectOk(quire_find_labels(client_, "words", &labels, -1, of_labels.data()));
  EXPECT_EQ(of_labels[0], 1);
  EXPECT_EQ(of_labels[2], 3);
}

TEST_F(CAbiTest, NeighboursOfRowsAndVectorsComeInOneAnswer) {
  CreateWords();
  const std::vector<int64_t> ids = {4};
  const std::vector<int64_t> excluded = {0};
  const std::vector<float> vector = Rows({6});
  quire_nearest_query query = {};
  query.table = "words";
  query.k = 2;
  query.metric = QUIRE_METRIC_L2;
  query.return_labels = 1;
  query.ids = ids.data();
  query.id_count = 1;
  query.vectors = vector.data();
  query.vector_count = 1;
  query.dim = 3;
  query.exclude_ids = excluded.data();
  query.exclude_count = 1;
  quire_neighbours* found = nullptr;

  ExpectOk(quire_nearest(client_, &query, -1, &found));

  EXPECT_EQ(quire_neighbours_query_count(found), 2);
  const int64_t* const offsets = quire_neighbours_offsets(found);
  EXPECT_EQ(std::vector<int64_t>(offsets, offsets + 3),
            (std::vector<int64_t>{0, 2, 4}));
  EXPECT_EQ(quire_neighbours_ids(found)[2], 6);
  EXPECT_EQ(quire_neighbours_scores(found)[2], 0);
  EXPECT_EQ(quire_neighbours_labels(found)->count, 4);
  quire_neighbours_free(found);
}

TEST_F(CAbiTest, WhatIsImportedIsExportedByteForByte) {
  std::vector<float> values(3000 * 3);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = 1 / static_cast<float>(i + 1);
  }
  std::string text;
  std::vector<int64_t> offsets = {0};
  for (int i = 0; i < 3000; ++i) {
    text += "w" + std::to_string(i);
    offsets.push_back(std::ssize(text));
  }
  const quire_labels labels = {
      .text = text.data(), .offsets = offsets.data(), .count = 3000};
  quire_import* import = nullptr;
  ExpectOk(quire_import_begin(
      client_,
      R"({"name": "in", "num_embeddings": 3000, "embedding_dim": 3,
          "optimizer": {"rowwise_rmsprop": {}}})",
      /*step=*/77, -1, &import));
  const std::vector<float> states(3000 * 2, 0.25f);
  ExpectOk(quire_import_write(import, values.data(), std::ssize(values),
                              &labels, states.data(), std::ssize(states)));
  ExpectOk(quire_import_finish(import, nullptr));
  quire_import_free(import);

  quire_export* exported = nullptr;
  ExpectOk(quire_export_begin(
      client_, R"({"table": {"name": "in"}, "include_state": true})", -1,
      &exported));
  char* table = nullptr;
  ExpectOk(quire_export_table(exported, &table));
  EXPECT_THAT(TakeText(table),
              AllOf(HasSubstr("\"3000\""), HasSubstr("\"77\"")));
  EXPECT_EQ(quire_export_position(exported).lsn, 0u);
  std::vector<float> came;
  std::string labels_came;
  quire_rows* rows = nullptr;
  for (;;) {
    ExpectOk(quire_export_read(exported, &rows));
    if (rows == nullptr) {
      break;
    }
    EXPECT_EQ(quire_rows_first_id(rows), std::ssize(came) / 3);
    came.insert(came.end(), quire_rows_values(rows),
                quire_rows_values(rows) + 3 * quire_rows_count(rows));
    EXPECT_EQ(quire_rows_state(rows)[2 * quire_rows_count(rows) - 1], 0.25f);
    const quire_labels* const part = quire_rows_labels(rows);
    ASSERT_NE(part, nullptr);
    labels_came.append(part->text,
                       static_cast<size_t>(part->offsets[part->count]));
    quire_rows_free(rows);
  }
  quire_export_free(exported);

  EXPECT_EQ(came, values);
  EXPECT_EQ(labels_came, text);
}

TEST_F(CAbiTest, AnImportThatIsFreedLeavesNoTable) {
  quire_import* import = nullptr;
  ExpectOk(quire_import_begin(
      client_, R"({"name": "half", "num_embeddings": 2, "embedding_dim": 1})",
      0, -1, &import));
  const float value = 1;
  ExpectOk(quire_import_write(import, &value, 1, nullptr, nullptr, 0));

  quire_import_free(import);

  EXPECT_EQ(Take(quire_get_table(client_, "half", -1, nullptr, nullptr)).code,
            5);
}

TEST_F(CAbiTest, LoggedTablesHavePositionsSnapshotsBackupsAndAPast) {
  TearDown();
  const testing::TempDir dir;
  ServerOptions options;
  options.data_dir = dir.Path("data");
  options.backup_dir = dir.Path("backups");
  std::filesystem::create_directory(options.backup_dir);
  Start(options);
  CreateWords();
  const std::vector<float> before = Rows({1});
  const std::vector<int64_t> ids = {1};
  const std::vector<float> gradient = {1, 2, 3};
  const quire_gradient_item item = Gradient(ids, gradient);
  quire_pushed first = {};
  quire_pushed second = {};

  ExpectOk(quire_apply_gradient(client_, &item, 1, QUIRE_DURABILITY_SYNCED, -1,
                                &first, nullptr));
  ExpectOk(quire_apply_gradient(client_, &item, 1, 0, -1, &second, nullptr));
  EXPECT_GT(first.position.epoch, 0u);
  EXPECT_GT(second.position.lsn, first.position.lsn);
  EXPECT_EQ(first.reached, QUIRE_DURABILITY_SYNCED);

  quire_position snapshot = {};
  ExpectOk(quire_create_snapshot(client_, -1, &snapshot));
  EXPECT_GE(snapshot.lsn, second.position.lsn);
  char* text = nullptr;
  ExpectOk(quire_verify_table(client_, "words", -1, &text));
  EXPECT_THAT(TakeText(text),
              HasSubstr(fmt::format("\"snapshot_lsn\":\"{}\"", snapshot.lsn)));
  EXPECT_EQ(Take(quire_verify_table(client_, "wrods", -1, &text)).reason,
            "NO_SUCH_TABLE");
  ExpectOk(quire_back_up(client_, "monday", -1, &text));
  EXPECT_THAT(TakeText(text), HasSubstr("\"position\":{"));
  EXPECT_TRUE(std::filesystem::exists(dir.Path("backups/monday")));
  ExpectOk(quire_rewind_table(client_, "words", first.position.lsn, -1, &text));
  EXPECT_THAT(TakeText(text), HasSubstr("\"step\":\"1\""));
  EXPECT_EQ(Rows({1})[2], before[2] - 3);
  quire_export* exported = nullptr;
  ExpectOk(quire_export_begin(client_, R"({"table": {"name": "words"}})", -1,
                              &exported));
  EXPECT_GT(quire_export_position(exported).lsn, snapshot.lsn);
  quire_export_free(exported);
}

TEST_F(CAbiTest, ALookupWaitsForAPositionAndTellsIts) {
  TearDown();
  const testing::TempDir dir;
  ServerOptions options;
  options.data_dir = dir.Path("data");
  Start(options);
  CreateWords();
  const std::vector<float> before = Rows({1});
  const std::vector<int64_t> ids = {1};
  const std::vector<float> gradient = {1, 2, 3};
  const quire_gradient_item push = Gradient(ids, gradient);
  quire_pushed pushed = {};
  ExpectOk(quire_apply_gradient(client_, &push, 1, 0, -1, &pushed, nullptr));
  std::vector<float> out(3);
  const quire_lookup_item item = Item(ids, out);
  quire_position position = {};
  quire_lookup_options how = {};
  how.struct_size = sizeof(how);
  how.min_position = &pushed.position;

  ExpectOk(quire_lookup_with(client_, &item, 1, &how, -1, &position));

  EXPECT_EQ(out[2], before[2] - 3);
  EXPECT_EQ(position.epoch, pushed.position.epoch);
  EXPECT_EQ(position.lsn, pushed.position.lsn);
  quire_position later = position;
  ++later.lsn;
  how.min_position = &later;
  position = {.epoch = 7, .lsn = 7};
  EXPECT_EQ(
      Take(quire_lookup_with(client_, &item, 1, &how, 200, &position)).reason,
      "NOT_CAUGHT_UP");
  EXPECT_EQ(position.lsn, 7u);  // nothing is written after an error
  // Without waiting: it is there with the push.
  quire_future* future = nullptr;
  ExpectOk(quire_lookup_with_async(client_, &item, 1, &how, -1, &future));
  EXPECT_EQ(quire_future_wait(future, 50), 0);
  EXPECT_EQ(quire_future_position(future).lsn, 0u);
  quire_future* push_future = nullptr;
  ExpectOk(quire_apply_gradient_async(client_, &push, 1, 0, -1, &push_future));
  EXPECT_EQ(quire_future_wait(push_future, -1), 1);
  EXPECT_EQ(quire_future_position(push_future).lsn, later.lsn);
  quire_future_free(push_future);
  EXPECT_EQ(quire_future_wait(future, -1), 1);
  ExpectOk(quire_future_error(future));
  EXPECT_EQ(quire_future_position(future).lsn, later.lsn);
  EXPECT_EQ(out[2], before[2] - 6);
  quire_future_free(future);
}

TEST_F(CAbiTest, WorkersShareAClock) {
  const auto request = [](int worker, int step) {
    return fmt::format(
        R"({{"clock": "run", "workers": 2, "worker": {}, "step": "{}"}})",
        worker, step);
  };
  char* text = nullptr;
  ExpectOk(quire_advance_clock(client_, request(0, 0).c_str(), -1, &text));
  EXPECT_THAT(TakeText(text), HasSubstr("\"slowest_step\":\"0\""));

  const Failure behind =
      Take(quire_advance_clock(client_, request(0, 3).c_str(), 300, &text));

  EXPECT_EQ(behind.code, 14);
  EXPECT_EQ(behind.reason, "CLOCK_BEHIND");
  EXPECT_THAT(behind.message, HasSubstr("worker 1 of 2 had done 0"));
  ExpectOk(quire_advance_clock(client_, request(1, 3).c_str(), -1, &text));
  EXPECT_THAT(TakeText(text), HasSubstr("\"slowest_worker\":0"));
  EXPECT_EQ(
      Take(quire_advance_clock(client_, R"({"clok": "run"})", -1, &text)).field,
      "request");
  EXPECT_EQ(Take(quire_advance_clock(client_, nullptr, -1, &text)).field,
            "request");
  EXPECT_EQ(Take(quire_advance_clock(client_, "{}", -1, nullptr)).field,
            "response");
}

TEST_F(CAbiTest, ErrorsCarryCodeReasonFieldAndSentence) {
  CreateWords();
  const std::vector<int64_t> ids = {2, 10};
  std::vector<float> out(6);
  quire_lookup_item item = Item(ids, out);

  const Failure bad_id = Take(quire_lookup(client_, &item, 1, -1));
  EXPECT_EQ(bad_id.code, 11);
  EXPECT_EQ(bad_id.code_name, "OUT_OF_RANGE");
  EXPECT_EQ(bad_id.reason, "ID_OUT_OF_RANGE");
  EXPECT_EQ(bad_id.field, "tables[0].ids.ids[1]");
  EXPECT_EQ(bad_id.message,
            "table 'words': id 10 at position 1 is not in [0, 10)");

  item.table = "wrods";
  EXPECT_EQ(Take(quire_lookup(client_, &item, 1, -1)).reason, "NO_SUCH_TABLE");
  item.out_count = 5;
  EXPECT_EQ(Take(quire_lookup(client_, &item, 1, -1)).reason, "BAD_SHAPE");
  item.out_count = 6;
  item.table = nullptr;
  EXPECT_EQ(Take(quire_lookup(client_, &item, 1, -1)).field, "items[0].table");
  item.table = "words";
  item.ids = nullptr;
  EXPECT_EQ(Take(quire_lookup(client_, &item, 1, -1)).field, "items[0].ids");
  EXPECT_EQ(Take(quire_lookup(client_, nullptr, -1, -1)).field, "items");
  EXPECT_EQ(Take(quire_lookup(nullptr, &item, 1, -1)).field, "client");

  quire_future* future = nullptr;
  item = Item(ids, out);
  ExpectOk(quire_lookup_async(client_, &item, 1, -1, &future));
  EXPECT_EQ(quire_future_wait(future, -1), 1);
  EXPECT_EQ(Take(quire_future_error(future)).reason, "ID_OUT_OF_RANGE");
  EXPECT_EQ(Take(quire_future_error(future)).reason, "ID_OUT_OF_RANGE");
  quire_future_free(future);
}

TEST_F(CAbiTest, BadMessagesAreNamed) {
  char* table = nullptr;

  const Failure unknown = Take(quire_create_table(
      client_, R"({"spec": {"name": "x", "rows": 3}})", -1, &table));
  EXPECT_EQ(unknown.code, 3);
  EXPECT_EQ(unknown.field, "request");
  EXPECT_THAT(unknown.message, HasSubstr("rows"));
  EXPECT_EQ(Take(quire_create_table(client_, "{", -1, &table)).reason,
            "MALFORMED");
  EXPECT_EQ(Take(quire_create_table(client_, nullptr, -1, &table)).field,
            "request");
  EXPECT_EQ(table, nullptr);
}

TEST_F(CAbiTest, ANumberThatIsNotFiniteIsRefused) {
  CreateWords();
  const std::vector<int64_t> ids = {1};
  const std::vector<float> gradient = {
      1, std::numeric_limits<float>::quiet_NaN(), 1};
  const quire_gradient_item item = Gradient(ids, gradient);

  EXPECT_EQ(
      Take(quire_apply_gradient(client_, &item, 1, 0, -1, nullptr, nullptr))
          .reason,
      "NON_FINITE");
  EXPECT_EQ(
      Take(quire_apply_gradient(client_, &item, 1, 99, -1, nullptr, nullptr))
          .field,
      "min_durability");
}

TEST_F(CAbiTest, WhereNoServerIsNobodyIsConnected) {
  quire_client* nobody = nullptr;

  const Failure refused = Take(quire_connect("127.0.0.1:1", 200, &nobody));

  EXPECT_EQ(refused.code, 14);
  EXPECT_EQ(refused.reason, "CANNOT_CONNECT");
  EXPECT_EQ(nobody, nullptr);
}

TEST_F(CAbiTest, NullMayBeFreed) {
  quire_error_free(nullptr);
  quire_client_free(nullptr);
  quire_future_free(nullptr);
  quire_text_free(nullptr);
  quire_labels_free(nullptr);
  quire_rows_free(nullptr);
  quire_neighbours_free(nullptr);
  quire_import_free(nullptr);
  quire_export_free(nullptr);
}

}  // namespace
}  // namespace quire
