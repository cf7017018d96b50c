// Reads the pickle of a torch.save, and runs nothing of it.
//
// A pickle is a program for a machine with a stack, which can call any function
// of Python. This reader builds values: numbers, strings, tuples, lists, dicts.
// Of functions it knows those that a state_dict of tensors needs, by name, and
// has its own for them:
//
//   collections.OrderedDict()               an empty dict
//   torch._utils._rebuild_tensor_v2(…)      a tensor: a view of a storage
//   torch._utils._rebuild_parameter(t, …)   the tensor t
//   torch.FloatStorage, …                   the type of a storage
//
// and of persistent ids ('storage', type, key, place, size). Anything else is
// an error that names the function, or the opcode, and its place.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/formats/number_type.h"

namespace quire::formats {

// Longer pickles are refused: a state_dict has some 200 bytes for each tensor.
inline constexpr size_t kPickleBytesMax = size_t{16} << 20;

// Values of one pickle, 56 bytes each.
inline constexpr size_t kPickleValuesMax = size_t{1} << 20;

// Tensors of one pickle.
inline constexpr size_t kPickleTensorsMax = size_t{1} << 16;

// Dicts in dicts, tuples in tuples, …
inline constexpr size_t kPickleDepthMax = 64;

// A view of a storage.
struct PickledTensor {
  // Keys from the outermost dict to the tensor, with dots between them:
  // "model.emb.weight". A tensor that is all there is: "tensor".
  std::string name;
  // Absent: a type of storage that Quire does not read.
  std::optional<NumberType> type;
  std::string type_name;  // "FloatStorage"
  std::string storage_key;
  int64_t storage_elements = 0;
  int64_t offset = 0;  // in elements
  std::vector<int64_t> dims;
  std::vector<int64_t> strides;
};

// The tensors of a pickle, in its order. Every element of a tensor lies within
// its storage; a tensor has no more elements than its storage. Names may come
// twice. The error is one clause, about `pickle`.
absl::StatusOr<std::vector<PickledTensor>> ReadPickledTensors(
    std::string_view pickle);

// A pickle of an OrderedDict of float32 tensors in C order, each the whole of
// its storage; names are UTF-8.
struct TensorToPickle {
  std::string name;
  std::string storage_key;
  std::vector<int64_t> dims;
  // Or int64.
  bool is_float = true;
};
std::string PickleTensors(const std::vector<TensorToPickle>& tensors);

}  // namespace quire::formats
