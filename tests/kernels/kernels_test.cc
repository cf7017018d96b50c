#include "kernels/kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "kernels/each_table.h"

namespace quire::kernels {
namespace {

TEST(KernelsTest, EachTableIsFoundByItsName) {
  for (const Kernels* table : TablesThatRunHere()) {
    EXPECT_EQ(KernelsByName(table->name), table);
  }
}

TEST(KernelsTest, TheNamesAreThoseThatTheHeaderPromises) {
  EXPECT_STREQ(ScalarKernels().name, "scalar");
  if (Avx2Kernels() != nullptr) {
    EXPECT_STREQ(Avx2Kernels()->name, "avx2");
  }
  if (Avx512Kernels() != nullptr) {
    EXPECT_STREQ(Avx512Kernels()->name, "avx512");
  }
}

TEST(KernelsTest, AnUnknownNameHasNoTable) {
  EXPECT_EQ(KernelsByName("avx"), nullptr);
  EXPECT_EQ(KernelsByName(""), nullptr);
  EXPECT_EQ(KernelsByName("scalar "), nullptr);
}

TEST(KernelsTest, TheBestTableIsTheWidestThatRuns) {
  EXPECT_EQ(&BestKernels(), TablesThatRunHere().back());
}

TEST(KernelsTest, ATableHasEveryFunction) {
  for (const Kernels* table : TablesThatRunHere()) {
    EXPECT_NE(table->first_out_of_range, nullptr);
    EXPECT_NE(table->first_non_finite, nullptr);
    EXPECT_NE(table->add_scaled, nullptr);
    EXPECT_NE(table->add_where, nullptr);
    EXPECT_NE(table->gather, nullptr);
    EXPECT_NE(table->gather_renormed, nullptr);
    EXPECT_NE(table->pool_sum, nullptr);
    EXPECT_NE(table->pool_max, nullptr);
    EXPECT_NE(table->divide, nullptr);
    EXPECT_NE(table->scatter, nullptr);
    EXPECT_NE(table->sgd, nullptr);
    EXPECT_NE(table->adagrad, nullptr);
    EXPECT_NE(table->sparse_adam, nullptr);
    EXPECT_NE(table->adam, nullptr);
    EXPECT_NE(table->rowwise_adagrad, nullptr);
    EXPECT_NE(table->rowwise_rmsprop, nullptr);
    EXPECT_NE(table->partial_rowwise_adam, nullptr);
    EXPECT_NE(table->lamb, nullptr);
    EXPECT_NE(table->partial_rowwise_lamb, nullptr);
    EXPECT_NE(table->lars_sgd, nullptr);
    EXPECT_NE(table->ftrl, nullptr);
    EXPECT_NE(table->fill_uniform, nullptr);
    EXPECT_NE(table->fill_normal, nullptr);
    EXPECT_NE(table->dot, nullptr);
    EXPECT_NE(table->squared_distance, nullptr);
  }
}

}  // namespace
}  // namespace quire::kernels
