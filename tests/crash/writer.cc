#include "crash/writer.h"

#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include "crash/connection.h"

namespace quire::crash {

using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {

// One push in so many is the last of its process.
constexpr uint64_t kPushesOfProcess = 300;

}  // namespace

Writer::Writer(WriterOptions options, Gate& gate, Ledger& ledger)
    : options_(std::move(options)),
      gate_(gate),
      ledger_(ledger),
      random_(options_.seed) {}

void Writer::Run() {
  for (std::string address = gate_.Enter(); !address.empty();
       gate_.Leave(), address = gate_.Enter()) {
    ConnectTo(address);
    WriteOn();
    std::this_thread::sleep_for(milliseconds(1));
  }
}

void Writer::ConnectTo(const std::string& address) {
  if (address != address_) {
    stub_ = v1::EmbeddingService::NewStub(Connect(address));
    process_.reset();
    address_ = address;
  }
}

bool Writer::OpenSession() {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::OpenSessionResponse response;
  if (!stub_->OpenSession(&context, {}, &response).ok()) {
    return false;
  }
  session_ = response.session_id();
  sequence_ = 0;
  return true;
}

void Writer::WriteOn() {
  while (gate_.is_open()) {
    if (session_.empty() && !OpenSession()) {
      return;
    }
    if (push_ == nullptr && !Begin()) {
      std::this_thread::sleep_for(milliseconds(10));
      return;
    }
    if (!TryPush()) {
      return;
    }
  }
}

bool Writer::Begin() {
  push_ = ledger_.Begin(random_);
  if (push_ == nullptr) {
    return false;
  }
  request_.Clear();
  request_.mutable_push_id()->set_session_id(session_);
  request_.mutable_push_id()->set_sequence(++sequence_);
  request_.set_min_durability(random_() % 4 == 0 ? v1::DURABILITY_SYNCED
                                                 : v1::DURABILITY_WRITTEN);
  v1::TableGradient& table = *request_.add_tables();
  table.mutable_table()->set_name(options_.table);
  table.mutable_ids()->mutable_ids()->Add(push_->ids.begin(), push_->ids.end());
  v1::Shape& shape = *table.mutable_gradient()->mutable_shape();
  shape.add_dims(static_cast<int32_t>(push_->ids.size()));
  shape.add_dims(kDim);
  for (size_t i = 0; i < push_->ids.size() * kDim; ++i) {
    table.mutable_gradient()->add_values(-1.0f);
  }
  return true;
}

bool Writer::TryPush() {
  const std::optional<PushAnswer> answer =
      options_.is_process ? PushThroughProcess() : Push();
  if (answer.has_value()) {
    return Judge(*answer);
  }
  // Its sender is dead.
  if (random_() % 2 == 0) {
    push_->is_given_up = true;
    push_ = nullptr;
    session_.clear();
  }
  return true;
}

std::optional<PushAnswer> Writer::Push() {
  grpc::ClientContext context;
  SetDeadline(context);
  PushAnswer answer;
  answer.status = stub_->ApplyGradient(&context, request_, &answer.response);
  return answer;
}

std::optional<PushAnswer> Writer::PushThroughProcess() {
  try {
    return TryProcess();
  } catch (const std::exception& error) {
    ledger_.Violate(&Violations::others, error.what());
    process_.reset();
    return std::nullopt;
  }
}

std::optional<PushAnswer> Writer::TryProcess() {
  if (process_ == nullptr) {
    process_ = std::make_unique<ClientProcess>(address_);
  }
  process_->Send(request_);
  const bool is_killed = random_() % kPushesOfProcess == 0;
  if (is_killed) {
    std::this_thread::sleep_for(microseconds(random_() % 2000));
    process_->Kill();
    ++clients_killed_;
  }
  std::optional<PushAnswer> answer = process_->Receive();
  if (!is_killed && !answer.has_value()) {
    ledger_.Violate(&Violations::others, "a client has ended by itself");
  }
  if (is_killed || !answer.has_value()) {
    process_.reset();
  }
  return answer;
}

bool Writer::Judge(const PushAnswer& answer) {
  const grpc::Status& status = answer.status;
  if (status.ok()) {
    if (!answer.response.exactly_once()) {
      ledger_.Violate(&Violations::others, "an answer without exactly_once");
    }
    if (push_->was_applied && !answer.response.duplicate()) {
      ledger_.Violate(&Violations::doubled,
                      fmt::format("push {} was there, and its repeat is no "
                                  "duplicate",
                                  push_->ids[0]));
    }
    if (request_.min_durability() > answer.response.reached()) {
      ledger_.Violate(&Violations::others, "less durable than it had to be");
    }
    ledger_.Acknowledge(*push_);
    push_ = nullptr;
    return true;
  }
  // Anything else would be a verdict, of which there is none to give.
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE &&
      status.error_code() != grpc::StatusCode::CANCELLED) {
    ledger_.Violate(&Violations::others,
                    fmt::format("push {} was refused: {}", push_->ids[0],
                                status.error_message()));
  }
  return false;
}

}  // namespace quire::crash
