// Embeddings as text: a word and its vector on each line.
//
//   glove     := row*
//   word2vec  := rows " " dim "\n" row*
//   row       := word (" " number){dim} " "? "\n"
//
// A word is all that is in front of the last `dim` fields, so that it may hold
// spaces, as some of GloVe 840B do, or look like a number. It is bytes: UTF-8
// or not, once or more than once. Lines may end with \r\n, fields may be
// separated by tabs or several spaces; blank lines at the end do not count.
//
// The first line is word2vec's header if it is two whole numbers. In GloVe's
// format the dim is taken from the first lines: for each of (at most) 100, the
// fields at its end that are numbers are counted, all but the first field,
// which belongs to the word; the dim is what most of these lines have and,
// where two are as frequent, what the earlier has. GloVe's rows are counted in
// a pass of its own.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "client/formats/row_reader.h"

namespace quire::formats {

absl::StatusOr<std::unique_ptr<RowReader>> OpenTextRows(
    std::unique_ptr<ByteSource> source, const RowReaderOptions& options);

// The numbers at the end of a line, all but the first field.
int64_t NumbersAtEnd(std::string_view line);

// The rule above for GloVe's first lines, of which each has so many numbers at
// its end; 0 if there is none.
int64_t InferDim(std::span<const int64_t> number_counts);

// word2vec's first line.
struct Word2vecHeader {
  int64_t row_count = 0;
  int64_t dim = 0;
};
std::optional<Word2vecHeader> ParseWord2vecHeader(std::string_view line);

// Splits a row into `word` and values.size() numbers, which must be finite.
// The error is one clause: what was found and what was needed.
absl::Status ParseRow(std::string_view line, std::span<float> values,
                      std::string_view& word);

}  // namespace quire::formats
