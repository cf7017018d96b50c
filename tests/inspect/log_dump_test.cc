// The records of a log are told as they were written.

#include "inspect/log_dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "inspect/ledger.h"

namespace quire::inspect {
namespace {

using ::testing::ElementsAre;

absl::StatusOr<std::vector<RecordSummary>> Dump(
    ModelDisk& disk, const DumpOptions& options = {}) {
  QUIRE_ASSIGN_OR_RETURN(const DataFiles files, OpenFiles(disk));
  std::vector<RecordSummary> records;
  QUIRE_RETURN_IF_ERROR(
      DumpLog(files, options, [&](const RecordSummary& record) {
        records.push_back(record);
        return absl::OkStatus();
      }).status());
  return records;
}

// A start that does one thing of each kind.
void LiveOfAllKinds(ModelDisk& disk, SessionId& session) {
  const auto engine = OpenEngine(disk);
  ASSERT_TRUE(engine.ok()) << engine.status();
  session = *(*engine)->OpenSession();
  v1::TableSpec spec;
  spec.set_name("words");
  spec.set_num_embeddings(9);
  spec.set_embedding_dim(2);
  const TableHandle words =
      (*engine)->CreateTable(spec, v1::IF_EXISTS_ERROR)->table;
  spec.set_name("users");
  const TableHandle users =
      (*engine)->CreateTable(spec, v1::IF_EXISTS_ERROR)->table;
  const std::vector<int64_t> ids = {4, 7, 4};
  const std::vector<float> gradient(6, 1.0f);
  // What a ByteRange is of must stay.
  const Bytes bytes = std::as_bytes(std::span(gradient));
  const Bytes one_row = bytes.first(8);
  const std::vector<PushPart> parts = {
      {.table = words, .ids = ids, .gradient = ByteRange(bytes)},
      {.table = users,
       .ids = std::span(ids).first(1),
       .gradient = ByteRange(one_row)}};
  ASSERT_TRUE(
      (*engine)
          ->ApplyGradient(quire::Push{
              .parts = parts, .id = PushId{.session = session, .sequence = 3}})
          .ok());
  ASSERT_TRUE((*engine)
                  ->WriteRows(*users, std::span(ids).first(2),
                              std::span(gradient).first(4), {})
                  .ok());
  const std::vector<std::string_view> labels = {"a"};
  ASSERT_TRUE(
      (*engine)->SetLabels(*words, std::span(ids).subspan(1, 1), labels).ok());
  ASSERT_TRUE((*engine)->AlterTable(*words, {.frozen = true}).ok());
  ASSERT_TRUE((*engine)->DropTable("users", {}).ok());
  ASSERT_TRUE((*engine)->CloseSession(session).ok());
}

TEST(LogDumpTest, EveryKindOfRecordIsTold) {
  ModelDisk disk;
  SessionId session;
  LiveOfAllKinds(disk, session);

  const auto records = Dump(disk, {.with_ids = true});

  ASSERT_TRUE(records.ok()) << records.status();
  std::vector<std::string> types;
  for (const RecordSummary& record : *records) {
    EXPECT_EQ(record.lsn, types.size() + 1);
    EXPECT_EQ(record.epoch, 1u);
    EXPECT_GE(record.bytes, 128);
    EXPECT_TRUE(record.is_understood) << record.type;
    types.push_back(record.type);
  }
  EXPECT_THAT(types, ElementsAre("open_session", "create_table", "create_table",
                                 "push", "write_rows", "set_labels",
                                 "alter_table", "drop_table", "close_session"));
  const RecordSummary& push = (*records)[3];
  EXPECT_EQ(push.session, session);
  EXPECT_EQ(push.sequence, 3u);
  ASSERT_EQ(push.parts.size(), 2u);
  EXPECT_EQ(push.parts[0].table, "words");
  EXPECT_THAT(push.parts[0].ids, ElementsAre(4, 7, 4));
  EXPECT_EQ(push.parts[1].table, "users");
  EXPECT_EQ(push.parts[1].id_count, 1);
  EXPECT_EQ((*records)[4].parts[0].table, "users");
  EXPECT_EQ((*records)[4].parts[0].id_count, 2);
  EXPECT_THAT((*records)[5].parts[0].ids, ElementsAre(7));
  EXPECT_EQ((*records)[7].parts[0].table, "users");
  EXPECT_EQ((*records)[8].session, session);
}

TEST(LogDumpTest, ARangeAndATableAreAllThatIsTold) {
  ModelDisk disk;
  SessionId session;
  LiveOfAllKinds(disk, session);
  const auto lsns = [&disk](const DumpOptions& options) {
    std::vector<uint64_t> found;
    const auto records = Dump(disk, options);
    EXPECT_TRUE(records.ok()) << records.status();
    for (size_t i = 0; records.ok() && i < records->size(); ++i) {
      found.push_back((*records)[i].lsn);
    }
    return found;
  };

  EXPECT_THAT(lsns({.from_lsn = 8}), ElementsAre(8, 9));
  EXPECT_THAT(lsns({.from_lsn = 4, .to_lsn = 5}), ElementsAre(4, 5));
  EXPECT_THAT(lsns({.table = "words"}), ElementsAre(2, 4, 6, 7));
  EXPECT_THAT(lsns({.to_lsn = 4, .table = "users"}), ElementsAre(3, 4));
  EXPECT_EQ((*Dump(disk, {.from_lsn = 4, .to_lsn = 4}))[0].parts[0].table,
            "words")
      << "a name is known also if its record is not told";
  EXPECT_TRUE((*Dump(disk, {}))[3].parts[0].ids.empty()) << "not wanted";
  EXPECT_EQ(ReasonOf(Dump(disk, {.from_lsn = 5, .to_lsn = 4}).status()),
            Reason::kBadValue);
}

TEST(LogDumpTest, NamesAreKnownFromSnapshotsWhenTheLogBeginsLater) {
  ModelDisk disk;
  Ledger ledger(disk);
  for (int i = 0; i < 4; ++i) {
    ledger.Live(10, /*makes_snapshot=*/true);
  }

  const auto records = Dump(disk);

  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_GT(records->front().lsn, 1u);
  EXPECT_EQ(records->back().lsn, ledger.lsns().back());
  EXPECT_EQ(records->back().parts[0].table, "ledger");
}

TEST(LogDumpTest, RecordsBeforeTheDamageAreToldAndThenTheDamage) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(20);
  const auto [segment, at] = PlaceOf(disk, 9);
  Flip(disk, segment, at + journal::kRecordHeaderBytes + 20);
  std::vector<uint64_t> told;

  const auto end =
      DumpLog(*OpenFiles(disk), {}, [&](const RecordSummary& record) {
        told.push_back(record.lsn);
        return absl::OkStatus();
      });

  EXPECT_EQ(ReasonOf(end.status()), Reason::kCorrupt);
  EXPECT_THAT(told, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
}

}  // namespace
}  // namespace quire::inspect
