#include "client/cli/row_options.h"

#include <unistd.h>

#include <algorithm>

#include "base/status.h"
#include "client/formats/input_error.h"

namespace quire::cli {

using terminal::IdBatch;

void RowOptions::AddTo(CLI::App& verb) {
  verb.add_option("IDS", ids_,
                  "'[[2,3],[1,0]]', or 2 3 0..9 (both ends included), or "
                  "@FILE, X.npy, or - for standard input")
      ->type_name("");
  verb.add_option("-w,--word", words_, "a row by its label; may be repeated")
      ->type_name("LABEL")
      ->allow_extra_args(false);
  verb.add_option("--shape", shape_, "of the batch: 2,3; () is a scalar")
      ->type_name("SHAPE");
}

bool RowOptions::from_standard_input() const {
  return words_.empty() && (ids_.empty() || ids_.front() == "-");
}

absl::StatusOr<std::vector<IdBatch>> RowOptions::Read(const std::string& table,
                                                      Session& session) const {
  if (ids_.empty() && words_.empty() && isatty(STDIN_FILENO) == 1) {
    return formats::InputError(
        "which rows? Give ids, --word, a file, or ids on standard input");
  }
  std::optional<Shape> shape;
  if (shape_) {
    QUIRE_ASSIGN_OR_RETURN(shape, terminal::ParseShape(*shape_));
  }
  QUIRE_ASSIGN_OR_RETURN(std::vector<IdBatch> batches,
                         ReadFlat(table, session));
  if (shape) {
    for (IdBatch& batch : batches) {
      QUIRE_ASSIGN_OR_RETURN(batch,
                             terminal::Reshape(std::move(batch), *shape));
    }
  }
  return batches;
}

absl::StatusOr<std::vector<IdBatch>> RowOptions::ReadFlat(
    const std::string& table, Session& session) const {
  const std::vector<std::string> standard_input = {"-"};
  QUIRE_ASSIGN_OR_RETURN(
      std::vector<IdBatch> batches,
      terminal::ReadIds(from_standard_input() ? standard_input : ids_));
  if (words_.empty()) {
    return batches;
  }
  if (batches.size() != 1 || batches[0].shape.rank() != 1) {
    return formats::InputError(
        "--word goes with plain ids, not with a shaped batch");
  }
  std::vector<int64_t>& ids = batches[0].ids;
  QUIRE_ASSIGN_OR_RETURN(const std::vector<int64_t> found,
                         session.IdsOf(table, words_));
  ids.insert(ids.end(), found.begin(), found.end());
  batches[0].shape = Shape{static_cast<int64_t>(ids.size())};
  return batches;
}

}  // namespace quire::cli
