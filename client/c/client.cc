#include "client/c/client.h"

#include <utility>

#include "absl/time/time.h"
#include "client/c/arguments.h"
#include "client/c/results.h"

using quire::c::CheckThere;
using quire::c::DeadlineIn;
using quire::c::Guard;
using quire::c::WriteJson;

const char* quire_version(void) { return QUIRE_VERSION; }

quire_error* quire_connect(const char* server, int64_t timeout_ms,
                           quire_client** client) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(server, "server"));
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    quire::ClientOptions options;
    options.server = server;
    if (timeout_ms >= 0) {
      options.timeout = absl::Milliseconds(timeout_ms);
    }
    QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<quire::Client> connected,
                           quire::Client::Connect(std::move(options)));
    *client = new quire_client{.client = std::move(connected)};
    return absl::OkStatus();
  });
}

void quire_client_free(quire_client* client) { delete client; }

quire_error* quire_server_info(quire_client* client, char** info) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(info, "info"));
    QUIRE_ASSIGN_OR_RETURN(*info, WriteJson(client->client->server_info()));
    return absl::OkStatus();
  });
}

quire_error* quire_get_stats(quire_client* client, int64_t timeout_ms,
                             char** stats) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(stats, "stats"));
    QUIRE_ASSIGN_OR_RETURN(const quire::v1::GetStatsResponse response,
                           client->client->GetStats({DeadlineIn(timeout_ms)}));
    QUIRE_ASSIGN_OR_RETURN(*stats, WriteJson(response));
    return absl::OkStatus();
  });
}

quire_error* quire_health(quire_client* client, int64_t timeout_ms) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    return client->client->Health({DeadlineIn(timeout_ms)});
  });
}

quire_error* quire_create_snapshot(quire_client* client, int64_t timeout_ms,
                                   quire_position* position) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(position, "position"));
    QUIRE_ASSIGN_OR_RETURN(
        const quire::v1::Position reached,
        client->client->CreateSnapshot({DeadlineIn(timeout_ms)}));
    *position = quire::c::PositionOf(reached);
    return absl::OkStatus();
  });
}

quire_error* quire_back_up(quire_client* client, const char* name,
                           int64_t timeout_ms, char** backup) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(name, "name"));
    QUIRE_RETURN_IF_ERROR(CheckThere(backup, "backup"));
    QUIRE_ASSIGN_OR_RETURN(
        const quire::v1::BackUpResponse response,
        client->client->BackUp(name, {DeadlineIn(timeout_ms)}));
    QUIRE_ASSIGN_OR_RETURN(*backup, WriteJson(response));
    return absl::OkStatus();
  });
}

quire_error* quire_verify_table(quire_client* client, const char* table,
                                int64_t timeout_ms, char** verified) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(table, "table"));
    QUIRE_RETURN_IF_ERROR(CheckThere(verified, "verified"));
    QUIRE_ASSIGN_OR_RETURN(
        const quire::v1::VerifyTableResponse response,
        client->client->VerifyTable(table, {DeadlineIn(timeout_ms)}));
    QUIRE_ASSIGN_OR_RETURN(*verified, WriteJson(response));
    return absl::OkStatus();
  });
}

quire_error* quire_advance_clock(quire_client* client, const char* request,
                                 int64_t timeout_ms, char** response) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(response, "response"));
    quire::v1::AdvanceClockRequest message;
    QUIRE_RETURN_IF_ERROR(quire::c::ReadJson(request, "request", message));
    QUIRE_ASSIGN_OR_RETURN(
        const quire::v1::AdvanceClockResponse advanced,
        client->client->AdvanceClock(message, {DeadlineIn(timeout_ms)}));
    QUIRE_ASSIGN_OR_RETURN(*response, WriteJson(advanced));
    return absl::OkStatus();
  });
}
