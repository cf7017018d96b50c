// Counts what is unusual about the labels of a file.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>

#include "client/formats/utf8.h"

namespace quire::formats {

// Labels are kept as they come: a word may come twice, or not be UTF-8. Who
// imports a file is told how often. Holds each label once. Thread safety: one
// thread at a time.
class LabelCensus {
 public:
  void Add(const std::string& label) {
    if (label.empty()) {
      return;
    }
    ++label_count_;
    not_utf8_count_ += IsUtf8(label) ? 0 : 1;
    if (!seen_.insert(label).second && duplicate_count_++ == 0) {
      first_duplicate_ = label;
    }
  }

  // Labels that are not empty.
  int64_t label_count() const { return label_count_; }
  // Those that had come before.
  int64_t duplicate_count() const { return duplicate_count_; }
  // Of these the first; empty if there is none.
  std::string_view first_duplicate() const { return first_duplicate_; }
  int64_t not_utf8_count() const { return not_utf8_count_; }

 private:
  std::unordered_set<std::string> seen_;
  std::string first_duplicate_;
  int64_t label_count_ = 0;
  int64_t duplicate_count_ = 0;
  int64_t not_utf8_count_ = 0;
};

}  // namespace quire::formats
