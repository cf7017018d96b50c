// Backups are made under a name in one directory, and nowhere else.

#include "engine/backup.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "main/temp_dir.h"

namespace quire {
namespace {

namespace fs = std::filesystem;

void ExpectRefused(const absl::Status& status, Reason reason,
                   std::string_view field, std::string_view words) {
  EXPECT_EQ(ReasonOf(status), reason) << status;
  EXPECT_EQ(FieldOf(status), field);
  EXPECT_NE(std::string_view(status.message().data(), status.message().size())
                .find(words),
            std::string_view::npos)
      << status;
}

// --- Names ---

TEST(BackupNameTest, ItIsWhatATableMayBeCalled) {
  for (const std::string& name :
       {std::string("a"), std::string("2026-11-27T03.00_all"),
        std::string(128, 'x')}) {
    EXPECT_TRUE(CheckBackupName(name).ok()) << name;
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."),
        std::string("../monday"), std::string("/backups/monday"),
        std::string("a/b"), std::string("a/"), std::string(".hidden"),
        std::string("-o"), std::string("a b"), std::string("a\0b", 3),
        std::string("\xff"), std::string(129, 'x')}) {
    ExpectRefused(CheckBackupName(name), Reason::kBadName, "name",
                  "not a path");
  }
}

// --- The directory that they are made in ---

TEST(BackupRootTest, ItIsThereAndOutsideOfTheDataDirectory) {
  const testing::TempDir temp;
  const std::string data = temp.Path("data");
  fs::create_directories(data + "/inner");
  fs::create_directory(temp.Path("data-of-another"));
  fs::create_directory_symlink(data + "/inner", temp.Path("link"));
  temp.Write("file", "mine");
  const auto open = [&](const std::string& path) {
    return OpenBackupRoot(path, data).status();
  };

  EXPECT_TRUE(open(temp.Path("data-of-another")).ok());
  EXPECT_TRUE(open(temp.Path("data-of-another/")).ok());
  EXPECT_TRUE(open(temp.Path("data/../data-of-another")).ok());
  for (const std::string& inside :
       {data, data + "/", data + "/inner", temp.Path("link"),
        temp.Path("data-of-another/../data/inner")}) {
    ExpectRefused(open(inside), Reason::kBadValue, "--backup-dir",
                  "lies in the data directory");
  }
  for (const std::string& none : {temp.Path("missing"), temp.Path("file"),
                                  temp.Path("file/inner"), std::string()}) {
    ExpectRefused(open(none), Reason::kBadValue, "--backup-dir",
                  "not there, or no directory");
  }
  EXPECT_FALSE(fs::exists(temp.Path("missing")));
}

TEST(BackupRootTest, TheDataDirectoryNeedNotBeThereYetAndIsNotMade) {
  const testing::TempDir temp;
  fs::create_directory(temp.Path("backups"));

  EXPECT_TRUE(OpenBackupRoot(temp.Path("backups"), temp.Path("data")).ok());

  EXPECT_FALSE(fs::exists(temp.Path("data")));
}

// --- One that is to be made ---

class BackupTargetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(path_);
    auto root = OpenBackupRoot(path_, temp_.Path("data"));
    ASSERT_TRUE(root.ok()) << root.status();
    root_ = *std::move(root);
  }

  std::unique_ptr<BackupTarget> Make(const std::string& name) {
    auto target = BackupTarget::Make(*root_, name);
    EXPECT_TRUE(target.ok()) << target.status();
    return target.ok() ? *std::move(target) : nullptr;
  }

  // What a backup that is half done has.
  static void MakeHalf(BackupTarget& target) {
    const auto log = target.directory().MakeDirectory("log");
    ASSERT_TRUE(log.ok()) << log.status();
    ASSERT_TRUE((*log)->Create("0000000000000001.log").ok());
    ASSERT_TRUE(target.directory().Create("BACKUP").ok());
  }

  const testing::TempDir temp_;
  const std::string path_ = temp_.Path("backups");
  const std::string monday_ = path_ + "/monday";
  std::unique_ptr<journal::Directory> root_;
};

TEST_F(BackupTargetTest, WhatIsKeptStays) {
  const auto target = Make("monday");
  MakeHalf(*target);
  target->Keep();

  EXPECT_EQ(target->directory().path(), fs::canonical(monday_));
  EXPECT_TRUE(fs::exists(monday_ + "/log/0000000000000001.log"));
  EXPECT_EQ(fs::status(monday_).permissions(), fs::perms::owner_all);
}

TEST_F(BackupTargetTest, WhatIsNotKeptLeavesAllAsItWas) {
  MakeHalf(*Make("monday"));

  EXPECT_FALSE(fs::exists(monday_));

  fs::create_directories(monday_ + "/lost+found");
  MakeHalf(*Make("monday"));

  EXPECT_EQ(root_->OpenDirectory("monday").value()->List().value(),
            std::vector<std::string>{"lost+found"});
}

TEST_F(BackupTargetTest, WhatIsThereIsNotTouched) {
  temp_.Write("backups/file", "mine");
  fs::create_directory(monday_);
  temp_.Write("backups/monday/IDENTITY", "mine too");

  ExpectRefused(BackupTarget::Make(*root_, "file").status(), Reason::kBadValue,
                "name", "choose another name");
  ExpectRefused(BackupTarget::Make(*root_, "monday").status(),
                Reason::kBadValue, "name", "has a file \"IDENTITY\"");

  EXPECT_EQ(temp_.Read("backups/file"), "mine");
  EXPECT_EQ(temp_.Read("backups/monday/IDENTITY"), "mine too");
}

TEST_F(BackupTargetTest, ASymbolicLinkIsNotFollowed) {
  const std::string elsewhere = temp_.Path("elsewhere");
  fs::create_directory(elsewhere);
  fs::create_directory(path_ + "/sibling");
  fs::create_directory_symlink(elsewhere, path_ + "/out");
  fs::create_directory_symlink("sibling", path_ + "/in");
  fs::create_directory_symlink(temp_.Path("missing"), path_ + "/nowhere");

  for (const char* name : {"out", "in", "nowhere"}) {
    ExpectRefused(BackupTarget::Make(*root_, name).status(), Reason::kBadValue,
                  "name", "symbolic link");
    EXPECT_TRUE(fs::is_symlink(fs::path(path_) / name));
  }

  EXPECT_TRUE(fs::is_empty(elsewhere));
  EXPECT_TRUE(fs::is_empty(path_ + "/sibling"));
  EXPECT_FALSE(fs::exists(temp_.Path("missing")));
}

TEST_F(BackupTargetTest, ItStaysInTheDirectoryThatWasOpened) {
  fs::rename(path_, temp_.Path("moved"));
  fs::create_directory(path_);

  Make("monday")->Keep();

  EXPECT_TRUE(fs::exists(temp_.Path("moved/monday")));
  EXPECT_TRUE(fs::is_empty(path_));
}

}  // namespace
}  // namespace quire
