#include "client/formats/row_writer.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <string>

#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/npy_header.h"
#include "client/formats/numbers.h"

namespace quire::formats {
namespace {

static_assert(std::endian::native == std::endian::little,
              "files hold the bytes of memory");

class NpyWriter : public RowWriter {
 public:
  NpyWriter(const RowFileInfo& info, OutputFile& file)
      : info_(info), file_(file) {}

  absl::Status Begin() override {
    const auto dims = std::to_array({info_.row_count, info_.dim});
    return file_.Write(MakeNpyHeader(dims));
  }

  absl::Status Write(int64_t /*first_id*/, std::span<const float> values,
                     std::span<const std::string_view> /*labels*/) override {
    return file_.Write(
        {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
  }

 private:
  const RowFileInfo info_;
  OutputFile& file_;
};

// What the formats of text share: a line is what names the row, then its
// numbers.
class TextWriter : public RowWriter {
 public:
  absl::Status Begin() override { return file_.Write(FirstLine()); }

  absl::Status Write(int64_t first_id, std::span<const float> values,
                     std::span<const std::string_view> labels) override {
    const auto dim = static_cast<size_t>(info_.dim);
    lines_.clear();
    for (size_t row = 0; row * dim < values.size(); ++row) {
      QUIRE_RETURN_IF_ERROR(
          AppendName(first_id + static_cast<int64_t>(row),
                     labels.empty() ? std::string_view() : labels[row]));
      for (const float value : values.subspan(row * dim, dim)) {
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
    if (label.find_first_of("\r\n") != std::string_view::npos) {
      return InputError(fmt::format(
          "the label of row {} holds a line end, which {} cannot; export as "
          "csv or npy",
          id, RowFormatName(info().format)));
    }
    if (label.empty()) {
      fmt::format_to(std::back_inserter(lines()), "{}", id);
    } else {
      lines() += label;
    }
    return absl::OkStatus();
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

std::unique_ptr<RowWriter> MakeRowWriter(const RowFileInfo& info,
                                         OutputFile& file) {
  switch (info.format) {
    case RowFormat::kNpy:
      return std::make_unique<NpyWriter>(info, file);
    case RowFormat::kGlove:
    case RowFormat::kWord2vec:
      return std::make_unique<WordWriter>(info, file);
    case RowFormat::kCsv:
      return std::make_unique<CsvWriter>(info, file);
  }
  return nullptr;
}

}  // namespace quire::formats
