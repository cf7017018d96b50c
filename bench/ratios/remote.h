// What crosses the network: the server in a process of its own, beside raw TCP
// and beside an empty method, in processes of theirs.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/ratios/client_load.h"
#include "bench/ratios/pairs.h"
#include "bench/ratios/process.h"
#include "bench/ratios/tcp.h"
#include "client/client.h"

namespace quire::bench {

// Thread safety: one thread.
class Remote {
 public:
  // Starts the processes and makes the tables.
  //   self  this program; quire-server is beside it
  explicit Remote(const std::string& self);

  // W1 through our client, of raw TCP; each with the number in flight, of 1, 2
  // and 4, that suits it best. Also of TCP whose ends gather and copy the rows.
  // Prints page faults per request.
  std::vector<Measured> LookupsOfTcp(const PairPlan& plan);

  // W2, one and 64 in flight. lookup_w2: the server's method, of an empty raw
  // unary one, both called by the same bare client. client_w2: our client, of
  // the bare one, both calling our server.
  std::vector<Measured> LookupsOfEmptyMethod(const PairPlan& plan);

  // W4 through our client, of raw TCP: no id twice, and 10 % of them. Also of
  // TCP whose ends copy and apply the gradient.
  std::vector<Measured> PushesOfTcp(const PairPlan& plan);

  // Prints what a row of the W1 table takes of the server's memory.
  void ShowBytesPerRow();

 private:
  // A side that counts the server's and this process's page faults.
  using Loop = std::function<double(std::chrono::nanoseconds, int in_flight)>;
  std::vector<Measured> AgainstTcp(const Figure& figure, const Loop& ours,
                                   const Exchange& exchange,
                                   const PairPlan& plan);

  Process server_;
  Process tcp_;
  Process empty_;
  const std::unique_ptr<Client> client_;
};

}  // namespace quire::bench
