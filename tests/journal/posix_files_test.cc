// The files of the operating system keep the promises of the seam.

#include "journal/posix_files.h"

#include <gtest/gtest.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "main/temp_dir.h"

namespace quire::journal {
namespace {

using Names = std::vector<std::string>;

Bytes BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

absl::Status WriteText(File& file, int64_t offset, std::string_view text) {
  const Bytes piece = BytesOf(text);
  return file.Write(offset, {&piece, 1});
}

// At most `size` bytes from `offset` on.
std::string ReadText(const File& file, int64_t offset, size_t size) {
  std::string text(size, '?');
  const absl::StatusOr<size_t> count =
      file.Read(offset, std::as_writable_bytes(std::span(text)));
  EXPECT_TRUE(count.ok()) << count.status();
  text.resize(count.value_or(0));
  return text;
}

bool Says(const absl::Status& status, std::string_view words) {
  return std::string_view(status.message().data(), status.message().size())
             .find(words) != std::string_view::npos;
}

// Runs `body` in a process of its own and returns what it returned; -1 if it
// was killed. It must not use assertions of gtest.
int InChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    _exit(body());
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// 0 if `path` could be locked, 1 if it is in use, 2 for anything else.
int TryLock(const std::string& path) {
  auto directory = OpenDirectory(path);
  if (!directory.ok()) {
    return 2;
  }
  const absl::Status status = (*directory)->Lock();
  if (status.ok()) {
    return 0;
  }
  const bool named = Says(status, path) && Says(status, "another directory");
  return ReasonOf(status) == Reason::kDirectoryInUse && named ? 1 : 2;
}

class PosixFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto directory = OpenDirectory(path_);
    ASSERT_TRUE(directory.ok()) << directory.status();
    directory_ = *std::move(directory);
  }

  std::unique_ptr<File> NewFile(std::string_view name) {
    auto file = directory_->Create(name);
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? *std::move(file) : nullptr;
  }

  // A file that holds its own name.
  void MakeFile(std::string_view name) {
    ASSERT_TRUE(WriteText(*NewFile(name), 0, name).ok());
  }

  Names List() {
    auto names = directory_->List();
    EXPECT_TRUE(names.ok()) << names.status();
    return names.value_or(Names{});
  }

  mode_t ModeOf(const std::string& path) {
    struct stat found = {};
    EXPECT_EQ(stat(path.c_str(), &found), 0);
    return found.st_mode & 07777;
  }

  const quire::testing::TempDir temp_;
  const std::string path_ = temp_.Path("data");
  std::unique_ptr<Directory> directory_;
};

TEST_F(PosixFilesTest, OnlyTheLastComponentIsMadeAndOnlyForTheOwner) {
  MakeFile("file");
  const std::string deep = temp_.Path("missing/data");

  const auto refused = OpenDirectory(deep);

  EXPECT_EQ(directory_->path(), path_);
  EXPECT_EQ(ModeOf(path_), 0700u);
  EXPECT_EQ(ModeOf(path_ + "/file"), 0600u);
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kIoFailed);
  EXPECT_TRUE(Says(refused.status(), deep)) << refused.status();
}

TEST_F(PosixFilesTest, AFileIsNoDirectory) {
  MakeFile("file");

  EXPECT_EQ(ReasonOf(OpenDirectory(path_ + "/file").status()),
            Reason::kIoFailed);
  EXPECT_EQ(ReasonOf(directory_->MakeDirectory("file").status()),
            Reason::kIoFailed);
}

TEST_F(PosixFilesTest, ADirectoryThatIsToBeInAnotherIsNoLink) {
  ASSERT_EQ(mkdir(temp_.Path("elsewhere").c_str(), 0700), 0);
  ASSERT_EQ(symlink(temp_.Path("elsewhere").c_str(), (path_ + "/link").c_str()),
            0);

  const auto made = MakeDirectoryIn(*directory_, "made");
  const auto again = MakeDirectoryIn(*directory_, "made");
  const auto refused = MakeDirectoryIn(*directory_, "link");

  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ((*made)->path(), path_ + "/made");
  EXPECT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kIoFailed);
  EXPECT_TRUE(Says(refused.status(), path_ + "/link")) << refused.status();
}

TEST_F(PosixFilesTest, PiecesAreWrittenEndToEndAndAGapIsZeros) {
  auto file = NewFile("file");
  const std::vector<Bytes> pieces = {BytesOf(""), BytesOf("one"), BytesOf(""),
                                     BytesOf("twelve"), BytesOf("")};

  ASSERT_TRUE(file->Write(4, pieces).ok());
  ASSERT_TRUE(WriteText(*file, 5, "N").ok());
  ASSERT_TRUE(file->Sync().ok());

  EXPECT_EQ(ReadText(*file, 0, 100), std::string(4, '\0') + "oNetwelve");
  EXPECT_EQ(file->Size().value(), 13);
}

TEST_F(PosixFilesTest, NoPiecesAreNoBytes) {
  auto file = NewFile("file");
  const std::vector<Bytes> empty(3);

  EXPECT_TRUE(file->Write(100, {}).ok());
  EXPECT_TRUE(file->Write(100, empty).ok());

  EXPECT_EQ(file->Size().value(), 0);
}

TEST_F(PosixFilesTest, MorePiecesThanTheSystemTakesAtOnce) {
  auto file = NewFile("file");
  std::string text;
  for (int i = 0; text.size() < 4 * IOV_MAX + 7; ++i) {
    text += std::to_string(i) + ",";
  }
  std::vector<Bytes> pieces;
  const Bytes all = BytesOf(text);
  for (size_t begin = 0; begin < all.size();) {
    const size_t size = std::min<size_t>(pieces.size() % 3, all.size() - begin);
    pieces.push_back(all.subspan(begin, size));
    begin += size;
  }
  ASSERT_GT(pieces.size(), 3u * IOV_MAX);

  ASSERT_TRUE(file->Write(1, pieces).ok());

  EXPECT_EQ(ReadText(*file, 1, text.size() + 1), text);
}

TEST_F(PosixFilesTest, AReadEndsWithTheFile) {
  auto file = NewFile("file");
  ASSERT_TRUE(WriteText(*file, 0, "abcdef").ok());

  EXPECT_EQ(ReadText(*file, 1, 3), "bcd");
  EXPECT_EQ(ReadText(*file, 4, 3), "ef");
  EXPECT_EQ(ReadText(*file, 6, 3), "");
  EXPECT_EQ(ReadText(*file, 1000, 3), "");
  EXPECT_EQ(ReadText(*file, 0, 0), "");
}

TEST_F(PosixFilesTest, AResizedFileHasZerosWhereItIsNew) {
  auto file = NewFile("file");
  ASSERT_TRUE(WriteText(*file, 0, "abcdef").ok());

  ASSERT_TRUE(file->Resize(6).ok());
  EXPECT_EQ(ReadText(*file, 0, 100), "abcdef");
  ASSERT_TRUE(file->Resize(2).ok());
  EXPECT_EQ(ReadText(*file, 0, 100), "ab");
  ASSERT_TRUE(file->Resize(10'000).ok());
  EXPECT_EQ(file->Size().value(), 10'000);
  EXPECT_EQ(ReadText(*file, 0, 20'000), "ab" + std::string(9'998, '\0'));
  ASSERT_TRUE(file->Resize(0).ok());
  EXPECT_EQ(file->Size().value(), 0);
}

TEST_F(PosixFilesTest, AGrownFileHasItsPlaceOnTheDisk) {
  auto file = NewFile("file");

  ASSERT_TRUE(file->Resize(1 << 20).ok());

  struct stat found = {};
  ASSERT_EQ(stat((path_ + "/file").c_str(), &found), 0);
  // File systems that cannot allocate leave a hole.
  if (found.st_blocks == 0) {
    GTEST_SKIP() << "the file system of " << path_ << " cannot allocate";
  }
  EXPECT_GE(found.st_blocks * 512, 1 << 20);
}

TEST_F(PosixFilesTest, ANegativeSizeOrPlaceIsAnError) {
  auto file = NewFile("file");
  std::byte byte;

  EXPECT_EQ(ReasonOf(file->Resize(-1)), Reason::kIoFailed);
  EXPECT_EQ(ReasonOf(WriteText(*file, -1, "a")), Reason::kIoFailed);
  EXPECT_EQ(ReasonOf(file->Read(-1, {&byte, 1}).status()), Reason::kIoFailed);
}

TEST_F(PosixFilesTest, NamesAreListedInOrder) {
  EXPECT_EQ(List(), Names{});
  for (const char* name : {"b", "a.draft", "c", "a"}) {
    MakeFile(name);
  }
  ASSERT_TRUE(directory_->MakeDirectory("bb").ok());

  EXPECT_EQ(List(), (Names{"a", "a.draft", "b", "bb", "c"}));
  EXPECT_EQ(List(), (Names{"a", "a.draft", "b", "bb", "c"}));
}

TEST_F(PosixFilesTest, ATakenNameIsNotCreatedAgain) {
  MakeFile("file");

  const absl::Status status = directory_->Create("file").status();

  EXPECT_EQ(ReasonOf(status), Reason::kIoFailed);
  EXPECT_TRUE(Says(status, path_ + "/file")) << status;
  EXPECT_EQ(temp_.Read("data/file"), "file");
}

TEST_F(PosixFilesTest, ARenamedFileTakesThePlaceOfAnother) {
  MakeFile("old");
  MakeFile("new");

  ASSERT_TRUE(directory_->Rename("old", "new").ok());
  ASSERT_TRUE(directory_->Sync().ok());

  EXPECT_EQ(List(), Names{"new"});
  EXPECT_EQ(temp_.Read("data/new"), "old");
}

TEST_F(PosixFilesTest, ARenamedDirectoryNeedsAFreeName) {
  ASSERT_TRUE(directory_->MakeDirectory("old").ok());
  ASSERT_TRUE(directory_->MakeDirectory("taken").ok());
  MakeFile("file");

  const absl::Status taken = directory_->Rename("old", "taken");
  EXPECT_EQ(ReasonOf(taken), Reason::kIoFailed);
  EXPECT_TRUE(Says(taken, path_ + "/old")) << taken;
  EXPECT_TRUE(Says(taken, path_ + "/taken")) << taken;
  EXPECT_EQ(ReasonOf(directory_->Rename("old", "file")), Reason::kIoFailed);
  EXPECT_EQ(ReasonOf(directory_->Rename("file", "old")), Reason::kIoFailed);
  EXPECT_EQ(ReasonOf(directory_->Rename("missing", "x")), Reason::kIoFailed);
  EXPECT_EQ(List(), (Names{"file", "old", "taken"}));

  EXPECT_TRUE(directory_->Rename("old", "new").ok());
  EXPECT_EQ(List(), (Names{"file", "new", "taken"}));
}

TEST_F(PosixFilesTest, FilesAndEmptyDirectoriesAreRemoved) {
  MakeFile("file");
  auto nested = directory_->MakeDirectory("nested");
  ASSERT_TRUE(nested.ok()) << nested.status();
  ASSERT_TRUE((*nested)->Create("inner").ok());

  EXPECT_TRUE(directory_->Remove("file").ok());
  EXPECT_EQ(ReasonOf(directory_->Remove("file")), Reason::kIoFailed);
  EXPECT_EQ(ReasonOf(directory_->Remove("nested")), Reason::kIoFailed);
  EXPECT_EQ(List(), Names{"nested"});
  EXPECT_TRUE((*nested)->Remove("inner").ok());
  EXPECT_TRUE(directory_->Remove("nested").ok());
  EXPECT_EQ(List(), Names{});
}

TEST_F(PosixFilesTest, ANestedDirectoryIsThereWhenItIsOpenedAgain) {
  {
    auto nested = directory_->MakeDirectory("nested");
    ASSERT_TRUE(nested.ok()) << nested.status();
    auto file = (*nested)->Create("file");
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE(WriteText(**file, 0, "kept").ok());
    ASSERT_TRUE((*file)->Sync().ok());
    ASSERT_TRUE((*nested)->Sync().ok());
    ASSERT_TRUE(directory_->Sync().ok());
  }
  directory_ = OpenDirectory(path_).value();

  auto nested = directory_->MakeDirectory("nested");

  ASSERT_TRUE(nested.ok()) << nested.status();
  EXPECT_EQ((*nested)->path(), path_ + "/nested");
  EXPECT_EQ(ModeOf(path_ + "/nested"), 0700u);
  auto file = (*nested)->Open("file");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(WriteText(**file, 4, "!").ok());
  EXPECT_EQ(ReadText(**file, 0, 100), "kept!");
}

TEST_F(PosixFilesTest, OnlyADirectoryThatIsThereIsOpened) {
  MakeFile("file");
  ASSERT_TRUE(directory_->MakeDirectory("nested").ok());
  ASSERT_EQ(symlink("nested", (path_ + "/link").c_str()), 0);

  const auto nested = directory_->OpenDirectory("nested");

  ASSERT_TRUE(nested.ok()) << nested.status();
  EXPECT_EQ((*nested)->path(), path_ + "/nested");
  for (const char* name : {"file", "missing", "link"}) {
    const absl::Status status = directory_->OpenDirectory(name).status();
    EXPECT_EQ(ReasonOf(status), Reason::kIoFailed) << name;
    EXPECT_TRUE(Says(status, path_ + "/" + name)) << status;
  }
  EXPECT_EQ(List(), (Names{"file", "link", "nested"}));
}

TEST_F(PosixFilesTest, ADirectoryIsRemovedWithItsContentAndNotWhatItLinksTo) {
  ASSERT_TRUE(directory_->MakeDirectory("kept").ok());
  MakeFile("kept.txt");
  auto outer = directory_->MakeDirectory("outer");
  ASSERT_TRUE(outer.ok()) << outer.status();
  ASSERT_TRUE((*outer)->Create("file").ok());
  auto inner = (*outer)->MakeDirectory("inner");
  ASSERT_TRUE(inner.ok()) << inner.status();
  ASSERT_TRUE((*inner)->Create("file").ok());
  ASSERT_TRUE(directory_->OpenDirectory("kept").value()->Create("file").ok());
  ASSERT_EQ(
      symlink((path_ + "/kept").c_str(), (path_ + "/outer/inner/link").c_str()),
      0);

  EXPECT_TRUE(RemoveWithContent(*directory_, "outer").ok());
  EXPECT_EQ(List(), (Names{"kept", "kept.txt"}));
  EXPECT_EQ(directory_->OpenDirectory("kept").value()->List().value(),
            Names{"file"});
  EXPECT_TRUE(RemoveWithContent(*directory_, "kept.txt").ok());
  EXPECT_EQ(List(), Names{"kept"});
  EXPECT_EQ(ReasonOf(RemoveWithContent(*directory_, "outer")),
            Reason::kIoFailed);
}

TEST_F(PosixFilesTest, AnErrorSaysWhatFailedWhereAndWhy) {
  const absl::Status status = directory_->Open("missing").status();

  EXPECT_EQ(ReasonOf(status), Reason::kIoFailed);
  EXPECT_TRUE(Says(status, "open")) << status;
  EXPECT_TRUE(Says(status, path_ + "/missing")) << status;
  EXPECT_TRUE(Says(status, "No such file or directory")) << status;
}

TEST_F(PosixFilesTest, ALockedDirectoryIsRefusedToOthersUntilItIsGone) {
  ASSERT_TRUE(directory_->Lock().ok());
  EXPECT_TRUE(directory_->Lock().ok());
  EXPECT_EQ(List(), Names{"LOCK"});

  EXPECT_EQ(InChild([&] { return TryLock(path_); }), 1);
  EXPECT_EQ(TryLock(path_), 1);
  directory_.reset();
  EXPECT_EQ(InChild([&] { return TryLock(path_); }), 0);
  EXPECT_EQ(TryLock(path_), 0);
}

TEST_F(PosixFilesTest, WhoOnlyLooksSeesWhetherADirectoryIsLocked) {
  const auto reader = OpenDirectoryToRead(directory_->path());
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(*(*reader)->IsLocked(), false);
  EXPECT_EQ(*directory_->List(), Names{}) << "looking has made a file";

  ASSERT_TRUE(directory_->Lock().ok());

  EXPECT_EQ(*(*reader)->IsLocked(), true);
  EXPECT_EQ(*directory_->IsLocked(), true);
}

TEST_F(PosixFilesTest, WhatIsOpenedToReadIsReadAndStaysAsItIs) {
  ASSERT_TRUE(WriteText(**directory_->Create("file"), 0, "content").ok());
  ASSERT_TRUE((*directory_->MakeDirectory("inner"))->Create("deep").ok());

  const auto reader = OpenDirectoryToRead(directory_->path());

  ASSERT_TRUE(reader.ok()) << reader.status();
  const auto file = (*reader)->Open("file");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(ReadText(**file, 0, 7), "content");
  EXPECT_EQ(ReasonOf(WriteText(**file, 0, "changed")), Reason::kIoFailed);
  EXPECT_EQ(ReadText(**file, 0, 7), "content");
  const auto inner = (*reader)->OpenDirectory("inner");
  ASSERT_TRUE(inner.ok()) << inner.status();
  EXPECT_EQ(*(*inner)->List(), Names{"deep"});
  EXPECT_DEATH((void)(*inner)->Create("another"), "what is only read");
  EXPECT_DEATH((void)(*reader)->Remove("file"), "what is only read");
}

TEST_F(PosixFilesTest, ADirectoryToReadIsNotMade) {
  const std::string path = PathOf(*directory_, "missing");

  EXPECT_EQ(ReasonOf(OpenDirectoryToRead(path).status()), Reason::kIoFailed);
  EXPECT_EQ(*directory_->List(), Names{});
}

TEST_F(PosixFilesTest, ALinkedFileIsTheSameUnderBothNames) {
  ASSERT_TRUE(WriteText(**directory_->Create("file"), 0, "content").ok());
  const auto other = *directory_->MakeDirectory("other");

  ASSERT_TRUE(directory_->Link("file", *other).ok());

  EXPECT_EQ(ReasonOf(directory_->Link("file", *other)), Reason::kIoFailed);
  EXPECT_EQ(ReasonOf(directory_->Link("missing", *other)), Reason::kIoFailed);
  ASSERT_TRUE(directory_->Remove("file").ok());
  EXPECT_EQ(ReadText(**other->Open("file"), 0, 7), "content");
  EXPECT_EQ(*directory_->List(), Names{"other"});
}

TEST_F(PosixFilesTest, AKilledProcessHasNoLock) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto directory = OpenDirectory(path_);
    const bool locked = directory.ok() && (*directory)->Lock().ok();
    if (write(ready[1], locked ? "y" : "n", 1) == 1) {
      pause();
    }
    _exit(0);
  }
  close(ready[1]);
  char answer = 0;
  EXPECT_EQ(read(ready[0], &answer, 1), 1);
  close(ready[0]);

  EXPECT_EQ(answer, 'y');
  EXPECT_EQ(TryLock(path_), 1);
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(TryLock(path_), 0);
}

TEST_F(PosixFilesTest, OnlyOneComponentIsAName) {
  MakeFile("file");
  using std::string_view_literals::operator""sv;

  for (const std::string_view name :
       {""sv, "."sv, ".."sv, "/"sv, "a/b"sv, "/a"sv, "a/"sv, "fi\0le"sv}) {
    SCOPED_TRACE(name);
    constexpr Reason kBad = Reason::kBadValue;
    EXPECT_EQ(ReasonOf(directory_->Create(name).status()), kBad);
    EXPECT_EQ(ReasonOf(directory_->Open(name).status()), kBad);
    EXPECT_EQ(ReasonOf(directory_->MakeDirectory(name).status()), kBad);
    EXPECT_EQ(ReasonOf(directory_->OpenDirectory(name).status()), kBad);
    EXPECT_EQ(ReasonOf(directory_->Rename(name, "new")), kBad);
    EXPECT_EQ(ReasonOf(directory_->Rename("file", name)), kBad);
    EXPECT_EQ(ReasonOf(directory_->Remove(name)), kBad);
  }
  EXPECT_TRUE(directory_->Create("..a").ok());
  EXPECT_EQ(List(), (Names{"..a", "file"}));
}

TEST_F(PosixFilesTest, AFileOverTheAllowedSizeIsADiskThatIsFull) {
  auto file = NewFile("file");
  constexpr int64_t kAllowed = 8192;
  const std::string text(kAllowed + 1, 'x');

  const int result = InChild([&] {
    const rlimit limit = {kAllowed, kAllowed};
    if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
        setrlimit(RLIMIT_FSIZE, &limit) != 0) {
      return 1;
    }
    if (ReasonOf(file->Resize(kAllowed + 1)) != Reason::kDiskFull) {
      return 2;
    }
    if (file->Size().value_or(-1) != 0) {
      return 3;
    }
    const absl::Status status = WriteText(*file, 0, text);
    if (ReasonOf(status) != Reason::kDiskFull) {
      return 4;
    }
    return Says(status, path_ + "/file") && Says(status, "File too large") ? 0
                                                                           : 5;
  });

  EXPECT_EQ(result, 0);
  // A part was written before the rest was refused.
  EXPECT_EQ(file->Size().value(), kAllowed);
}

}  // namespace
}  // namespace quire::journal
