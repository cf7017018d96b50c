#include "client/formats/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/formats/read_rows.h"
#include "tests/formats/sample_files.h"

namespace quire::formats {
namespace {

using namespace std::string_literals;
using testing::AppendNumber;
using testing::BytesOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MakeStateDict;
using testing::MakeTorch;
using testing::ReadFile;
using testing::Refusal;

const std::string kFloats = BytesOf<float>({1, 2, 3, 4, 5, 6});

std::string PickleRefusal(std::string_view pickle) {
  return std::string(ReadPickledTensors(pickle).status().message());
}

std::string Number(int64_t value) {
  std::string out = "\x8a\x08"s;
  AppendNumber(value, out);
  return out;
}

// A tensor of storage "0".
std::string Tensor(int64_t elements, int64_t offset,
                   const std::vector<int64_t>& dims,
                   const std::vector<int64_t>& strides,
                   std::string_view type = "FloatStorage") {
  const auto tuple = [](const std::vector<int64_t>& numbers) {
    std::string out = "(";
    for (const int64_t number : numbers) {
      out += Number(number);
    }
    return out + "t";
  };
  return "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n"s +
         std::string(type) + "\nX\x01\0\0\0"s + "0X\x03\0\0\0"s + "cpu" +
         Number(elements) + "tQ" + Number(offset) + tuple(dims) +
         tuple(strides) + "\x89}tR";
}

std::string Program(std::string_view body) {
  return "\x80\x02"s + std::string(body) + ".";
}

TEST(PickleTest, AStateDictIsItsTensorsByName) {
  const auto tensors = ReadPickledTensors(MakeStateDict("emb.weight", 3, 2));

  ASSERT_EQ(tensors.status(), absl::OkStatus());
  ASSERT_EQ(tensors->size(), 1u);
  EXPECT_EQ((*tensors)[0].name, "emb.weight");
  EXPECT_EQ((*tensors)[0].type, NumberType::kFloat32);
  EXPECT_THAT((*tensors)[0].dims, ElementsAre(3, 2));
  EXPECT_THAT((*tensors)[0].strides, ElementsAre(2, 1));
}

TEST(PickleTest, WhatIsWrittenIsRead) {
  const auto tensors = ReadPickledTensors(PickleTensors(
      {{.name = "weight", .storage_key = "0", .dims = {5'000'000'000, 64}},
       {.name = "optimizer.sum", .storage_key = "1", .dims = {0, 1}}}));

  ASSERT_EQ(tensors.status(), absl::OkStatus());
  ASSERT_EQ(tensors->size(), 2u);
  EXPECT_EQ((*tensors)[0].storage_elements, 320'000'000'000);
  EXPECT_THAT((*tensors)[1].dims, ElementsAre(0, 1));
  EXPECT_EQ((*tensors)[1].name, "optimizer.sum");
}

TEST(PickleTest, DictsInDictsAreNamedWithDots) {
  const std::string w = "X\x01\0\0\0w"s;

  const auto tensors = ReadPickledTensors(
      Program("}(" + w + "}(" + w + Tensor(2, 0, {1, 2}, {2, 1}) + "K\x07" +
              "](" + Tensor(2, 0, {1, 1}, {1, 1}) + "Neuu"));

  ASSERT_EQ(tensors.status(), absl::OkStatus());
  ASSERT_EQ(tensors->size(), 2u);
  EXPECT_EQ((*tensors)[0].name, "w.w");
  EXPECT_EQ((*tensors)[1].name, "w.7.0");
}

TEST(PickleTest, NothingIsCalled) {
  // What pickletools shows as os.system("echo").
  EXPECT_THAT(PickleRefusal(Program("cos\nsystem\nX\x04\0\0\0echo\x85R"s)),
              HasSubstr("at byte 2 names 'os.system', and Quire runs nothing"));
  EXPECT_THAT(PickleRefusal(Program("\x8c\x08"
                                    "builtins\x8c\x04"
                                    "eval\x93")),
              HasSubstr("names 'builtins.eval'"));
  EXPECT_THAT(PickleRefusal(Program("ctorch\nload\n")),
              HasSubstr("names 'torch.load'"));
  // Python's own ways to make objects: INST, OBJ, NEWOBJ, EXT1.
  for (const char op : {'i', 'o', '\x81', '\x82'}) {
    EXPECT_THAT(PickleRefusal(Program(std::string(1, op))),
                HasSubstr("which no state_dict of tensors needs"));
  }
  EXPECT_THAT(PickleRefusal(Program("NN\x86N\x85R")),
              HasSubstr("calls a tuple with a tuple"));
  EXPECT_THAT(PickleRefusal(Program("ccollections\nOrderedDict\nN\x85R")),
              HasSubstr("makes an OrderedDict of something"));
}

TEST(PickleTest, TensorsOutsideOfTheirStorageAreRefused) {
  constexpr int64_t kHuge = int64_t{1} << 62;
  const auto refusal = [](const std::string& tensor) {
    return PickleRefusal(Program(tensor));
  };

  EXPECT_EQ(refusal(Tensor(6, 0, {3, 2}, {2, 1})), "");
  EXPECT_EQ(refusal(Tensor(6, 0, {2, 3}, {1, 2})), "");  // transposed
  EXPECT_EQ(refusal(Tensor(6, 5, {0, 2}, {2, 1})), "");
  for (const std::string& tensor :
       {Tensor(6, 1, {3, 2}, {2, 1}), Tensor(6, -1, {1, 1}, {1, 1}),
        Tensor(6, 0, {2, 2}, {5, 1}), Tensor(6, 0, {kHuge, 2}, {0, 1}),
        Tensor(6, 0, {7, 1}, {0, 0}), Tensor(6, kHuge, {2, 1}, {kHuge, 1}),
        Tensor(6, 0, {2, 2}, {kHuge, kHuge}),
        Tensor(6, 0, {kHuge, kHuge}, {1, 1})}) {
    EXPECT_THAT(refusal(tensor), HasSubstr("does not fit its storage of 6"));
  }
  EXPECT_THAT(refusal(Tensor(6, 0, {3, 2}, {2})), HasSubstr("2 dims and 1"));
  EXPECT_THAT(refusal(Tensor(6, 0, {-3, 2}, {2, 1})), HasSubstr("a dim or"));
  EXPECT_THAT(refusal(Tensor(-6, 0, {0, 2}, {2, 1})),
              HasSubstr("no storage of torch's"));
  EXPECT_THAT(refusal(Tensor(6, 0, std::vector<int64_t>(17, 0),
                             std::vector<int64_t>(17, 0))),
              HasSubstr("no tuple of up to 16"));
}

TEST(PickleTest, WhatHoldsItselfOrTooMuchEnds) {
  // Each list holds the one before it twice: 2^60 leaves.
  std::string bomb = "(]q\x01";
  for (int i = 0; i < 60; ++i) {
    bomb += "]h\x01"s + "ah\x01"s + "aq\x01";
  }
  bomb += "t";
  std::string deep;
  for (int i = 0; i < 100; ++i) {
    deep += "]";
  }
  deep += std::string(99, 'a');

  EXPECT_THAT(PickleRefusal(Program("]q\x01h\x01"s + "a")),
              HasSubstr("nested deeper than 64"));
  EXPECT_THAT(PickleRefusal(Program(bomb)), HasSubstr("larger than 1048576"));
  EXPECT_THAT(PickleRefusal(Program(deep)), HasSubstr("nested deeper"));
  EXPECT_THAT(PickleRefusal(Program(std::string(1000, '('))),
              HasSubstr("nested deeper"));
  EXPECT_THAT(PickleRefusal(Program(std::string(2'000'000, 'N'))),
              HasSubstr("more than 1048576 values"));
  EXPECT_THAT(PickleRefusal(std::string(kPickleBytesMax + 1, 'N')),
              HasSubstr("at most 16777216 are read"));
}

TEST(PickleTest, AProgramThatBreaksOffOrUnderflowsIsRefused) {
  const std::string good = MakeStateDict("weight", 3, 2);

  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(PickleRefusal(good.substr(0, size)), "") << size;
  }
  for (const char op : {'a', 'e', 's', 'u', 't', 'R', 'b', 'Q', 'h', 'q',
                        '\x85', '\x86', '\x87', '\x93', '\x94', '.'}) {
    EXPECT_NE(PickleRefusal(Program(std::string(1, op) + "\x01")), "") << op;
  }
  EXPECT_THAT(PickleRefusal("\x80\x01."), HasSubstr("of protocol 1"));
  EXPECT_THAT(PickleRefusal(Program("X\xff\xff\xff\xff")),
              HasSubstr("ends where 4294967295 bytes are needed"));
  EXPECT_THAT(PickleRefusal(Program("NN")), HasSubstr("leaves 2 values"));
  EXPECT_THAT(PickleRefusal(Program("}(Nu")), HasSubstr("a key without a"));
  EXPECT_THAT(PickleRefusal(Program("Nr\xff\xff\xff\xffj\x01\0\0\0"s)),
              HasSubstr("recalls value 1"));
}

TEST(TorchFileTest, ReadsTheRowsOfATensor) {
  const auto file =
      ReadFile(MakeTorch(MakeStateDict("emb.weight", 3, 2), {kFloats}));

  ASSERT_EQ(file.status(), absl::OkStatus());
  EXPECT_EQ(file->info.format, RowFormat::kTorch);
  EXPECT_THAT(file->all.values, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(TorchFileTest, ViewsAreReadByTheirStridesAndOffsets) {
  const auto read = [](int64_t offset, const std::vector<int64_t>& dims,
                       const std::vector<int64_t>& strides) {
    return ReadFile(
               MakeTorch(Program(Tensor(6, offset, dims, strides)), {kFloats}))
        ->all.values;
  };

  EXPECT_THAT(read(0, {2, 3}, {1, 2}), ElementsAre(1, 3, 5, 2, 4, 6));
  EXPECT_THAT(read(2, {2, 2}, {2, 1}), ElementsAre(3, 4, 5, 6));
  EXPECT_THAT(read(1, {2, 1}, {3, 1}), ElementsAre(2, 5));
  EXPECT_THAT(read(0, {2, 2}, {3, 2}), ElementsAre(1, 3, 4, 6));
  EXPECT_THAT(read(5, {1, 1}, {7, 9}), ElementsAre(6));
}

TEST(TorchFileTest, AStorageThatIsMissingOrOfAnotherSizeIsRefused) {
  const std::string pickle = MakeStateDict("weight", 3, 2);

  EXPECT_THAT(Refusal(MakeTorch(pickle, {})),
              HasSubstr("has no 'archive/data/0', the numbers of 'weight'"));
  EXPECT_THAT(Refusal(MakeTorch(pickle, {kFloats + "1234"})),
              HasSubstr("has 28 bytes; 6 numbers of float32 are needed"));
  EXPECT_THAT(Refusal(MakeTorch(pickle, {kFloats.substr(4)})),
              HasSubstr("has 20 bytes; 6 numbers of float32 are needed"));
}

TEST(TorchFileTest, WhatIsNoStateDictIsRefused) {
  const std::string pickle = MakeStateDict("weight", 3, 2);
  const std::string script =
      testing::MakeZip({{.name = "m/data.pkl", .bytes = pickle},
                        {.name = "m/constants.pkl", .bytes = "\x80\x02)."}});
  const std::string big =
      testing::MakeZip({{.name = "m/data.pkl", .bytes = pickle},
                        {.name = "m/data/0", .bytes = kFloats},
                        {.name = "m/byteorder", .bytes = "big"}});
  // The first bytes of torch.save(…, _use_new_zipfile_serialization=False).
  const std::string old =
      "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s;

  EXPECT_THAT(Refusal(script), HasSubstr("is a program (TorchScript)"));
  EXPECT_THAT(Refusal(big), HasSubstr("is big-endian"));
  EXPECT_THAT(Refusal(old), HasSubstr("by a torch before 1.6"));
  EXPECT_THAT(Refusal(MakeTorch("\x80\x02}.", {})),
              HasSubstr("holds no tensor"));
  EXPECT_THAT(
      Refusal(MakeTorch("\x80\x02"
                        "cos\nsystem\n.",
                        {})),
      HasSubstr("'file: archive/data.pkl' at byte 2 names 'os.system'"));
}

TEST(TorchFileTest, TheSameNameTwiceIsRefused) {
  const std::string tensor = Tensor(6, 0, {3, 2}, {2, 1});
  const std::string pickle =
      Program("}(X\x03\0\0\0a.b"s + tensor + "X\x01\0\0\0"s + "a}X\x01\0\0\0"s +
              "b" + tensor + "su");

  EXPECT_THAT(Refusal(MakeTorch(pickle, {kFloats})),
              HasSubstr("has two tensors named 'a.b'"));
}

TEST(TorchFileTest, APickleThatUnpacksToMoreThanTheFileIsRefused) {
  const std::string bomb =
      testing::MakeZip({{.name = "m/data.pkl",
                         .bytes = std::string(4'000'000, '\0'),
                         .is_deflated = true}});

  EXPECT_THAT(Refusal(bomb),
              HasSubstr("unpacks to 4000000 bytes, more than the whole file"));
}

}  // namespace
}  // namespace quire::formats
