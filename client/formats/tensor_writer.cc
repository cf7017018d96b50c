#include "client/formats/tensor_writer.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "client/formats/npy_header.h"
#include "client/formats/pickle.h"
#include "client/formats/tensor_file.h"
#include "client/formats/zip_writer.h"

namespace quire::formats {
namespace {

static_assert(std::endian::native == std::endian::little,
              "files hold the bytes of memory");

// "torch" loads what is in a directory of any name.
constexpr std::string_view kTorchDirectory = "archive";

constexpr auto kStepDims = std::to_array<int64_t>({1});

template <typename T>
std::string_view BytesOf(std::span<const T> numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()};
}

struct Matrix {
  std::string name;
  std::array<int64_t, 2> dims;

  uint64_t bytes() const {
    return static_cast<uint64_t>(dims[0] * dims[1]) * sizeof(float);
  }
};

// What all have: the rows and each part of the state are a matrix of floats.
class MatricesWriter : public RowWriter {
 public:
  absl::Status Write(const RowSpan& rows) override {
    QUIRE_RETURN_IF_ERROR(Append(0, BytesOf(rows.values)));
    const auto state_floats = static_cast<size_t>(StateFloats(info_.state));
    const size_t row_count =
        rows.values.size() / static_cast<size_t>(info_.dim);
    size_t begin = 0;
    for (size_t part = 1; part < matrices_.size(); ++part) {
      const auto floats = static_cast<size_t>(matrices_[part].dims[1]);
      part_.clear();
      for (size_t row = 0; row < row_count; ++row) {
        const auto state =
            rows.state.subspan(row * state_floats + begin, floats);
        part_.insert(part_.end(), state.begin(), state.end());
      }
      QUIRE_RETURN_IF_ERROR(
          Append(part, BytesOf(std::span<const float>(part_))));
      begin += floats;
    }
    return absl::OkStatus();
  }

 protected:
  explicit MatricesWriter(const RowFileInfo& info) : info_(info) {
    matrices_.push_back(
        {.name = std::string(kWeightName), .dims = {info.row_count, info.dim}});
    for (const StatePart& part : info.state) {
      matrices_.push_back({.name = std::string(kStateNames) + part.name,
                           .dims = {info.row_count, part.floats}});
    }
  }

  // The bytes of the step, if there is one: of an int64 [1].
  std::optional<std::string_view> step() const {
    if (!info_.step) {
      return std::nullopt;
    }
    return BytesOf(std::span<const int64_t>(&*info_.step, 1));
  }

  // The next bytes of a matrix.
  virtual absl::Status Append(size_t matrix, std::string_view bytes) = 0;

  const RowFileInfo& info() const { return info_; }
  const std::vector<Matrix>& matrices() const { return matrices_; }

 private:
  const RowFileInfo info_;
  std::vector<Matrix> matrices_;
  std::vector<float> part_;
};

class NpzWriter : public MatricesWriter {
 public:
  NpzWriter(const RowFileInfo& info, OutputFile& file)
      : MatricesWriter(info), zip_(file) {}

  absl::Status Begin() override {
    for (const Matrix& matrix : matrices()) {
      const std::string header = MakeNpyHeader(matrix.dims);
      QUIRE_ASSIGN_OR_RETURN(
          const size_t member,
          zip_.Add(matrix.name + ".npy", header.size() + matrix.bytes()));
      QUIRE_RETURN_IF_ERROR(zip_.Append(member, header));
    }
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    if (step()) {
      QUIRE_RETURN_IF_ERROR(zip_.AddWhole(
          std::string(kStepName) + ".npy",
          MakeNpyHeader(kStepDims, NumberType::kInt64) + std::string(*step())));
    }
    return zip_.Finish();
  }

 private:
  absl::Status Append(size_t matrix, std::string_view bytes) override {
    return zip_.Append(matrix, bytes);
  }

  ZipWriter zip_;
};

// The numbers come first, the pickle that describes them behind them: the order
// of an archive's members is free.
class TorchWriter : public MatricesWriter {
 public:
  TorchWriter(const RowFileInfo& info, OutputFile& file)
      : MatricesWriter(info), zip_(file) {}

  absl::Status Begin() override {
    for (size_t i = 0; i < matrices().size(); ++i) {
      QUIRE_RETURN_IF_ERROR(
          zip_.Add(fmt::format("{}/data/{}", kTorchDirectory, i),
                   matrices()[i].bytes())
              .status());
    }
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    std::vector<TensorToPickle> tensors;
    for (size_t i = 0; i < matrices().size(); ++i) {
      const Matrix& matrix = matrices()[i];
      tensors.push_back({.name = matrix.name,
                         .storage_key = std::to_string(i),
                         .dims = {matrix.dims.begin(), matrix.dims.end()}});
    }
    if (step()) {
      const std::string key = std::to_string(tensors.size());
      tensors.push_back({.name = std::string(kStepName),
                         .storage_key = key,
                         .dims = {kStepDims.begin(), kStepDims.end()},
                         .is_float = false});
      QUIRE_RETURN_IF_ERROR(zip_.AddWhole(
          fmt::format("{}/data/{}", kTorchDirectory, key), *step()));
    }
    QUIRE_RETURN_IF_ERROR(zip_.AddWhole(
        fmt::format("{}/data.pkl", kTorchDirectory), PickleTensors(tensors)));
    QUIRE_RETURN_IF_ERROR(
        zip_.AddWhole(fmt::format("{}/byteorder", kTorchDirectory), "little"));
    QUIRE_RETURN_IF_ERROR(
        zip_.AddWhole(fmt::format("{}/version", kTorchDirectory), "3\n"));
    return zip_.Finish();
  }

 private:
  absl::Status Append(size_t matrix, std::string_view bytes) override {
    return zip_.Append(matrix, bytes);
  }

  ZipWriter zip_;
};

// Where the labels end goes in front of the numbers, as its own are the widest;
// their bytes, of which nobody knows yet how many there are, behind them. The
// header is written in the end if there are labels, into room that was left.
class SafetensorsWriter : public MatricesWriter {
 public:
  SafetensorsWriter(const RowFileInfo& info, OutputFile& file)
      : MatricesWriter(info), file_(file) {}

  absl::Status Begin() override {
    constexpr uint64_t kBytesUnknown = uint64_t{1} << 62;
    header_bytes_ = Header(kBytesUnknown).size();
    uint64_t offset = LengthBytes() + header_bytes_ + LabelEndsBytes();
    for (const Matrix& matrix : matrices()) {
      places_.push_back(offset);
      offset += matrix.bytes();
    }
    label_place_ = offset;
    return info().labelled ? absl::OkStatus() : WriteHeader();
  }

  absl::Status Write(const RowSpan& rows) override {
    QUIRE_RETURN_IF_ERROR(MatricesWriter::Write(rows));
    if (!info().labelled) {
      return absl::OkStatus();
    }
    text_.clear();
    ends_.clear();
    for (const std::string_view label : rows.labels) {
      text_ += label;
      ends_.push_back(static_cast<int64_t>(label_bytes_ + text_.size()));
    }
    const uint64_t ends_place =
        LengthBytes() + header_bytes_ +
        static_cast<uint64_t>(rows.first_id) * sizeof(int64_t);
    QUIRE_RETURN_IF_ERROR(
        file_.WriteAt(ends_place, BytesOf(std::span<const int64_t>(ends_))));
    QUIRE_RETURN_IF_ERROR(file_.WriteAt(label_place_ + label_bytes_, text_));
    label_bytes_ += text_.size();
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    return info().labelled ? WriteHeader() : absl::OkStatus();
  }

 private:
  static constexpr uint64_t LengthBytes() { return sizeof(uint64_t); }

  uint64_t LabelEndsBytes() const {
    return info().labelled
               ? static_cast<uint64_t>(info().row_count) * sizeof(int64_t)
               : 0;
  }

  absl::Status Append(size_t matrix, std::string_view bytes) override {
    QUIRE_RETURN_IF_ERROR(file_.WriteAt(places_[matrix], bytes));
    places_[matrix] += bytes.size();
    return absl::OkStatus();
  }

  // Padded with spaces, so that the data begins at a multiple of 8.
  std::string Header(uint64_t label_bytes) const {
    nlohmann::ordered_json header;
    nlohmann::ordered_json& metadata = header["__metadata__"];
    metadata["format"] = "pt";  // what readers of models want to see
    for (const auto& [key, value] : info().metadata) {
      metadata[key] = value;
    }
    uint64_t offset = 0;
    const auto add = [&](const std::string& name, std::string_view dtype,
                         const std::vector<uint64_t>& dims, uint64_t bytes) {
      header[name] = {{"dtype", dtype},
                      {"shape", dims},
                      {"data_offsets", {offset, offset + bytes}}};
      offset += bytes;
    };
    const auto rows = static_cast<uint64_t>(info().row_count);
    if (info().labelled) {
      add(std::string(kLabelEndsName), "I64", {rows}, LabelEndsBytes());
    }
    for (const Matrix& matrix : matrices()) {
      add(matrix.name, "F32", {rows, static_cast<uint64_t>(matrix.dims[1])},
          matrix.bytes());
    }
    if (info().labelled) {
      add(std::string(kLabelBytesName), "U8", {label_bytes}, label_bytes);
    }
    std::string text =
        header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    text.append((LengthBytes() - text.size() % LengthBytes()) % LengthBytes(),
                ' ');
    return text;
  }

  absl::Status WriteHeader() {
    std::string text = Header(label_bytes_);
    QUIRE_CHECK(text.size() <= header_bytes_, "room was left for the header");
    text.append(header_bytes_ - text.size(), ' ');
    const uint64_t length = text.size();
    return file_.WriteAt(
        0, std::string(BytesOf(std::span<const uint64_t>(&length, 1))) + text);
  }

  OutputFile& file_;
  size_t header_bytes_ = 0;
  // Where the next bytes of each matrix go.
  std::vector<uint64_t> places_;
  uint64_t label_place_ = 0;
  uint64_t label_bytes_ = 0;
  std::string text_;
  std::vector<int64_t> ends_;
};

}  // namespace

bool WritesSideBySide(const RowFileInfo& info) {
  return !info.state.empty() ||
         (info.labelled && info.format == RowFormat::kSafetensors);
}

std::unique_ptr<RowWriter> MakeTensorWriter(const RowFileInfo& info,
                                            OutputFile& file) {
  switch (info.format) {
    case RowFormat::kNpz:
      return std::make_unique<NpzWriter>(info, file);
    case RowFormat::kTorch:
      return std::make_unique<TorchWriter>(info, file);
    default:
      return std::make_unique<SafetensorsWriter>(info, file);
  }
}

}  // namespace quire::formats
