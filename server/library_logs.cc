#include "server/library_logs.h"

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/mutex.h"

namespace quire {
namespace {

constexpr std::chrono::minutes kQuiet{1};

// Which lines of code have spoken, and when.
//
// Thread safety: all functions may be called from any thread.
class Speakers {
 public:
  // Whether it may be heard; if so, `unheard` is how often it was not.
  bool MaySpeak(std::string_view file, int line, int64_t& unheard) {
    MutexLock lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    const auto [found, is_new] = speakers_.try_emplace({file, line});
    Speaker& speaker = found->second;
    if (!is_new && now - speaker.heard < kQuiet) {
      ++speaker.unheard;
      return false;
    }
    speaker.heard = now;
    unheard = std::exchange(speaker.unheard, 0);
    return true;
  }

 private:
  struct Speaker {
    std::chrono::steady_clock::time_point heard;
    int64_t unheard = 0;
  };

  Mutex mutex_;
  // By file, a literal of the library's, and line: as many as it has.
  std::map<std::pair<std::string_view, int>, Speaker> speakers_
      QUIRE_GUARDED_BY(mutex_);
};

void Say(spdlog::level::level_enum level, std::string_view library,
         std::string_view message, const char* file, int line) {
  if (!spdlog::should_log(level)) {
    return;
  }
  static auto& speakers = *new Speakers;  // lives as long as any thread
  int64_t unheard = 0;
  if (level < spdlog::level::critical &&
      !speakers.MaySpeak(file, line, unheard)) {
    return;
  }
  const std::string_view path = file;
  const size_t first = message.find_first_not_of(" \n");
  const size_t last = message.find_last_not_of(" \n.");
  std::string sentence(first > last ? ""
                                    : message.substr(first, last - first + 1));
  std::replace(sentence.begin(), sentence.end(), '\n', ' ');
  spdlog::log(level, "{}: {} ({}:{}){}", library, sentence,
              path.substr(path.rfind('/') + 1), line,
              unheard == 0 ? "" : fmt::format(", and {} times more", unheard));
}

void FromGrpc(gpr_log_func_args* args) {
  const std::string_view message = args->message;
  auto level = spdlog::level::debug;
  if (args->severity == GPR_LOG_SEVERITY_ERROR) {
    level = message.starts_with("assertion failed") ? spdlog::level::critical
                                                    : spdlog::level::warn;
  }
  Say(level, "gRPC", message, args->file, args->line);
}

void FromProtobuf(google::protobuf::LogLevel severity, const char* file,
                  int line, const std::string& message) {
  auto level = spdlog::level::debug;
  if (severity == google::protobuf::LOGLEVEL_FATAL) {
    level = spdlog::level::critical;
  } else if (severity == google::protobuf::LOGLEVEL_ERROR &&
             message.find("when parsing") == std::string::npos) {
    level = spdlog::level::warn;
  }
  Say(level, "protobuf", message, file, line);
}

}  // namespace

void RouteLibraryLogs() {
  gpr_set_log_function(&FromGrpc);
  google::protobuf::SetLogHandler(&FromProtobuf);
}

}  // namespace quire
