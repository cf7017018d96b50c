#include "client/cli/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "absl/time/clock.h"
#include "base/status.h"
#include "client/formats/input_error.h"

namespace quire::cli {
namespace {

// A server on the way to its start is waited for so long.
constexpr absl::Duration kConnectPatience = absl::Seconds(5);

// Who presses Tab, or asks for a version, waits no longer.
constexpr absl::Duration kShortPatience = absl::Milliseconds(300);

constexpr std::string_view kDefaultPort = ":7847";

std::string WithPort(const std::string& server) {
  return server.find(':') == std::string::npos
             ? server + std::string(kDefaultPort)
             : server;
}

}  // namespace

absl::StatusOr<absl::Duration> ParseTimeout(std::string_view text) {
  absl::Duration timeout;
  double seconds = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, seconds);
  if (error == std::errc() && end == last) {
    timeout = absl::Seconds(seconds);
  } else if (!absl::ParseDuration({text.data(), text.size()}, &timeout)) {
    timeout = absl::ZeroDuration();
  }
  if (timeout <= absl::ZeroDuration()) {
    return formats::InputError(
        fmt::format("'{}' is no timeout; 30, 1.5s and 5m would be", text));
  }
  return timeout;
}

terminal::Screen Session::screen() const {
  return terminal::FindScreen(options_.color);
}

absl::StatusOr<Client*> Session::client() {
  if (client_ == nullptr) {
    QUIRE_RETURN_IF_ERROR(Connect(kConnectPatience));
  }
  return client_.get();
}

Client* Session::ClientIfAtHand() {
  if (client_ == nullptr && !Connect(kShortPatience).ok()) {
    return nullptr;
  }
  return client_.get();
}

absl::Status Session::Connect(absl::Duration patience) {
  ClientOptions options;
  options.server = WithPort(options_.server);
  options.timeout = options_.timeout.value_or(options.timeout);
  const absl::Time deadline = absl::Now() + std::min(patience, options.timeout);
  QUIRE_ASSIGN_OR_RETURN(
      client_, Client::Connect(std::move(options), {.deadline = deadline}));
  return absl::OkStatus();
}

CallOptions Session::StreamCall() const {
  if (!options_.timeout) {
    return {};
  }
  return {.deadline = absl::Now() + *options_.timeout};
}

absl::StatusOr<std::vector<int64_t>> Session::IdsOf(std::string_view table,
                                                    const Labels& labels) {
  QUIRE_ASSIGN_OR_RETURN(Client * server, client());
  QUIRE_ASSIGN_OR_RETURN(std::vector<int64_t> ids,
                         server->FindLabels(table, labels));
  const auto missing =
      std::ranges::find_if(ids, [](int64_t id) { return id < 0; });
  if (missing != ids.end()) {
    const auto index = static_cast<size_t>(missing - ids.begin());
    return Error(Reason::kNoSuchLabel,
                 fmt::format("table '{}' has no row with the label '{}'", table,
                             labels[index]));
  }
  return ids;
}

void Print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

absl::Status FlushOut() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return formats::InputError(
        fmt::format("cannot write standard output: {}", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace quire::cli
