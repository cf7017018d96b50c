// The model of a disk promises of directories what the seam says, and no more.

#include "journal/model_disk.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "main/seed.h"

namespace quire::journal {
namespace {

using Names = std::vector<std::string>;
using Unsynced = ModelDisk::Unsynced;

class ModelDiskTest : public ::testing::Test {
 protected:
  Names AfterCut(Unsynced unsynced) {
    return disk_.PowerCut(unsynced, coin_)->Names();
  }
  // What is found after many cuts.
  std::set<Names> Outcomes() {
    std::set<Names> outcomes;
    for (int i = 0; i < 200; ++i) {
      outcomes.insert(AfterCut(Unsynced::kAsTheCoinFalls));
    }
    return outcomes;
  }

  std::mt19937_64 coin_{testing::Seed()};
  ModelDisk disk_;
  std::unique_ptr<Directory> root_ = disk_.Open();
};

TEST_F(ModelDiskTest, ANameIsDurableOnceItsOwnDirectoryIsSynced) {
  auto inner = root_->MakeDirectory("d");
  ASSERT_TRUE(inner.ok()) << inner.status();
  ASSERT_TRUE((*inner)->Create("file").ok());
  EXPECT_EQ(disk_.Names(), Names{"d/file"});
  EXPECT_EQ(AfterCut(Unsynced::kLost), Names{});
  EXPECT_EQ(AfterCut(Unsynced::kKept), Names{"d/file"});

  ASSERT_TRUE(root_->Sync().ok());
  EXPECT_EQ(AfterCut(Unsynced::kLost), Names{});
  EXPECT_EQ(Outcomes(), (std::set<Names>{{}, {"d/file"}}));

  ASSERT_TRUE((*inner)->Sync().ok());
  EXPECT_EQ(Outcomes(), std::set<Names>{{"d/file"}});
}

TEST_F(ModelDiskTest, ARenamedDirectoryTakesItsContentWithIt) {
  auto inner = root_->MakeDirectory("draft").value();
  ASSERT_TRUE(inner->Create("a").ok());
  ASSERT_TRUE(inner->Sync().ok());
  ASSERT_TRUE(root_->Sync().ok());

  ASSERT_TRUE(root_->Rename("draft", "done").ok());
  ASSERT_TRUE(inner->Remove("a").ok());

  EXPECT_EQ(Outcomes(), (std::set<Names>{{}, {"done/a"}, {"draft/a"}}));
  ASSERT_TRUE(root_->Sync().ok());
  EXPECT_EQ(Outcomes(), (std::set<Names>{{}, {"done/a"}}));
  ASSERT_TRUE(inner->Sync().ok());
  EXPECT_EQ(Outcomes(), std::set<Names>{{}});
}

TEST_F(ModelDiskTest, DirectoriesAreRefusedAsTheSeamSays) {
  auto full = root_->MakeDirectory("full").value();
  ASSERT_TRUE(full->Create("file").ok());
  ASSERT_TRUE(root_->MakeDirectory("empty").ok());
  ASSERT_TRUE(root_->Create("file").ok());

  EXPECT_FALSE(root_->Remove("full").ok());
  EXPECT_FALSE(root_->Rename("full", "empty").ok());
  EXPECT_FALSE(root_->Rename("full", "file").ok());
  EXPECT_FALSE(root_->Rename("file", "empty").ok());
  EXPECT_FALSE(root_->Open("full").ok());
  EXPECT_FALSE(root_->OpenDirectory("file").ok());
  EXPECT_FALSE(root_->OpenDirectory("missing").ok());
  EXPECT_EQ(root_->List().value(), (Names{"empty", "file", "full"}));

  EXPECT_TRUE(root_->Remove("empty").ok());
  EXPECT_TRUE(RemoveWithContent(*root_, "full").ok());
  EXPECT_EQ(root_->List().value(), Names{"file"});
}

TEST_F(ModelDiskTest, ACopyIsADiskOfItsOwn) {
  auto inner = root_->MakeDirectory("d").value();
  ASSERT_TRUE(root_->Sync().ok());
  ASSERT_TRUE(inner->Create("a").ok());

  ModelDisk copy(disk_);
  ASSERT_TRUE(inner->Create("b").ok());
  auto other = copy.Open()->OpenDirectory("d").value();
  ASSERT_TRUE(other->Create("c").ok());
  ASSERT_TRUE(other->Sync().ok());

  EXPECT_EQ(disk_.Names(), (Names{"d/a", "d/b"}));
  EXPECT_EQ(copy.Names(), (Names{"d/a", "d/c"}));
  EXPECT_EQ(copy.PowerCut(Unsynced::kLost, coin_)->Names(),
            (Names{"d/a", "d/c"}));
}

}  // namespace
}  // namespace quire::journal
