// What gRPC and protobuf have to say, as lines of the server's log.

#pragma once

namespace quire {

// Routes the log lines of both libraries to spdlog's default logger: errors as
// warnings, broken invariants as critical, the rest as debug. A line of code
// that speaks again within a minute is counted, not heard: clients can make
// gRPC speak at every request. What protobuf says of a client's bytes is
// dropped: the client gets an answer.
//
// Once, before any other thread starts.
void RouteLibraryLogs();

}  // namespace quire
