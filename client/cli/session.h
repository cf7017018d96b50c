// What a verb works with: the server, and the screen.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/terminal/screen.h"

namespace quire::cli {

// What every verb takes.
struct GlobalOptions {
  std::string server = "127.0.0.1:7847";
  // Of each call. Absent: 60 s, and no limit for imports and exports.
  std::optional<absl::Duration> timeout;
  terminal::ColorChoice color = terminal::ColorChoice::kAuto;
};

// "90", "1.5s", "5m": seconds, or a duration with its unit; more than 0.
absl::StatusOr<absl::Duration> ParseTimeout(std::string_view text);

// Thread safety: one thread at a time, but for the client.
class Session {
 public:
  // `options` outlives this, and may change until client() is called.
  explicit Session(const GlobalOptions& options) : options_(options) {}

  const GlobalOptions& options() const { return options_; }
  terminal::Screen screen() const;

  // The server, to which the first call connects.
  absl::StatusOr<Client*> client();

  // The same, if it answers at once; for what can do without.
  Client* ClientIfAtHand();

  // How an import or export is called.
  CallOptions StreamCall() const;

  // The ids of rows by their labels; NO_SUCH_LABEL names the first that there
  // is not.
  absl::StatusOr<std::vector<int64_t>> IdsOf(std::string_view table,
                                             const Labels& labels);

 private:
  absl::Status Connect(absl::Duration patience);

  const GlobalOptions& options_;
  std::unique_ptr<Client> client_;
};

// Writes a result to standard output. Errors are found by FlushOut.
void Print(std::string_view text);
absl::Status FlushOut();

}  // namespace quire::cli
