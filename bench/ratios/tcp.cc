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
#include <thread>

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

void Answer(int socket) {
  SendAtOnce(socket);
  Exchange exchange = {};
  if (Read(socket, reinterpret_cast<std::byte*>(&exchange), sizeof(exchange))) {
    std::vector<std::byte> request(exchange.request_bytes);
    const std::vector<std::byte> reply(exchange.reply_bytes);
    while (Read(socket, request.data(), request.size()) &&
           Write(socket, reply.data(), reply.size())) {
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
      reply_(exchange.reply_bytes) {
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
  if (!Write(socket_, request_.data(), request_.size())) {
    Die("the TCP ceiling's server has gone");
  }
}

void TcpClient::Receive() {
  if (!Read(socket_, reply_.data(), reply_.size())) {
    Die("the TCP ceiling's server has gone");
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
