// Tables that take their time, health, and streams.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>

#include "absl/time/clock.h"
#include "base/status.h"
#include "client/client.h"
#include "tests/client/fake_server.h"

namespace quire {
namespace {

using testing::FakeServer;
using ::testing::HasSubstr;
using testing::Refusal;
using testing::UidOf;

class TablesTest : public ::testing::Test {
 protected:
  FakeServer server_;
};

// A table that is filled at the third question.
class FillingTest : public TablesTest {
 protected:
  FillingTest() {
    server_.on_create = [](auto&, auto& request, auto& response) {
      v1::Table& table = *response.mutable_table();
      *table.mutable_spec() = request.spec();
      table.set_uid(testing::Text(UidOf(6)));
      table.set_state(v1::TABLE_STATE_FILLING);
      return grpc::Status::OK;
    };
    server_.on_get = [this](auto&, auto& request, auto& response) {
      EXPECT_EQ(request.table().uid(), testing::Text(UidOf(6)));
      v1::Table& table = *response.mutable_table();
      table.mutable_spec()->set_name(request.table().name());
      table.set_uid(request.table().uid());
      table.set_filled(0.5);
      table.set_state(++polls_ < polls_needed_ ? v1::TABLE_STATE_FILLING
                                               : v1::TABLE_STATE_READY);
      return grpc::Status::OK;
    };
    request_.mutable_spec()->set_name("words");
  }

  v1::CreateTableRequest request_;
  int polls_ = 0;
  int polls_needed_ = 3;
};

TEST_F(FillingTest, CreateReturnsATableThatServes) {
  const auto client = server_.Connect();

  const auto created = client->CreateTable(request_);

  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_EQ(created->table().state(), v1::TABLE_STATE_READY);
  EXPECT_EQ(polls_, 3);
}

TEST_F(FillingTest, ATableThatFillsBeyondTheDeadlineIsToldAsSuch) {
  polls_needed_ = 1'000'000;
  const auto client = server_.Connect();

  const auto created = client->CreateTable(
      request_, {.deadline = absl::Now() + absl::Milliseconds(200)});

  EXPECT_EQ(ReasonOf(created.status()), Reason::kDeadline);
  EXPECT_THAT(std::string(created.status().message()), HasSubstr("50 %"));
}

TEST_F(FillingTest, ATableThatIsDroppedWhileItFillsIsAnError) {
  server_.on_get = [](auto&, auto&, auto&) {
    return Refusal(Reason::kNoSuchTable, "there is no table 'words'");
  };
  const auto client = server_.Connect();

  EXPECT_EQ(ReasonOf(client->CreateTable(request_).status()),
            Reason::kNoSuchTable);
}

TEST_F(TablesTest, AServerThatServesIsHealthy) {
  const auto client = server_.Connect();

  const absl::Status health = client->Health();

  EXPECT_TRUE(health.ok()) << health;
}

TEST_F(TablesTest, AServerThatIsNotServingIsNot) {
  server_.SetServing(false);
  const auto client = server_.Connect();

  const absl::Status health = client->Health();

  EXPECT_EQ(ReasonOf(health), Reason::kStopping);
  EXPECT_THAT(std::string(health.message()), HasSubstr(server_.address()));
}

// What an import brought, put together.
struct Imported {
  v1::TableSpec spec;
  int64_t step = 0;
  std::vector<float> values;
  std::vector<float> state;
  Labels labels;
  int chunk_count = 0;
  size_t chunk_bytes_max = 0;

  // Reads a stream as a server of ours does.
  grpc::Status Read(grpc::ServerReader<v1::ImportTableRequest>& reader) {
    v1::ImportTableRequest part;
    if (!reader.Read(&part) || !part.has_header()) {
      return Refusal(Reason::kMalformed, "no header");
    }
    spec = part.header().spec();
    step = part.header().step();
    while (reader.Read(&part)) {
      const v1::ImportTableRequest::Chunk& chunk = part.chunk();
      EXPECT_EQ(chunk.first_id() * spec.embedding_dim(),
                static_cast<int64_t>(values.size()));
      EXPECT_EQ(chunk.values().shape().dims(0) * spec.embedding_dim(),
                chunk.values().values_size());
      EXPECT_EQ(chunk.values().shape().dims(1), spec.embedding_dim());
      values.insert(values.end(), chunk.values().values().begin(),
                    chunk.values().values().end());
      if (chunk.has_state()) {
        EXPECT_EQ(chunk.state().shape().dims(0),
                  chunk.values().shape().dims(0));
        EXPECT_EQ(chunk.state().shape().dims(0) * chunk.state().shape().dims(1),
                  chunk.state().values_size());
        state.insert(state.end(), chunk.state().values().begin(),
                     chunk.state().values().end());
      }
      labels.insert(labels.end(), chunk.labels().begin(), chunk.labels().end());
      ++chunk_count;
      chunk_bytes_max = std::max(chunk_bytes_max, part.ByteSizeLong());
    }
    return grpc::Status::OK;
  }
};

class ImportTest : public TablesTest {
 protected:
  ImportTest() {
    spec_.set_name("words");
    spec_.set_embedding_dim(100);
    server_.on_import = [this](auto&, auto& reader, auto& response) {
      grpc::Status status = imported_.Read(reader);
      *response.mutable_table()->mutable_spec() = imported_.spec;
      return status;
    };
  }
  // A dropped import may still be being read into imported_.
  ~ImportTest() override { server_.Stop(); }

  v1::TableSpec spec_;
  Imported imported_;
};

TEST_F(ImportTest, RowsAndLabelsArriveInOrderInMessagesOfModestSize) {
  const auto client = server_.Connect();
  std::vector<float> values(20'000 * 100);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i % 4099);
  }
  Labels labels(20'000);
  for (size_t i = 0; i < labels.size(); ++i) {
    labels[i] = i % 7 == 0 ? std::string(4096, 'x') : std::to_string(i);
  }
  auto import = client->ImportTable(spec_);
  ASSERT_TRUE(import.ok()) << import.status();

  const std::span<const float> view = values;
  ASSERT_TRUE((*import)
                  ->Write(view.first(12'345 * 100),
                          {labels.begin(), labels.begin() + 12'345})
                  .ok());
  ASSERT_TRUE((*import)
                  ->Write(view.subspan(12'345 * 100),
                          {labels.begin() + 12'345, labels.end()})
                  .ok());
  const auto table = (*import)->Finish();

  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->spec().name(), "words");
  EXPECT_EQ(imported_.values, values);
  EXPECT_EQ(imported_.labels, labels);
  EXPECT_GT(imported_.chunk_count, 2);
  EXPECT_LT(imported_.chunk_bytes_max, 4u << 20);
}

TEST_F(ImportTest, StateAndStepGoAlongWithTheRows) {
  const auto client = server_.Connect();
  const std::vector<float> values(9000 * 100, 1.0f);
  std::vector<float> state(9000 * 101);
  for (size_t i = 0; i < state.size(); ++i) {
    state[i] = static_cast<float>(i % 4099);
  }
  v1::ImportTableRequest::Header header;
  *header.mutable_spec() = spec_;
  header.set_step(int64_t{1} << 40);
  auto import = client->ImportTable(header);
  ASSERT_TRUE(import.ok()) << import.status();

  EXPECT_EQ(FieldOf((*import)->Write(std::vector<float>(200), {},
                                     std::vector<float>(3))),
            "state");
  ASSERT_TRUE((*import)->Write(values, {}, state).ok());
  ASSERT_TRUE((*import)->Finish().ok());

  EXPECT_EQ(imported_.step, int64_t{1} << 40);
  EXPECT_EQ(imported_.values, values);
  EXPECT_EQ(imported_.state, state);
  EXPECT_GT(imported_.chunk_count, 4);
  EXPECT_LT(imported_.chunk_bytes_max, 2u << 20);
}

TEST_F(ImportTest, ValuesThatAreNoWholeRowsAreRefusedHere) {
  const auto client = server_.Connect();
  auto import = client->ImportTable(spec_);
  ASSERT_TRUE(import.ok()) << import.status();

  EXPECT_EQ(FieldOf((*import)->Write(std::vector<float>(150), {})), "values");
  EXPECT_EQ(FieldOf((*import)->Write(std::vector<float>(200), {"one"})),
            "labels");
}

TEST_F(ImportTest, ATableWithoutColumnsIsRefusedHere) {
  const auto client = server_.Connect();
  spec_.set_embedding_dim(0);

  EXPECT_EQ(FieldOf(client->ImportTable(spec_).status()), "spec.embedding_dim");
}

TEST_F(ImportTest, TheServersRefusalEndsItWithItsSentence) {
  server_.on_import = [](auto&, auto&, auto&) {
    return Refusal(Reason::kTableExists, "table 'words' exists");
  };
  const auto client = server_.Connect();
  auto import = client->ImportTable(spec_);

  // What was sent before the refusal arrived is lost without a word.
  absl::Status status = import.status();
  for (int i = 0; status.ok() && i < 1000; ++i) {
    status = (*import)->Write(std::vector<float>(100'000), {});
  }

  EXPECT_EQ(ReasonOf(status), Reason::kTableExists);
  if (import.ok()) {
    EXPECT_EQ(ReasonOf((*import)->Finish().status()), Reason::kTableExists);
  }
}

TEST_F(ImportTest, AfterTheEndNothingIsWritten) {
  const auto client = server_.Connect();
  auto import = client->ImportTable(spec_);
  ASSERT_TRUE(import.ok()) << import.status();
  ASSERT_TRUE((*import)->Finish().ok());

  EXPECT_FALSE((*import)->Write(std::vector<float>(100), {}).ok());
}

// A server that has all rows cannot tell a client that has finished from one
// that has gone: a file with a row too many was refused, and its table made.
TEST_F(ImportTest, DroppedItHasNotSentItsLastRows) {
  server_.on_list = [](auto&, auto&, auto&) { return grpc::Status::OK; };
  struct Seen {
    std::atomic<int64_t> floats = 0;
    std::promise<void> ended;
  };
  const auto seen = std::make_shared<Seen>();
  server_.on_import = [seen](auto&, auto& reader, auto&) {
    v1::ImportTableRequest part;
    while (reader.Read(&part)) {
      seen->floats += part.chunk().values().values_size();
    }
    seen->ended.set_value();
    return grpc::Status::OK;
  };
  const auto client = server_.Connect();
  auto import = client->ImportTable(spec_);
  ASSERT_TRUE(import.ok()) << import.status();
  ASSERT_TRUE((*import)->Write(std::vector<float>(100'000), {}).ok());
  ASSERT_TRUE((*import)->Write(std::vector<float>(100), {}).ok());

  // Round trips in which the last rows would arrive, if they were sent.
  for (int i = 0; i < 200 && seen->floats < 100'100; ++i) {
    EXPECT_TRUE(client->ListTables().ok());
  }
  import->reset();

  seen->ended.get_future().wait();
  EXPECT_EQ(seen->floats, 100'000);
}

TEST_F(ImportTest, DroppedItIsCancelled) {
  // Shared: set_value may still be at it when the future is ready.
  const auto cancelled = std::make_shared<std::promise<bool>>();
  server_.on_import = [cancelled](auto& context, auto& reader, auto&) {
    v1::ImportTableRequest part;
    while (reader.Read(&part)) {
    }
    cancelled->set_value(context.IsCancelled());
    return grpc::Status::OK;
  };
  const auto client = server_.Connect();
  auto import = client->ImportTable(spec_);
  ASSERT_TRUE(import.ok()) << import.status();
  ASSERT_TRUE((*import)->Write(std::vector<float>(100), {}).ok());

  import->reset();

  EXPECT_TRUE(cancelled->get_future().get());
}

class ExportTest : public TablesTest {
 protected:
  v1::ExportTableRequest request_;
};

TEST_F(ExportTest, TheHeaderThenTheChunksThenNothing) {
  server_.on_export = [](auto& writer) {
    v1::ExportTableResponse part;
    part.mutable_header()->mutable_spec()->set_name("words");
    writer.Write(part);
    for (int i = 0; i < 3; ++i) {
      part.mutable_chunk()->set_first_id(i * 10);
      writer.Write(part);
    }
    return grpc::Status::OK;
  };
  const auto client = server_.Connect();

  auto stream = client->ExportTable(request_);

  ASSERT_TRUE(stream.ok()) << stream.status();
  EXPECT_EQ((*stream)->table().spec().name(), "words");
  for (int i = 0; i < 3; ++i) {
    const auto chunk = (*stream)->Read();
    ASSERT_TRUE(chunk.ok() && chunk->has_value());
    EXPECT_EQ((*chunk)->first_id(), i * 10);
  }
  const auto end = (*stream)->Read();
  ASSERT_TRUE(end.ok());
  EXPECT_FALSE(end->has_value());
}

TEST_F(ExportTest, ARefusalComesAtOnce) {
  server_.on_export = [](auto&) {
    return Refusal(Reason::kNoSuchTable, "there is no table 'words'");
  };
  const auto client = server_.Connect();

  EXPECT_EQ(ReasonOf(client->ExportTable(request_).status()),
            Reason::kNoSuchTable);
}

TEST_F(ExportTest, OneThatBreaksIsAnErrorAndNotAnEnd) {
  server_.on_export = [](auto& writer) {
    v1::ExportTableResponse part;
    part.mutable_header();
    writer.Write(part);
    part.mutable_chunk();
    writer.Write(part);
    return Refusal(Reason::kNoSuchTable, "dropped");
  };
  const auto client = server_.Connect();
  auto stream = client->ExportTable(request_);
  ASSERT_TRUE(stream.ok()) << stream.status();
  ASSERT_TRUE((*stream)->Read().ok());

  EXPECT_EQ(ReasonOf((*stream)->Read().status()), Reason::kNoSuchTable);
  EXPECT_EQ(ReasonOf((*stream)->Read().status()), Reason::kNoSuchTable);
}

TEST_F(ExportTest, WithoutAHeaderItIsABug) {
  server_.on_export = [](auto&) { return grpc::Status::OK; };
  const auto client = server_.Connect();

  EXPECT_EQ(ReasonOf(client->ExportTable(request_).status()), Reason::kBug);
}

TEST_F(ExportTest, HalfReadItMayBeDroppedAndMayOutliveItsClient) {
  server_.on_export = [](auto& writer) {
    v1::ExportTableResponse part;
    part.mutable_header();
    writer.Write(part);
    part.mutable_chunk();
    int written = 0;
    while (written < 1'000'000 && writer.Write(part)) {
      ++written;
    }
    return grpc::Status::OK;
  };
  auto client = server_.Connect();
  auto stream = client->ExportTable(request_);
  ASSERT_TRUE(stream.ok()) << stream.status();

  client.reset();

  EXPECT_TRUE((*stream)->Read().ok());
  stream->reset();
}

}  // namespace
}  // namespace quire
