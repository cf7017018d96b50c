// Tables over real gRPC: made, refused, imported, exported, searched, dropped.

#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include "e2e/service_fixture.h"

namespace quire::testing {
namespace {

using ::testing::ElementsAre;

class TablesTest : public ServiceTest {
 protected:
  // An import's header.
  static v1::ImportTableRequest Header(const v1::TableSpec& spec) {
    v1::ImportTableRequest part;
    *part.mutable_header()->mutable_spec() = spec;
    return part;
  }

  // Rows of dim 2 whose values count up from their id.
  static v1::ImportTableRequest Chunk(int64_t first_id, int rows) {
    v1::ImportTableRequest part;
    part.mutable_chunk()->set_first_id(first_id);
    for (int i = 0; i < 2 * rows; ++i) {
      part.mutable_chunk()->mutable_values()->add_values(
          static_cast<float>(2 * first_id + i));
    }
    return part;
  }

  grpc::Status Import(const std::vector<v1::ImportTableRequest>& parts,
                      v1::ImportTableResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::ImportTableResponse ignored;
    auto writer = tables_->ImportTable(
        &context, response == nullptr ? &ignored : response);
    for (const v1::ImportTableRequest& part : parts) {
      if (!writer->Write(part)) {
        break;
      }
    }
    writer->WritesDone();
    return writer->Finish();
  }

  int TableCount() {
    grpc::ClientContext context;
    v1::ListTablesResponse tables;
    EXPECT_TRUE(tables_->ListTables(&context, {}, &tables).ok());
    return tables.tables_size();
  }
};

// --- Creation ---

TEST_F(TablesTest, WhatExistsIsNotMadeAgain) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  ExpectRefused(
      [&] { return Create("t", 10, 2); },
      {grpc::StatusCode::ALREADY_EXISTS, "TABLE_EXISTS", "spec.name", {"'t'"}});
  ExpectRefused(
      [&] { return Create("t", 11, 3); },
      {grpc::StatusCode::ALREADY_EXISTS, "TABLE_EXISTS", "spec.name", {"'t'"}});
  v1::CreateTableRequest verify;
  *verify.mutable_spec() = Spec("t", 10, 3);
  verify.set_if_exists(v1::IF_EXISTS_VERIFY);
  const auto create = [&] {
    grpc::ClientContext context;
    v1::CreateTableResponse response;
    return tables_->CreateTable(&context, verify, &response);
  };
  ExpectRefused(create, {grpc::StatusCode::FAILED_PRECONDITION,
                         "TABLE_DIFFERS",
                         "spec.embedding_dim",
                         {"it has 2", "wants 3"}});
  verify.set_if_exists(static_cast<v1::IfExists>(7));
  ExpectRefused(create, {kInvalid, "BAD_VALUE", "if_exists", {"7"}});
}

TEST_F(TablesTest, ABadNameMakesNone) {
  for (const std::string& bad :
       {std::string(), std::string("bad name"), std::string("../etc"),
        std::string(".hidden"), std::string("a\nb"), std::string(129, 'a')}) {
    ExpectRefused([&] { return Create(bad, 10, 2); },
                  {kInvalid,
                   "BAD_NAME",
                   "spec.name",
                   {std::to_string(bad.size()) + " bytes"}});
  }
  EXPECT_TRUE(Create(std::string(128, 'a'), 10, 2).ok());
}

TEST_F(TablesTest, SizesOutsideTheirRangeMakeNone) {
  const auto refused = [&](int64_t rows, int64_t dim, const std::string& field,
                           const std::string& says) {
    ExpectRefused([&] { return Create("t", rows, dim); },
                  {kInvalid, "BAD_VALUE", field, {says}});
  };
  refused(10, 0, "spec.embedding_dim", "is 0");
  refused(10, -1, "spec.embedding_dim", "is -1");
  refused(10, 65537, "spec.embedding_dim", "[1, 65536]");
  refused(10, std::numeric_limits<int64_t>::max(), "spec.embedding_dim", "");
  refused(-1, 2, "spec.num_embeddings", "is -1");
  refused((int64_t{1} << 40) + 1, 2, "spec.num_embeddings", "");
  for (const int bad : {-1, 3, 8192}) {
    v1::TableSpec spec = Spec("t", 10, 2);
    spec.set_shard_count(bad);
    ExpectRefused(
        [&] { return Create(spec); },
        {kInvalid, "BAD_VALUE", "spec.shard_count", {std::to_string(bad)}});
  }
}

TEST_F(TablesTest, OneThatNeverFitsTheMemoryIsToldTheLimitAndARemedy) {
  for (const auto& [rows, dim] : {std::pair<int64_t, int64_t>{100'000'000, 64},
                                  {int64_t{1} << 40, 65536},
                                  {(kTableBytes >> 8) + 1, 64}}) {
    ExpectRefused(
        [&, rows = rows, dim = dim] { return Create("huge", rows, dim); },
        {kInvalid,
         "TOO_LARGE",
         "spec.num_embeddings",
         {"'huge'", std::to_string(kTableBytes), "--memory-limit"}});
  }
}

TEST_F(TablesTest, OneThatDoesNotFitNowDoesOnceAnotherIsDropped) {
  const int64_t rows = (kTableBytes >> 8) / 4 * 3;
  ASSERT_TRUE(Create("large", rows, 64).ok());
  // State() reads whole tables; this one is too large for that.
  const grpc::Status refused = Create("larger", rows, 64);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(DetailsOf(refused).reason, "MEMORY_FULL");
  EXPECT_EQ(DetailsOf(refused).field, "spec.num_embeddings");
  EXPECT_THAT(refused.error_message(), ::testing::HasSubstr("Drop a table"));
  EXPECT_EQ(TableCount(), 1);

  v1::DropTableRequest drop;
  drop.mutable_table()->set_name("large");
  grpc::ClientContext context;
  v1::DropTableResponse dropped;
  ASSERT_TRUE(tables_->DropTable(&context, drop, &dropped).ok());

  // Threads that fill the dropped table let go of it shard by shard.
  grpc::Status created = Create("larger", rows, 64);
  for (int i = 0; i < 100'000 && DetailsOf(created).reason == "MEMORY_FULL";
       ++i) {
    created = Create("larger", rows, 64);
  }
  EXPECT_TRUE(created.ok()) << created.error_message();
}

TEST_F(TablesTest, NumbersThatAreNoneMakeNone) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto refused = [&](auto change, const std::string& field) {
    v1::TableSpec spec = Spec("t", 10, 2);
    change(spec);
    ExpectRefused([&] { return Create(spec); },
                  {kInvalid, "BAD_VALUE", field, {}});
  };
  refused([&](auto& s) { s.mutable_optimizer()->set_learning_rate(nan); },
          "spec.optimizer.learning_rate");
  refused([&](auto& s) { s.mutable_optimizer()->set_learning_rate(-0.1); },
          "spec.optimizer.learning_rate");
  refused(
      [&](auto& s) { s.mutable_optimizer()->mutable_adagrad()->set_eps(nan); },
      "spec.optimizer.adagrad.eps");
  refused(
      [&](auto& s) {
        s.mutable_initializer()->mutable_normal()->set_stddev(-1);
      },
      "spec.initializer.normal.stddev");
  refused(
      [&](auto& s) { s.mutable_initializer()->mutable_uniform()->set_low(1); },
      "spec.initializer.uniform.low");
  refused(
      [&](auto& s) {
        s.mutable_initializer()->mutable_constant()->set_value(
            std::numeric_limits<float>::infinity());
      },
      "spec.initializer.constant.value");
}

// --- Stored rows and labels ---

TEST_F(TablesTest, RowsAreWrittenAllOrNone) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  const auto refused = [&](auto change, const Refusal& refusal) {
    v1::WriteRowsRequest request;
    request.mutable_table()->set_name("t");
    request.mutable_ids()->add_ids(1);
    request.mutable_ids()->add_ids(2);
    for (const float x : {1.f, 2.f, 3.f, 4.f}) {
      request.mutable_values()->add_values(x);
    }
    change(request);
    ExpectRefused(
        [&] {
          grpc::ClientContext context;
          v1::WriteRowsResponse response;
          return tables_->WriteRows(&context, request, &response);
        },
        refusal);
  };
  refused([](auto& r) { r.mutable_table()->set_name("nobody"); },
          {grpc::StatusCode::NOT_FOUND, "NO_SUCH_TABLE", "table.name", {}});
  refused([](auto& r) { r.mutable_ids()->set_ids(1, 10); },
          {kOutOfRange, "ID_OUT_OF_RANGE", "ids.ids[1]", {"id 10"}});
  refused([](auto& r) { r.mutable_ids()->set_ids(1, 1); },
          {kInvalid, "BAD_VALUE", "ids.ids", {"id 1", "twice"}});
  refused([](auto& r) { r.mutable_values()->add_values(5); },
          {kInvalid, "BAD_SHAPE", "values", {"5 floats", "(2, 2)"}});
  refused(
      [](auto& r) {
        r.mutable_values()->set_values(3,
                                       std::numeric_limits<float>::quiet_NaN());
      },
      {kInvalid, "NON_FINITE", "values", {}});
  refused([](auto& r) { r.mutable_state()->add_values(1); },
          {kInvalid, "BAD_SHAPE", "state", {}});
  refused([](auto& r) { r.mutable_ids()->mutable_shape()->add_dims(1); },
          {kInvalid, "BAD_SHAPE", "ids.shape", {}});
}

TEST_F(TablesTest, LabelsAreSetAllOrNone) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  const auto set = [&](std::vector<int64_t> ids,
                       std::vector<std::string> labels) {
    v1::SetLabelsRequest request;
    request.mutable_table()->set_name("t");
    request.mutable_ids()->mutable_ids()->Add(ids.begin(), ids.end());
    request.mutable_labels()->Add(labels.begin(), labels.end());
    grpc::ClientContext context;
    v1::SetLabelsResponse response;
    return tables_->SetLabels(&context, request, &response);
  };
  ASSERT_TRUE(set({1}, {"one"}).ok());
  ExpectRefused(
      [&] {
        return set({2, 10}, {"two", "ten"});
      },
      {kOutOfRange, "ID_OUT_OF_RANGE", "ids.ids[1]", {"id 10"}});
  ExpectRefused(
      [&] {
        return set({2, 3}, {"two"});
      },
      {kInvalid, "BAD_SHAPE", "labels", {"1 labels", "2 ids"}});
  ExpectRefused(
      [&] {
        return set({2, 3}, {"two", std::string(4097, 'x')});
      },
      {kInvalid, "TOO_LARGE", "labels[1]", {"4097", "4096"}});
}

// --- Imports and exports ---

TEST_F(TablesTest, AnImportAppearsWholeAndExportsTheSame) {
  v1::ImportTableRequest first = Chunk(0, 2);
  first.mutable_chunk()->add_labels("king");
  first.mutable_chunk()->add_labels("word");
  v1::ImportTableRequest second = Chunk(2, 2);
  second.mutable_chunk()->add_labels("\xff\xfe");
  second.mutable_chunk()->add_labels("word");
  v1::ImportTableResponse imported;
  const grpc::Status status =
      Import({Header(Spec("words", 4, 2)), first, second}, &imported);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(imported.table().stats().label_count(), 4);

  grpc::ClientContext context;
  v1::ExportTableRequest request;
  request.mutable_table()->set_name("words");
  auto reader = tables_->ExportTable(&context, request);
  v1::ExportTableResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.header().spec().num_embeddings(), 4);
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_THAT(response.chunk().values().values(),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(response.chunk().labels(),
              ElementsAre("king", "word", "\xff\xfe", "word"));
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(TablesTest, ABrokenImportLeavesNoTable) {
  const v1::ImportTableRequest header = Header(Spec("half", 4, 2));
  const auto refused = [&](const std::vector<v1::ImportTableRequest>& parts,
                           const Refusal& refusal) {
    ExpectRefused([&] { return Import(parts); }, refusal);
    EXPECT_EQ(TableCount(), 0);
  };
  refused({header}, {kInvalid, "BAD_SHAPE", "chunk", {"4 rows", "brought 0"}});
  refused({header, Chunk(0, 3)},
          {kInvalid, "BAD_SHAPE", "chunk", {"4 rows", "brought 3"}});
  refused({header, Chunk(0, 5)}, {kInvalid, "BAD_SHAPE", "chunk.values", {}});
  refused({header, Chunk(1, 3)},
          {kInvalid, "BAD_VALUE", "chunk.first_id", {"id 1", "row is 0"}});
  refused({Chunk(0, 4)}, {kInvalid, "MALFORMED", "chunk", {"header"}});
  refused({header, header}, {kInvalid, "MALFORMED", "header", {"one header"}});
  refused({}, {kInvalid, "MALFORMED", "header", {}});
  refused({v1::ImportTableRequest()}, {kInvalid, "MALFORMED", "part", {}});
  refused({Header(Spec("a b", 4, 2))},
          {kInvalid, "BAD_NAME", "header.spec.name", {"a b"}});
  refused({Header(Spec("half", int64_t{1} << 40, 2))},
          {kInvalid,
           "TOO_LARGE",
           "header.spec.num_embeddings",
           {"--memory-limit"}});
  v1::ImportTableRequest bad = Chunk(0, 4);
  bad.mutable_chunk()->mutable_values()->set_values(
      7, std::numeric_limits<float>::infinity());
  refused({header, bad}, {kInvalid, "NON_FINITE", "chunk.values", {}});
}

TEST_F(TablesTest, StateAndStepThatCannotBeLeaveNoTable) {
  v1::TableSpec spec = Spec("half", 4, 2);
  spec.mutable_optimizer()->mutable_adagrad();
  const v1::ImportTableRequest header = Header(spec);
  const auto refused = [&](const std::vector<v1::ImportTableRequest>& parts,
                           const Refusal& refusal) {
    ExpectRefused([&] { return Import(parts); }, refusal);
    EXPECT_EQ(TableCount(), 0);
  };
  v1::ImportTableRequest back = header;
  for (const int64_t step : {int64_t{-1}, (int64_t{1} << 62) + 1}) {
    back.mutable_header()->set_step(step);
    refused({back, Chunk(0, 4)},
            {kInvalid, "BAD_VALUE", "header.step", {std::to_string(step)}});
  }
  v1::ImportTableRequest chunk = Chunk(0, 4);
  v1::Tensor& state = *chunk.mutable_chunk()->mutable_state();
  state.mutable_values()->Resize(7, 0.5f);
  refused({header, chunk}, {kInvalid, "BAD_SHAPE", "chunk.state", {"7"}});
  state.mutable_values()->Resize(8, 0.5f);
  refused({Header(Spec("half", 4, 2)), chunk},
          {kInvalid, "BAD_SHAPE", "chunk.state", {"8"}});
  state.mutable_shape()->add_dims(2);
  state.mutable_shape()->add_dims(4);
  refused({header, chunk}, {kInvalid, "BAD_SHAPE", "chunk.state", {}});
  state.clear_shape();
  state.set_values(3, std::numeric_limits<float>::quiet_NaN());
  refused({header, chunk}, {kInvalid, "NON_FINITE", "chunk.state", {}});
}

TEST_F(TablesTest, AnImportGoesOnWhereItsStateAndStepWere) {
  v1::TableSpec spec = Spec("adam", 4, 2);
  spec.mutable_optimizer()->mutable_adam();
  v1::ImportTableRequest header = Header(spec);
  header.mutable_header()->set_step(41);
  v1::ImportTableRequest chunk = Chunk(0, 4);
  chunk.mutable_chunk()->mutable_state()->mutable_values()->Resize(16, 0.5f);
  v1::ImportTableResponse imported;
  const grpc::Status status = Import({header, chunk}, &imported);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(imported.table().step(), 41);

  grpc::ClientContext context;
  v1::ExportTableRequest request;
  request.mutable_table()->set_name("adam");
  request.set_include_state(true);
  auto reader = tables_->ExportTable(&context, request);
  v1::ExportTableResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.header().step(), 41);
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_THAT(response.chunk().state().values(),
              ::testing::AllOf(::testing::SizeIs(16), ::testing::Each(0.5f)));
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(TablesTest, AnImportOverATableIsRefusedAndTheTableStays) {
  ASSERT_TRUE(Create("t", 4, 2).ok());
  ExpectRefused(
      [&] {
        return Import({Header(Spec("t", 4, 2)), Chunk(0, 4)});
      },
      {grpc::StatusCode::ALREADY_EXISTS,
       "TABLE_EXISTS",
       "header.spec.name",
       {"'t'"}});
}

// A stream that breaks is not one that ends, be all rows in or not.
TEST_F(TablesTest, AnImportThatIsCancelledAfterItsLastRowLeavesNoTable) {
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    v1::ImportTableResponse response;
    auto writer = tables_->ImportTable(&context, &response);
    ASSERT_TRUE(writer->Write(Header(Spec("t", 4, 2))));
    ASSERT_TRUE(writer->Write(Chunk(0, 4)));
    // Until the server has the rows, it is the memory that tells.
    int64_t table_bytes = 0;
    while (table_bytes == 0) {
      grpc::ClientContext stats_context;
      v1::GetStatsResponse stats;
      ASSERT_TRUE(info_->GetStats(&stats_context, {}, &stats).ok());
      table_bytes = stats.table_bytes();
    }

    context.TryCancel();

    EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
    while (table_bytes != 0) {
      ASSERT_EQ(TableCount(), 0);
      grpc::ClientContext stats_context;
      v1::GetStatsResponse stats;
      ASSERT_TRUE(info_->GetStats(&stats_context, {}, &stats).ok());
      table_bytes = stats.table_bytes();
    }
  }
}

TEST_F(TablesTest, AnExportOutsideOfItsTableIsRefused) {
  ASSERT_TRUE(Create("t", 4, 2).ok());
  const auto refused = [&](const std::string& name, int64_t first,
                           int64_t count, const Refusal& refusal) {
    ExpectRefused(
        [&] {
          v1::ExportTableRequest request;
          request.mutable_table()->set_name(name);
          request.set_first_id(first);
          request.set_row_count(count);
          grpc::ClientContext context;
          auto reader = tables_->ExportTable(&context, request);
          v1::ExportTableResponse response;
          EXPECT_FALSE(reader->Read(&response));
          return reader->Finish();
        },
        refusal);
  };
  const Refusal out = {kOutOfRange, "ID_OUT_OF_RANGE", "first_id", {"[0, 4)"}};
  refused("t", -1, 1, out);
  refused("t", 5, 0, out);
  refused("t", 1, 4, out);
  refused("t", 1, std::numeric_limits<int64_t>::max(), out);
  refused("nobody", 0, 1,
          {grpc::StatusCode::NOT_FOUND, "NO_SUCH_TABLE", "table.name", {}});
}

// --- Nearest ---

class NearestTest : public TablesTest {
 protected:
  void SetUp() override {
    TablesTest::SetUp();
    v1::ImportTableRequest rows = Chunk(0, 4);
    const std::vector<float> values = {1, 0, 2, 0.1f, 0, 1, -1, 0};
    rows.mutable_chunk()->mutable_values()->mutable_values()->Assign(
        values.begin(), values.end());
    for (const char* label : {"", "near", "", ""}) {
      rows.mutable_chunk()->add_labels(label);
    }
    ASSERT_TRUE(Import({Header(Spec("t", 4, 2)), rows}).ok());
    request_.mutable_table()->set_name("t");
    request_.set_k(2);
    request_.set_return_labels(true);
  }

  grpc::Status Nearest(const v1::NearestRequest& request,
                       v1::NearestResponse* response) {
    grpc::ClientContext context;
    return rows_->Nearest(&context, request, response);
  }

  v1::NearestRequest request_;
};

TEST_F(NearestTest, NeighboursComeWithTheirLabels) {
  request_.add_ids(0);
  v1::NearestResponse response;
  ASSERT_TRUE(Nearest(request_, &response).ok());

  EXPECT_THAT(response.queries(0).ids(), ElementsAre(1, 2));
  EXPECT_THAT(response.queries(0).labels(), ElementsAre("near", ""));
  EXPECT_NEAR(response.queries(0).scores(0), 2 / std::sqrt(4.01), 1e-6);
}

TEST_F(NearestTest, AScanWhoseCallerIsGoneStops) {
  // Seconds of work, were it done to the end.
  ASSERT_TRUE(Create("large", 200'000, 128).ok());
  while (Describe("large").filled() < 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  v1::NearestRequest scan;
  scan.mutable_table()->set_name("large");
  scan.set_k(1);
  for (int64_t id = 0; id < 1024; ++id) {
    scan.add_ids(id);
  }
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  v1::NearestResponse response;
  grpc::Status status;
  const auto call = rows_->AsyncNearest(&context, scan, &queue);
  call->Finish(&response, &status, nullptr);
  // Answered after the scan has arrived: it was sent before, on the same
  // connection.
  Describe("large");

  context.TryCancel();

  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  // A scan that went on would count as one that succeeded.
  const auto counted = [&] {
    grpc::ClientContext stats_context;
    v1::GetStatsResponse stats;
    EXPECT_TRUE(info_->GetStats(&stats_context, {}, &stats).ok());
    for (const auto& method : stats.methods()) {
      if (method.method() == "Nearest") {
        EXPECT_EQ(method.ok(), 0);
        return method.failed();
      }
    }
    return int64_t{0};
  };
  for (int i = 0; i < 2000 && counted() == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(counted(), 1);
}

TEST_F(NearestTest, ABadQueryIsRefused) {
  const auto refused = [&](auto change, const Refusal& refusal) {
    v1::NearestRequest request = request_;
    request.add_ids(0);
    change(request);
    ExpectRefused(
        [&] {
          v1::NearestResponse response;
          return Nearest(request, &response);
        },
        refusal);
  };
  refused([](auto& r) { r.set_k(0); }, {kInvalid, "BAD_VALUE", "k", {"0"}});
  refused([](auto& r) { r.set_k(10'001); },
          {kInvalid, "BAD_VALUE", "k", {"10001", "10000"}});
  refused([](auto& r) { r.add_ids(4); },
          {kOutOfRange, "ID_OUT_OF_RANGE", "ids[1]", {"id 4", "position 1"}});
  refused([](auto& r) { r.mutable_vectors()->mutable_values()->Resize(3, 0); },
          {kInvalid, "BAD_SHAPE", "vectors", {"3 floats"}});
  refused(
      [](auto& r) {
        r.mutable_vectors()->add_values(1);
        r.mutable_vectors()->add_values(
            std::numeric_limits<float>::quiet_NaN());
      },
      {kInvalid, "NON_FINITE", "vectors", {}});
  refused([](auto& r) { r.mutable_ids()->Resize(1025, 1); },
          {kInvalid, "TOO_LARGE", "ids", {"1025", "1024"}});
  refused(
      [](auto& r) {
        r.mutable_ids()->Resize(1000, 1);
        r.set_k(10'000);
      },
      {kInvalid, "TOO_LARGE", "k", {"1000", "10000"}});
  refused([](auto& r) { r.mutable_table()->set_name("nobody"); },
          {grpc::StatusCode::NOT_FOUND, "NO_SUCH_TABLE", "table.name", {}});
}

}  // namespace
}  // namespace quire::testing
