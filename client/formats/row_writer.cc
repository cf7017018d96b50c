#include "client/formats/row_writer.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <string>

#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/npy_header.h"
#include "client/formats/numbers.h"
#include "client/formats/tensor_writer.h"

namespace quire::formats {
namespace {

static_assert(std::endian::native == std::endian::little,
              "files hold the bytes of memory");

template <typename T>
std::string_view BytesOf(std::span<const T> numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()};
}

class NpyWriter : public RowWriter {
 public:
  NpyWriter(const RowFileInfo& info, OutputFile& file)
      : info_(info), file_(file) {}

  absl::Status Begin() override {
    const auto dims = std::to_array({info_.row_count, info_.dim});
    return file_.Write(MakeNpyHeader(dims));
  }

  absl::Status Write(const RowSpan& rows) override {
    return file_.Write(BytesOf(rows.values));
  }

 private:
  const RowFileInfo info_;
  OutputFile& file_;
};

class FvecsWriter : public RowWriter {
 public:
  FvecsWriter(const RowFileInfo& info, OutputFile& file)
      : dim_(static_cast<int32_t>(info.dim)), file_(file) {}

  absl::Status Begin() override { return absl::OkStatus(); }

  absl::Status Write(const RowSpan& rows) override {
    const auto dim = static_cast<size_t>(dim_);
    packed_.clear();
    for (size_t begin = 0; begin < rows.values.size(); begin += dim) {
      packed_ += BytesOf(std::span<const int32_t>(&dim_, 1));
      packed_ += BytesOf(rows.values.subspan(begin, dim));
    }
    return file_.Write(packed_);
  }

 private:
  const int32_t dim_;
  OutputFile& file_;
  std::string packed_;
};

// The label of a row as a word, or its id.
absl::Status AppendWord(const RowFileInfo& info, int64_t id,
                        std::string_view label, std::string& out) {
  const bool is_binary = info.format == RowFormat::kWord2vecBinary;
  if (label.find_first_of(is_binary ? " \r\n" : "\r\n") !=
      std::string_view::npos) {
    return InputError(fmt::format(
        "the label of row {} holds a {}, which {} cannot; export as "
        "safetensors or csv",
        id, is_binary ? "space or a line end" : "line end",
        RowFormatName(info.format)));
  }
  if (label.empty()) {
    fmt::format_to(std::back_inserter(out), "{}", id);
  } else {
    out += label;
  }
  return absl::OkStatus();
}

class BinaryWordWriter : public RowWriter {
 public:
  BinaryWordWriter(const RowFileInfo& info, OutputFile& file)
      : info_(info), file_(file) {}

  absl::Status Begin() override {
    return file_.Write(fmt::format("{} {}\n", info_.row_count, info_.dim));
  }

  absl::Status Write(const RowSpan& rows) override {
    const auto dim = static_cast<size_t>(info_.dim);
    packed_.clear();
    for (size_t row = 0; row * dim < rows.values.size(); ++row) {
      QUIRE_RETURN_IF_ERROR(AppendWord(
          info_, rows.first_id + static_cast<int64_t>(row),
          rows.labels.empty() ? std::string_view() : rows.labels[row],
          packed_));
      packed_ += ' ';
      packed_ += BytesOf(rows.values.subspan(row * dim, dim));
      packed_ += '\n';
    }
    return file_.Write(packed_);
  }

 private:
  const RowFileInfo info_;
  OutputFile& file_;
  std::string packed_;
};

// What the formats of text share: a line is what names the row, then its
// numbers.
class TextWriter : public RowWriter {
 public:
  absl::Status Begin() override { return file_.Write(FirstLine()); }

  absl::Status Write(const RowSpan& rows) override {
    const auto dim = static_cast<size_t>(info_.dim);
    lines_.clear();
    for (size_t row = 0; row * dim < rows.values.size(); ++row) {
      QUIRE_RETURN_IF_ERROR(AppendName(
          rows.first_id + static_cast<int64_t>(row),
          rows.labels.empty() ? std::string_view() : rows.labels[row]));
      for (const float value : rows.values.subspan(row * dim, dim)) {
        lines_ += separator_;
        AppendFloat(value, lines_);
      }
      lines_ += '\n';
    }
    return file_.Write(lines_);
  }

 protected:
  TextWriter(const RowFileInfo& info, OutputFile& file, char separator)
      : info_(info), file_(file), separator_(separator) {}

  virtual std::string FirstLine() const = 0;
  // Appends what precedes the numbers of a row to lines().
  virtual absl::Status AppendName(int64_t id, std::string_view label) = 0;

  const RowFileInfo& info() const { return info_; }
  std::string& lines() { return lines_; }

 private:
  const RowFileInfo info_;
  OutputFile& file_;
  const char separator_;
  std::string lines_;
};

class WordWriter : public TextWriter {
 public:
  WordWriter(const RowFileInfo& info, OutputFile& file)
      : TextWriter(info, file, ' ') {}

 private:
  std::string FirstLine() const override {
    return info().format == RowFormat::kWord2vec
               ? fmt::format("{} {}\n", info().row_count, info().dim)
               : "";
  }

  absl::Status AppendName(int64_t id, std::string_view label) override {
    return AppendWord(info(), id, label, lines());
  }
};

class CsvWriter : public TextWriter {
 public:
  CsvWriter(const RowFileInfo& info, OutputFile& file)
      : TextWriter(info, file, ',') {}

 private:
  std::string FirstLine() const override {
    std::string line = info().labelled ? "id,label" : "id";
    for (int64_t i = 0; i < info().dim; ++i) {
      fmt::format_to(std::back_inserter(line), ",{}", i);
    }
    return line + '\n';
  }

  absl::Status AppendName(int64_t id, std::string_view label) override {
    fmt::format_to(std::back_inserter(lines()), "{}", id);
    if (info().labelled) {
      lines() += ',';
      AppendCsvField(label, lines());
    }
    return absl::OkStatus();
  }
};

}  // namespace

void AppendCsvField(std::string_view field, std::string& out) {
  if (field.find_first_of(",\"\r\n") == std::string_view::npos) {
    out += field;
    return;
  }
  out += '"';
  for (const char c : field) {
    out.append(c == '"' ? 2 : 1, c);
  }
  out += '"';
}

bool HasRoomForState(RowFormat format) {
  return format == RowFormat::kSafetensors || format == RowFormat::kNpz ||
         format == RowFormat::kTorch;
}

bool HasRoomForLabels(RowFormat format) {
  return format != RowFormat::kNpy && format != RowFormat::kNpz &&
         format != RowFormat::kTorch && format != RowFormat::kFvecs;
}

OutputFile::Order OrderOf(const RowFileInfo& info) {
  return HasRoomForState(info.format) && WritesSideBySide(info)
             ? OutputFile::Order::kAny
             : OutputFile::Order::kForward;
}

std::unique_ptr<RowWriter> MakeRowWriter(const RowFileInfo& info,
                                         OutputFile& file) {
  switch (info.format) {
    case RowFormat::kSafetensors:
    case RowFormat::kNpz:
    case RowFormat::kTorch:
      return MakeTensorWriter(info, file);
    case RowFormat::kNpy:
      return std::make_unique<NpyWriter>(info, file);
    case RowFormat::kGlove:
    case RowFormat::kWord2vec:
      return std::make_unique<WordWriter>(info, file);
    case RowFormat::kWord2vecBinary:
      return std::make_unique<BinaryWordWriter>(info, file);
    case RowFormat::kFvecs:
      return std::make_unique<FvecsWriter>(info, file);
    case RowFormat::kCsv:
      return std::make_unique<CsvWriter>(info, file);
  }
  return nullptr;
}

}  // namespace quire::formats
