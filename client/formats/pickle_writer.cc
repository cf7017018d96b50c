#include <string>

#include "client/formats/pickle.h"
#include "client/formats/pickle_values.h"
#include "client/formats/tensor_file.h"

namespace quire::formats {
namespace {

template <typename T>
void AppendNumber(T number, std::string& out) {
  out.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void AppendString(std::string_view text, std::string& out) {
  out += static_cast<char>(Op::kBinUnicode);
  AppendNumber(static_cast<uint32_t>(text.size()), out);
  out += text;
}

void AppendInt(int64_t number, std::string& out) {
  out += static_cast<char>(Op::kLong1);
  out += static_cast<char>(sizeof(number));
  AppendNumber(number, out);
}

void AppendInts(std::span<const int64_t> numbers, std::string& out) {
  out += static_cast<char>(Op::kMark);
  for (const int64_t number : numbers) {
    AppendInt(number, out);
  }
  out += static_cast<char>(Op::kTuple);
}

constexpr std::string_view kEmptyOrderedDict = "ccollections\nOrderedDict\n)R";

void AppendTensor(const TensorToPickle& tensor, std::string& out) {
  AppendString(tensor.name, out);
  out += "ctorch._utils\n_rebuild_tensor_v2\n((";
  AppendString("storage", out);
  out += tensor.is_float ? "ctorch\nFloatStorage\n" : "ctorch\nLongStorage\n";
  AppendString(tensor.storage_key, out);
  AppendString("cpu", out);
  AppendInt(ElementCount(tensor.dims).value_or(0), out);
  out += "tQ";
  AppendInt(0, out);
  AppendInts(tensor.dims, out);
  AppendInts(DenseStrides(tensor.dims), out);
  out += static_cast<char>(Op::kNewFalse);
  out += kEmptyOrderedDict;
  out += "tR";
}

}  // namespace

std::string PickleTensors(const std::vector<TensorToPickle>& tensors) {
  std::string out = {static_cast<char>(Op::kProto), 2};
  out += kEmptyOrderedDict;
  out += static_cast<char>(Op::kMark);
  for (const TensorToPickle& tensor : tensors) {
    AppendTensor(tensor, out);
  }
  out += static_cast<char>(Op::kSetItems);
  out += static_cast<char>(Op::kStop);
  return out;
}

}  // namespace quire::formats
