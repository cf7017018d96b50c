#include "tests/client/session_server.h"

#include <fmt/format.h>

namespace quire::testing {

grpc::Status Unanswered() {
  return {grpc::StatusCode::UNAVAILABLE, "Socket closed"};
}

SessionServer::SessionServer() {
  fake_.info.add_features("sessions");
  fake_.on_open = [this](auto&, auto&, auto& response) {
    MutexLock lock(mutex_);
    const std::string id = fmt::format("session {:08}", ++opened_count_);
    sessions_[id];
    response.set_session_id(id);
    return grpc::Status::OK;
  };
  fake_.on_close = [this](auto&, auto& request, auto&) {
    MutexLock lock(mutex_);
    closed_.push_back(request.session_id());
    sessions_.erase(request.session_id());
    return grpc::Status::OK;
  };
  fake_.on_push = [this](auto& context, auto& request, auto& response) {
    return Answer(context, request, response);
  };
}

void SessionServer::ForgetSessions() {
  MutexLock lock(mutex_);
  sessions_.clear();
}

std::vector<SessionServer::Arrival> SessionServer::arrivals() {
  MutexLock lock(mutex_);
  return arrivals_;
}

std::map<int64_t, int> SessionServer::applied_count() {
  MutexLock lock(mutex_);
  return applied_count_;
}

std::vector<std::string> SessionServer::closed() {
  MutexLock lock(mutex_);
  return closed_;
}

grpc::Status SessionServer::Answer(grpc::ServerContext& context,
                                   const v1::ApplyGradientRequest& request,
                                   v1::ApplyGradientResponse& response) {
  int number = 0;
  {
    MutexLock lock(mutex_);
    arrivals_.push_back({request.push_id().session_id(),
                         request.push_id().sequence(),
                         request.SerializeAsString()});
    number = static_cast<int>(arrivals_.size());
  }
  if (lose_request) {
    if (auto lost = lose_request(context, number)) {
      return *lost;
    }
  }
  bool duplicate = false;
  {
    MutexLock lock(mutex_);
    if (auto status = Apply(request, duplicate); !status.ok()) {
      return status;
    }
  }
  if (lose_answer) {
    if (auto lost = lose_answer(context, number)) {
      return *lost;
    }
  }
  response.mutable_position()->set_epoch(3);
  response.mutable_position()->set_lsn(static_cast<uint64_t>(number));
  response.set_reached(v1::DURABILITY_WRITTEN);
  response.set_duplicate(duplicate);
  response.set_exactly_once(request.has_push_id());
  for (int i = 0; i < request.tables_size(); ++i) {
    response.add_tables()->set_table_uid(Text(UidOf(3)));
  }
  return grpc::Status::OK;
}

grpc::Status SessionServer::Apply(const v1::ApplyGradientRequest& request,
                                  bool& duplicate) {
  if (request.has_push_id()) {
    const auto session = sessions_.find(request.push_id().session_id());
    if (session == sessions_.end()) {
      return Refusal(Reason::kSessionExpired, "there is no such session");
    }
    std::map<uint64_t, std::string>& known = session->second;
    const uint64_t sequence = request.push_id().sequence();
    const std::string bytes = request.SerializeAsString();
    if (const auto found = known.find(sequence); found != known.end()) {
      duplicate = true;
      return found->second == bytes
                 ? grpc::Status::OK
                 : Refusal(Reason::kSequenceReused, "another push");
    }
    if (!known.empty() && sequence + kRemembered <= known.rbegin()->first) {
      return Refusal(Reason::kSequenceTooOld, "too old");
    }
    known[sequence] = bytes;
  }
  if (request.tables_size() > 0 && request.tables(0).ids().ids_size() > 0) {
    ++applied_count_[request.tables(0).ids().ids(0)];
  }
  return grpc::Status::OK;
}

}  // namespace quire::testing
