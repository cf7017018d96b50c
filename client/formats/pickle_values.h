// What pickles of torch are made of: opcodes, names, and the values that they
// build. For pickle.cc and pickle_writer.cc.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "client/formats/number_type.h"

namespace quire::formats {

// As Python's pickletools names them.
enum class Op : uint8_t {
  kMark = '(',
  kEmptyTuple = ')',
  kStop = '.',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinUnicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

// What a pickle may name and call.
enum class Function { kOrderedDict, kRebuildTensor, kRebuildParameter };

struct FunctionEntry {
  std::string_view module;
  std::string_view name;
  Function function;
};

inline constexpr auto kFunctions = std::to_array<FunctionEntry>({
    {"collections", "OrderedDict", Function::kOrderedDict},
    {"torch._utils", "_rebuild_tensor_v2", Function::kRebuildTensor},
    {"torch._utils", "_rebuild_parameter", Function::kRebuildParameter},
});

struct StorageEntry {
  std::string_view name;
  std::optional<NumberType> type;
};

inline constexpr auto kStorages = std::to_array<StorageEntry>({
    {"FloatStorage", NumberType::kFloat32},
    {"HalfStorage", NumberType::kFloat16},
    {"BFloat16Storage", NumberType::kBfloat16},
    {"DoubleStorage", NumberType::kFloat64},
    {"LongStorage", NumberType::kInt64},
    {"IntStorage", NumberType::kInt32},
    {"ShortStorage", NumberType::kInt16},
    {"CharStorage", NumberType::kInt8},
    {"ByteStorage", NumberType::kUint8},
    {"BoolStorage", NumberType::kBool},
    {"ComplexFloatStorage", {}},
    {"ComplexDoubleStorage", {}},
});

enum class Kind : uint8_t {
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kTuple,
  kList,
  kDict,
  kFunction,     // number: of kFunctions
  kStorageType,  // number: of kStorages
  kStorage,      // number: elements; text: key; items: its type
  kTensor,       // number: of the tensors
};

// A place in the list of values.
using Ref = uint32_t;

struct Value {
  Kind kind = Kind::kNone;
  int64_t number = 0;
  std::string_view text = {};  // of the pickle
  // Of a tuple or a list; of a dict: key, value, key, value, …
  std::vector<Ref> items = {};
};

inline std::string_view KindName(Kind kind) {
  constexpr auto kNames = std::to_array<std::string_view>(
      {"None", "a truth value", "a whole number", "a float", "a string",
       "a tuple", "a list", "a dict", "a function", "a storage's type",
       "a storage", "a tensor"});
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace quire::formats
