// The ceiling of everything that crosses the network: the same bytes over a
// plain TCP connection. Both ends have nothing else to do; or, to see what the
// rows alone cost, they do the plainest form of the same work.

#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "bench/ratios/workloads.h"

namespace quire::bench {

enum class Work : int64_t {
  kNone,
  // The server gathers kW1.ids rows, by the ids at the beginning of a request;
  // the client copies a reply, as into a tensor.
  kGather,
  // The client copies a gradient into a request, behind kW4.ids ids; the server
  // applies it.
  kApply,
};

// What goes one way and what comes back, in bytes.
struct Exchange {
  size_t request_bytes;
  size_t reply_bytes;
  Work work = Work::kNone;
};

// Listens on a free port of the loopback, says which in `port_file`, and
// answers requests until it is killed. The first thing that a client sends is
// its Exchange.
[[noreturn]] void ServeTcp(const std::string& port_file);

// One connection with several requests in flight.
class TcpClient {
 public:
  TcpClient(int port, const Exchange& exchange);
  ~TcpClient();
  TcpClient(const TcpClient&) = delete;
  TcpClient& operator=(const TcpClient&) = delete;

  // Exchanges per second.
  double Run(std::chrono::nanoseconds duration, int in_flight);

 private:
  void Send();
  void Receive();

  const Exchange exchange_;
  int socket_ = -1;
  std::vector<std::byte> request_;
  std::vector<std::byte> reply_;
  // For work: what the ids are, and the other end of copies.
  Batches batches_{kW1, 0};
  std::vector<std::byte> tensor_;
};

// "bbr": the kernel's congestion control for new connections.
std::string CongestionControl();

}  // namespace quire::bench
