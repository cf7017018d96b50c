#include "bench/ratios/tcp.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <span>
#include <thread>

#include "bench/ratios/plain_rows.h"
#include "bench/ratios/process.h"

namespace quire::bench {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

constexpr size_t kIdBytes = kW1.ids * sizeof(int64_t);

void SendAtOnce(int socket) {
  const int one = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

// All of it, or false: the other end has gone.
bool Write(int socket, const std::byte* data, size_t size) {
  while (size > 0) {
    const ssize_t written = send(socket, data, size, MSG_NOSIGNAL);
    if (written <= 0) {
      return false;
    }
    data += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

bool Read(int socket, std::byte* data, size_t size) {
  while (size > 0) {
    const ssize_t got = recv(socket, data, size, 0);
    if (got <= 0) {
      return false;
    }
    data += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

// One request after the other, until the client goes.
template <typename DoWork>
void AnswerEach(int socket, const Exchange& exchange, DoWork work) {
  std::vector<std::byte> request(exchange.request_bytes);
  std::vector<std::byte> reply(exchange.reply_bytes);
  do {
    if (!Read(socket, request.data(), request.size())) {
      return;
    }
    work(request, reply);
  } while (Write(socket, reply.data(), reply.size()));
}

std::span<const int64_t> IdsOf(const std::vector<std::byte>& request) {
  return {reinterpret_cast<const int64_t*>(request.data()), kW1.ids};
}

void Answer(int socket) {
  using Message = std::vector<std::byte>;
  SendAtOnce(socket);
  Exchange exchange = {};
  if (Read(socket, reinterpret_cast<std::byte*>(&exchange), sizeof(exchange))) {
    switch (exchange.work) {
      case Work::kNone:
        AnswerEach(socket, exchange, [](const Message&, Message&) {});
        break;
      case Work::kGather:
        AnswerEach(socket, exchange,
                   [rows = std::make_shared<PlainRows>()](
                       const Message& request, Message& reply) {
                     rows->Gather(IdsOf(request), reply.data());
                   });
        break;
      case Work::kApply:
        AnswerEach(socket, exchange,
                   [rows = std::make_shared<PlainRows>()](
                       const Message& request, Message&) {
                     rows->Apply(IdsOf(request), request.data() + kIdBytes);
                   });
        break;
    }
  }
  close(socket);
}

}  // namespace

void ServeTcp(const std::string& port_file) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener, 16) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) !=
          0) {
    Die(fmt::format("cannot listen: {}", std::strerror(errno)));
  }
  WritePort(port_file, ntohs(address.sin_port));
  while (true) {
    const int socket = accept(listener, nullptr, nullptr);
    if (socket >= 0) {
      std::thread(Answer, socket).detach();
    }
  }
}

TcpClient::TcpClient(int port, const Exchange& exchange)
    : exchange_(exchange),
      socket_(socket(AF_INET, SOCK_STREAM, 0)),
      request_(exchange.request_bytes),
      reply_(exchange.reply_bytes),
      tensor_(kW1.floats() * sizeof(float)) {
  const sockaddr_in address = Loopback(port);
  if (connect(socket_, reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) != 0) {
    Die(fmt::format("cannot connect: {}", std::strerror(errno)));
  }
  SendAtOnce(socket_);
  Write(socket_, reinterpret_cast<const std::byte*>(&exchange),
        sizeof(exchange));
}

TcpClient::~TcpClient() { close(socket_); }

void TcpClient::Send() {
  if (exchange_.work != Work::kNone) {
    std::memcpy(request_.data(), batches_.Next().data(), kIdBytes);
  }
  if (exchange_.work == Work::kApply) {
    std::memcpy(request_.data() + kIdBytes, tensor_.data(), tensor_.size());
  }
  if (!Write(socket_, request_.data(), request_.size())) {
    Die("the TCP ceiling's server has gone");
  }
}

void TcpClient::Receive() {
  if (!Read(socket_, reply_.data(), reply_.size())) {
    Die("the TCP ceiling's server has gone");
  }
  if (exchange_.work == Work::kGather) {
    std::memcpy(tensor_.data(), reply_.data(), tensor_.size());
  }
}

double TcpClient::Run(std::chrono::nanoseconds duration, int in_flight) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < in_flight; ++i) {
    Send();
  }
  double count = 0;
  while (Clock::now() - start < duration) {
    Receive();
    Send();
    ++count;
  }
  for (int i = 0; i < in_flight; ++i) {
    Receive();
    ++count;
  }
  return count / std::chrono::duration<double>(Clock::now() - start).count();
}

std::string CongestionControl() {
  std::ifstream file("/proc/sys/net/ipv4/tcp_congestion_control");
  std::string name;
  return file >> name ? name : "unknown";
}

}  // namespace quire::bench
