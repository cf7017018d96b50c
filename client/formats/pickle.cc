#include "client/formats/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <unordered_map>
#include <utility>

#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/pickle_values.h"
#include "client/formats/tensor_file.h"

namespace quire::formats {
namespace {

// Dims of a tensor; torch itself allows 64.
constexpr size_t kDimsMax = 16;

// Bytes of a tensor's name.
constexpr size_t kNameBytesMax = 512;

// Names beyond one for each tensor: one that is kept in several places.
constexpr size_t kFurtherNamesMax = 1024;

// Longer texts are cut in messages.
constexpr size_t kTextBytesShown = 80;

std::string_view Shown(std::string_view text) {
  return text.substr(0, kTextBytesShown);
}

class Machine {
 public:
  explicit Machine(std::string_view pickle) : pickle_(pickle) {}

  // Runs to the STOP; what is then on the stack is the result.
  absl::StatusOr<Ref> Run() {
    while (!stopped_) {
      op_place_ = place_;
      QUIRE_ASSIGN_OR_RETURN(const uint8_t op, TakeByte());
      QUIRE_RETURN_IF_ERROR(Step(static_cast<Op>(op)));
    }
    if (stack_.size() != 1 || !marks_.empty()) {
      return At(
          fmt::format("leaves {} values where one is needed", stack_.size()));
    }
    return stack_.front();
  }

  const Value& value(Ref ref) const { return values_[ref]; }
  std::vector<PickledTensor>& tensors() { return tensors_; }

 private:
  // --- Errors ---

  // At the opcode that is being run.
  absl::Status At(std::string_view what) const {
    return InputError(fmt::format("at byte {} {}", op_place_, what));
  }

  // --- Bytes of the program ---

  absl::StatusOr<std::string_view> Take(uint64_t size) {
    if (size > pickle_.size() - place_) {
      return At(fmt::format("ends where {} bytes are needed", size));
    }
    const std::string_view bytes =
        pickle_.substr(place_, static_cast<size_t>(size));
    place_ += bytes.size();
    return bytes;
  }

  absl::StatusOr<uint8_t> TakeByte() {
    QUIRE_ASSIGN_OR_RETURN(const std::string_view byte, Take(1));
    return static_cast<uint8_t>(byte[0]);
  }

  // A little-endian number.
  template <typename T>
  absl::StatusOr<T> TakeNumber() {
    QUIRE_ASSIGN_OR_RETURN(const std::string_view bytes, Take(sizeof(T)));
    T number = 0;
    std::memcpy(&number, bytes.data(), sizeof(T));
    return number;
  }

  absl::StatusOr<std::string_view> TakeLine() {
    const size_t end = pickle_.find('\n', place_);
    if (end == std::string_view::npos) {
      return At("ends within a name");
    }
    const std::string_view line = pickle_.substr(place_, end - place_);
    place_ = end + 1;
    return line;
  }

  // --- The stack ---

  absl::Status Push(Value value) {
    if (values_.size() == kPickleValuesMax) {
      return At(fmt::format("has more than {} values", kPickleValuesMax));
    }
    values_.push_back(std::move(value));
    stack_.push_back(static_cast<Ref>(values_.size() - 1));
    return absl::OkStatus();
  }

  absl::Status PushInt(int64_t number) {
    return Push({.kind = Kind::kInt, .number = number});
  }

  // How many values are above the last mark.
  size_t Height() const {
    return stack_.size() - (marks_.empty() ? 0 : marks_.back());
  }

  absl::StatusOr<Ref> Pop() {
    if (Height() == 0) {
      return At("takes a value from an empty stack");
    }
    const Ref ref = stack_.back();
    stack_.pop_back();
    return ref;
  }

  // All above the last mark, which goes too.
  absl::StatusOr<std::vector<Ref>> PopToMark() {
    if (marks_.empty()) {
      return At("needs a mark");
    }
    const auto first =
        stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Ref> refs(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return refs;
  }

  // The value on top, which must be of `kind` and stays.
  absl::StatusOr<Value*> Top(Kind kind) {
    if (Height() == 0) {
      return At("needs a value on the stack");
    }
    Value& value = values_[stack_.back()];
    if (value.kind != kind) {
      return At(fmt::format("needs {}, and finds {}", KindName(kind),
                            KindName(value.kind)));
    }
    return &value;
  }

  // --- Opcodes ---

  absl::Status Step(Op op) {
    switch (op) {
      case Op::kProto:
        return CheckProtocol();
      case Op::kFrame:
        return Take(sizeof(uint64_t)).status();
      case Op::kStop:
        stopped_ = true;
        return absl::OkStatus();
      case Op::kMark:
        if (marks_.size() == kPickleDepthMax) {
          return At(fmt::format("is nested deeper than {}", kPickleDepthMax));
        }
        marks_.push_back(stack_.size());
        return absl::OkStatus();
      case Op::kNone:
        return Push({});
      case Op::kNewTrue:
        return Push({.kind = Kind::kBool, .number = 1});
      case Op::kNewFalse:
        return Push({.kind = Kind::kBool, .number = 0});
      case Op::kBinFloat:
        QUIRE_RETURN_IF_ERROR(Take(sizeof(double)).status());
        return Push({.kind = Kind::kFloat});
      case Op::kBinInt:
        return StepInt<int32_t>();
      case Op::kBinInt1:
        return StepInt<uint8_t>();
      case Op::kBinInt2:
        return StepInt<uint16_t>();
      case Op::kLong1:
        return StepLong();
      case Op::kShortBinUnicode:
        return StepString<uint8_t>();
      case Op::kBinUnicode:
        return StepString<uint32_t>();
      case Op::kBinUnicode8:
        return StepString<uint64_t>();
      default:
        return StepContainer(op);
    }
  }

  absl::Status StepContainer(Op op) {
    switch (op) {
      case Op::kEmptyDict:
        return Push({.kind = Kind::kDict});
      case Op::kEmptyList:
        return Push({.kind = Kind::kList});
      case Op::kEmptyTuple:
        return Push({.kind = Kind::kTuple});
      case Op::kTuple1:
        return StepTuple(1);
      case Op::kTuple2:
        return StepTuple(2);
      case Op::kTuple3:
        return StepTuple(3);
      case Op::kTuple: {
        QUIRE_ASSIGN_OR_RETURN(std::vector<Ref> items, PopToMark());
        return Push({.kind = Kind::kTuple, .items = std::move(items)});
      }
      case Op::kAppend:
        return StepAdd(Kind::kList, 1);
      case Op::kSetItem:
        return StepAdd(Kind::kDict, 2);
      case Op::kAppends:
        return StepAddToMark(Kind::kList);
      case Op::kSetItems:
        return StepAddToMark(Kind::kDict);
      default:
        return StepRest(op);
    }
  }

  absl::Status StepRest(Op op) {
    switch (op) {
      case Op::kBinPut:
        return StepPut<uint8_t>();
      case Op::kLongBinPut:
        return StepPut<uint32_t>();
      case Op::kMemoize:
        return Put(static_cast<uint32_t>(memo_.size()));
      case Op::kBinGet:
        return StepGet<uint8_t>();
      case Op::kLongBinGet:
        return StepGet<uint32_t>();
      case Op::kGlobal: {
        QUIRE_ASSIGN_OR_RETURN(const std::string_view module, TakeLine());
        QUIRE_ASSIGN_OR_RETURN(const std::string_view name, TakeLine());
        return PushGlobal(module, name);
      }
      case Op::kStackGlobal:
        return StepStackGlobal();
      case Op::kBinPersId:
        return StepPersistentId();
      case Op::kReduce:
        return StepReduce();
      case Op::kBuild:
        return StepBuild();
      default:
        return At(fmt::format(
            "has the opcode 0x{:02x}, which no state_dict of tensors needs",
            static_cast<int>(op)));
    }
  }

  absl::Status CheckProtocol() {
    QUIRE_ASSIGN_OR_RETURN(const uint8_t version, TakeByte());
    return version >= 2 && version <= 5
               ? absl::OkStatus()
               : At(fmt::format("is of protocol {}; 2 to 5 are read", version));
  }

  template <typename T>
  absl::Status StepInt() {
    QUIRE_ASSIGN_OR_RETURN(const T number, TakeNumber<T>());
    return PushInt(number);
  }

  // A number of up to 8 bytes, two's complement.
  absl::Status StepLong() {
    QUIRE_ASSIGN_OR_RETURN(const uint8_t size, TakeByte());
    QUIRE_ASSIGN_OR_RETURN(const std::string_view bytes, Take(size));
    if (size > sizeof(int64_t)) {
      return At("has a number of more than 64 bits");
    }
    const bool is_negative =
        size > 0 && static_cast<signed char>(bytes.back()) < 0;
    int64_t number = is_negative ? -1 : 0;
    std::memcpy(&number, bytes.data(), size);
    return PushInt(number);
  }

  template <typename T>
  absl::Status StepString() {
    QUIRE_ASSIGN_OR_RETURN(const T size, TakeNumber<T>());
    QUIRE_ASSIGN_OR_RETURN(const std::string_view text, Take(size));
    return Push({.kind = Kind::kString, .text = text});
  }

  absl::Status StepTuple(size_t size) {
    std::vector<Ref> items(size);
    for (size_t i = size; i-- > 0;) {
      QUIRE_ASSIGN_OR_RETURN(items[i], Pop());
    }
    return Push({.kind = Kind::kTuple, .items = std::move(items)});
  }

  absl::Status StepAdd(Kind kind, size_t count) {
    std::vector<Ref> added(count);
    for (size_t i = count; i-- > 0;) {
      QUIRE_ASSIGN_OR_RETURN(added[i], Pop());
    }
    return AddTo(kind, added);
  }

  absl::Status StepAddToMark(Kind kind) {
    QUIRE_ASSIGN_OR_RETURN(const std::vector<Ref> added, PopToMark());
    if (kind == Kind::kDict && added.size() % 2 != 0) {
      return At("has a key without a value");
    }
    return AddTo(kind, added);
  }

  absl::Status AddTo(Kind kind, std::span<const Ref> added) {
    QUIRE_ASSIGN_OR_RETURN(Value * target, Top(kind));
    target->items.insert(target->items.end(), added.begin(), added.end());
    return absl::OkStatus();
  }

  template <typename T>
  absl::Status StepPut() {
    QUIRE_ASSIGN_OR_RETURN(const T index, TakeNumber<T>());
    return Put(index);
  }

  absl::Status Put(uint32_t index) {
    if (Height() == 0) {
      return At("remembers a value that is not there");
    }
    if (memo_.size() == kPickleValuesMax) {
      return At(fmt::format("remembers more than {} values", kPickleValuesMax));
    }
    memo_[index] = stack_.back();
    return absl::OkStatus();
  }

  template <typename T>
  absl::Status StepGet() {
    QUIRE_ASSIGN_OR_RETURN(const T index, TakeNumber<T>());
    const auto found = memo_.find(index);
    if (found == memo_.end()) {
      return At(
          fmt::format("recalls value {}, which it has not remembered", index));
    }
    stack_.push_back(found->second);
    return absl::OkStatus();
  }

  // --- What is named ---

  absl::Status StepStackGlobal() {
    QUIRE_ASSIGN_OR_RETURN(const Ref name, Pop());
    QUIRE_ASSIGN_OR_RETURN(const Ref module, Pop());
    if (values_[name].kind != Kind::kString ||
        values_[module].kind != Kind::kString) {
      return At("names a function by what is no string");
    }
    return PushGlobal(values_[module].text, values_[name].text);
  }

  absl::Status PushGlobal(std::string_view module, std::string_view name) {
    const auto function =
        std::ranges::find_if(kFunctions, [&](const FunctionEntry& entry) {
          return entry.module == module && entry.name == name;
        });
    if (function != kFunctions.end()) {
      return Push(
          {.kind = Kind::kFunction, .number = function - kFunctions.begin()});
    }
    const auto storage =
        std::ranges::find(kStorages, name, &StorageEntry::name);
    if (module == "torch" && storage != kStorages.end()) {
      return Push(
          {.kind = Kind::kStorageType, .number = storage - kStorages.begin()});
    }
    return At(fmt::format(
        "names '{}.{}', and Quire runs nothing of a file: save a state_dict "
        "of tensors, torch.save(model.state_dict(), …)",
        Shown(module), Shown(name)));
  }

  // ('storage', type, key, place, elements)
  absl::Status StepPersistentId() {
    QUIRE_ASSIGN_OR_RETURN(const Ref id, Pop());
    const std::vector<Ref>& items = values_[id].items;
    const auto is = [&](size_t i, Kind kind) {
      return values_[items[i]].kind == kind;
    };
    if (values_[id].kind != Kind::kTuple || items.size() != 5 ||
        !is(0, Kind::kString) || values_[items[0]].text != "storage" ||
        !is(1, Kind::kStorageType) || !is(2, Kind::kString) ||
        !is(3, Kind::kString) || !is(4, Kind::kInt) ||
        values_[items[4]].number < 0) {
      return At("has a persistent id that is no storage of torch's");
    }
    return Push({.kind = Kind::kStorage,
                 .number = values_[items[4]].number,
                 .text = values_[items[2]].text,
                 .items = {items[1]}});
  }

  // Calls a function of ours.
  absl::Status StepReduce() {
    QUIRE_ASSIGN_OR_RETURN(const Ref arguments, Pop());
    QUIRE_ASSIGN_OR_RETURN(const Ref callee, Pop());
    if (values_[callee].kind != Kind::kFunction ||
        values_[arguments].kind != Kind::kTuple) {
      return At(fmt::format("calls {} with {}", KindName(values_[callee].kind),
                            KindName(values_[arguments].kind)));
    }
    const std::vector<Ref>& items = values_[arguments].items;
    const FunctionEntry& entry =
        kFunctions[static_cast<size_t>(values_[callee].number)];
    switch (entry.function) {
      case Function::kOrderedDict:
        return items.empty() ? Push({.kind = Kind::kDict})
                             : At("makes an OrderedDict of something");
      case Function::kRebuildTensor:
        return RebuildTensor(items);
      case Function::kRebuildParameter:
        if (items.empty() || values_[items[0]].kind != Kind::kTensor) {
          return At("makes a parameter of what is no tensor");
        }
        stack_.push_back(items[0]);
        return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  // Attributes of a dict, like _metadata of a state_dict, are of no use here.
  absl::Status StepBuild() {
    QUIRE_RETURN_IF_ERROR(Pop().status());
    return Top(Kind::kDict).status();
  }

  // The numbers of a tuple.
  absl::Status TakeInts(Ref ref, std::vector<int64_t>& ints) const {
    const Value& tuple = values_[ref];
    if (tuple.kind != Kind::kTuple || tuple.items.size() > kDimsMax) {
      return At(
          fmt::format("has a tensor whose shape is no tuple of up to {} "
                      "numbers",
                      kDimsMax));
    }
    for (const Ref item : tuple.items) {
      if (values_[item].kind != Kind::kInt || values_[item].number < 0) {
        return At(
            "has a tensor with a dim or stride that is no number above 0");
      }
      ints.push_back(values_[item].number);
    }
    return absl::OkStatus();
  }

  // (storage, offset, size, stride, requires_grad, hooks[, metadata])
  absl::Status RebuildTensor(std::span<const Ref> arguments) {
    if (arguments.size() < 4 || values_[arguments[0]].kind != Kind::kStorage ||
        values_[arguments[1]].kind != Kind::kInt) {
      return At("makes a tensor of what is no storage and offset");
    }
    if (tensors_.size() == kPickleTensorsMax) {
      return At(fmt::format("has more than {} tensors", kPickleTensorsMax));
    }
    const Value& storage = values_[arguments[0]];
    const StorageEntry& type =
        kStorages[static_cast<size_t>(values_[storage.items[0]].number)];
    PickledTensor tensor = {.name = {},
                            .type = type.type,
                            .type_name = std::string(type.name),
                            .storage_key = std::string(storage.text),
                            .storage_elements = storage.number,
                            .offset = values_[arguments[1]].number,
                            .dims = {},
                            .strides = {}};
    QUIRE_RETURN_IF_ERROR(TakeInts(arguments[2], tensor.dims));
    QUIRE_RETURN_IF_ERROR(TakeInts(arguments[3], tensor.strides));
    if (tensor.dims.size() != tensor.strides.size()) {
      return At(fmt::format("has a tensor of {} dims and {} strides",
                            tensor.dims.size(), tensor.strides.size()));
    }
    if (!LiesWithin(tensor.dims, tensor.strides, tensor.offset,
                    tensor.storage_elements)) {
      return At(fmt::format(
          "has a tensor that does not fit its storage of {} elements; save "
          "expanded ones as tensor.contiguous()",
          tensor.storage_elements));
    }
    tensors_.push_back(std::move(tensor));
    return Push({.kind = Kind::kTensor,
                 .number = static_cast<int64_t>(tensors_.size() - 1)});
  }

  const std::string_view pickle_;
  size_t place_ = 0;
  size_t op_place_ = 0;
  bool stopped_ = false;
  std::vector<Value> values_;
  std::vector<Ref> stack_;
  // Heights of the stack.
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Ref> memo_;
  std::vector<PickledTensor> tensors_;
};

// Finds the tensors of a value, and names them.
class Namer {
 public:
  explicit Namer(Machine& machine) : machine_(machine) {}

  absl::Status Visit(Ref ref, std::string& name, size_t depth) {
    // A list may hold itself, or another one many times over.
    if (depth > kPickleDepthMax || ++visits_ > kPickleValuesMax) {
      return InputError(
          fmt::format("is nested deeper than {}, or larger than "
                      "{} values",
                      kPickleDepthMax, kPickleValuesMax));
    }
    const Value& value = machine_.value(ref);
    switch (value.kind) {
      case Kind::kTensor:
        if (tensors_.size() == machine_.tensors().size() + kFurtherNamesMax) {
          return InputError("keeps the same tensors in too many places");
        }
        tensors_.push_back(
            machine_.tensors()[static_cast<size_t>(value.number)]);
        tensors_.back().name = name.empty() ? "tensor" : name;
        return absl::OkStatus();
      case Kind::kDict:
        return VisitItems(value, 2, name, depth);
      case Kind::kList:
      case Kind::kTuple:
        return VisitItems(value, 1, name, depth);
      default:
        return absl::OkStatus();
    }
  }

  std::vector<PickledTensor>& tensors() { return tensors_; }

 private:
  // Items come in groups of `stride`, whose last is what is visited.
  absl::Status VisitItems(const Value& value, size_t stride, std::string& name,
                          size_t depth) {
    const size_t prefix = name.size();
    for (size_t i = 0; i < value.items.size(); i += stride) {
      if (prefix > 0) {
        name += '.';
      }
      if (stride == 2) {
        const Value& key = machine_.value(value.items[i]);
        name += key.kind == Kind::kString ? std::string(key.text)
                                          : std::to_string(key.number);
      } else {
        name += std::to_string(i);
      }
      if (name.size() > kNameBytesMax) {
        return InputError(
            fmt::format("has a name of more than {} bytes", kNameBytesMax));
      }
      QUIRE_RETURN_IF_ERROR(
          Visit(value.items[i + stride - 1], name, depth + 1));
      name.resize(prefix);
    }
    return absl::OkStatus();
  }

  Machine& machine_;
  size_t visits_ = 0;
  std::vector<PickledTensor> tensors_;
};

}  // namespace

absl::StatusOr<std::vector<PickledTensor>> ReadPickledTensors(
    std::string_view pickle) {
  if (pickle.size() > kPickleBytesMax) {
    return InputError(fmt::format("has {} bytes; at most {} are read",
                                  pickle.size(), kPickleBytesMax));
  }
  Machine machine(pickle);
  QUIRE_ASSIGN_OR_RETURN(const Ref result, machine.Run());
  Namer namer(machine);
  std::string name;
  QUIRE_RETURN_IF_ERROR(namer.Visit(result, name, 0));
  return std::move(namer.tensors());
}

}  // namespace quire::formats
