#include "client/terminal/tensor_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"

namespace quire::terminal {
namespace {

// torch.set_printoptions
constexpr size_t kLineColumns = 80;
constexpr int64_t kEdgeItems = 3;
constexpr int kPrecision = 4;

constexpr int64_t kVectorWholeMax = 16;
constexpr int64_t kNumbersShownMax = 1000;

constexpr std::string_view kPrefix = "tensor(";

// torch/_tensor_str.py, class _Formatter: all numbers in one form and width.
class NumberForm {
 public:
  explicit NumberForm(std::span<const float> shown) {
    float largest = 0;
    for (const float value : shown) {
      if (std::isfinite(value) && value != 0) {
        largest = std::max(largest, std::fabs(value));
        is_whole_ = is_whole_ && value == std::ceil(value);
      }
    }
    is_scientific_ = largest >= 1e8f || (largest > 0 && largest < 1e-3f);
    for (const float value : shown) {
      width_ = std::max(width_, Format(value).size());
    }
  }

  size_t width() const { return width_; }

  std::string Format(float value) const {
    if (is_scientific_) {
      return fmt::format("{:{}.{}e}", value, width_, kPrecision);
    }
    if (is_whole_) {
      return fmt::format(
          "{:>{}}",
          fmt::format("{:.0f}{}", value, std::isfinite(value) ? "." : ""),
          width_);
    }
    return fmt::format("{:{}.{}f}", value, width_, kPrecision);
  }

 private:
  bool is_whole_ = true;
  bool is_scientific_ = false;
  size_t width_ = 0;
};

// Which indices of each dim are shown.
class Cut {
 public:
  Cut(const Shape& shape, bool full) : shape_(shape) {
    if (full || shape.rank() == 0) {
      return;
    }
    cuts_vectors_ = shape.dim(shape.rank() - 1) > kVectorWholeMax;
    cuts_others_ = ShownCount() > kNumbersShownMax;
    cuts_vectors_ = cuts_vectors_ || cuts_others_;
  }

  bool IsCut(int dim) const {
    const bool is_vector = dim == shape_.rank() - 1;
    return (is_vector ? cuts_vectors_ : cuts_others_) &&
           shape_.dim(dim) > 2 * kEdgeItems;
  }

  // Calls f(index) for each that is shown, and gap() where others are left
  // out.
  template <typename F, typename G>
  void ForEach(int dim, F f, G gap) const {
    const int64_t size = shape_.dim(dim);
    const bool cut = IsCut(dim);
    for (int64_t i = 0; i < size; ++i) {
      if (cut && i == kEdgeItems) {
        gap();
        i = size - kEdgeItems;
      }
      f(i);
    }
  }

 private:
  int64_t ShownCount() const {
    int64_t count = 1;
    for (int dim = 0; dim < shape_.rank(); ++dim) {
      count *= IsCut(dim) ? 2 * kEdgeItems : shape_.dim(dim);
    }
    return count;
  }

  const Shape& shape_;
  bool cuts_vectors_ = false;
  bool cuts_others_ = false;
};

class TensorPrinter {
 public:
  TensorPrinter(const Shape& shape, std::span<const float> values, bool full)
      : shape_(shape), values_(values), cut_(shape, full), form_(Shown()) {}

  std::string Print() const {
    std::string text(kPrefix);
    if (values_.empty()) {
      // A shape with a dim of 0 cannot be seen from the brackets.
      text += "[]";
      text +=
          shape_.rank() == 1 ? "" : fmt::format(", size={}", shape_.ToString());
    } else if (shape_.rank() == 0) {
      text += form_.Format(values_[0]);
    } else {
      text += Print(0, 0, kPrefix.size());
    }
    return text + ")";
  }

 private:
  // The numbers that decide the form.
  std::vector<float> Shown() const {
    std::vector<float> shown;
    if (!values_.empty()) {
      Collect(0, 0, shown);
    }
    return shown;
  }

  void Collect(int dim, int64_t offset, std::vector<float>& shown) const {
    if (dim == shape_.rank()) {
      shown.push_back(values_[static_cast<size_t>(offset)]);
      return;
    }
    cut_.ForEach(
        dim,
        [&](int64_t i) {
          Collect(dim + 1, offset * shape_.dim(dim) + i, shown);
        },
        [] {});
  }

  // `offset`: of this part, counted in parts.
  std::string Print(int dim, int64_t offset, size_t indent) const {
    if (dim == shape_.rank() - 1) {
      return PrintVector(offset * shape_.dim(dim), indent);
    }
    const std::string separator =
        "," + std::string(static_cast<size_t>(shape_.rank() - dim - 1), '\n') +
        std::string(indent + 1, ' ');
    std::string text = "[";
    bool first = true;
    const auto add = [&](std::string_view part) {
      text += first ? "" : separator;
      text += part;
      first = false;
    };
    cut_.ForEach(
        dim,
        [&](int64_t i) {
          add(Print(dim + 1, offset * shape_.dim(dim) + i, indent + 1));
        },
        [&] { add("..."); });
    return text + "]";
  }

  std::string PrintVector(int64_t begin, size_t indent) const {
    const size_t per_line =
        std::max<size_t>(1, (kLineColumns - indent) / (form_.width() + 2));
    std::string text = "[";
    size_t count = 0;
    const auto add = [&](std::string_view item) {
      if (count > 0) {
        text += count % per_line == 0 ? ",\n" + std::string(indent + 1, ' ')
                                      : std::string(", ");
      }
      text += item;
      ++count;
    };
    cut_.ForEach(
        shape_.rank() - 1,
        [&](int64_t i) {
          add(form_.Format(values_[static_cast<size_t>(begin + i)]));
        },
        [&] { add(" ..."); });
    return text + "]";
  }

  const Shape& shape_;
  const std::span<const float> values_;
  const Cut cut_;
  const NumberForm form_;
};

}  // namespace

std::string TensorText(const Shape& shape, std::span<const float> values,
                       bool full) {
  QUIRE_CHECK(shape.element_count() == static_cast<int64_t>(values.size()),
              "a value for each element");
  return TensorPrinter(shape, values, full).Print();
}

}  // namespace quire::terminal
