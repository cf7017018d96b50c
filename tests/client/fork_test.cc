// A client in a process that forks. gRPC supports that only where it is told
// to before it starts, and where no thread is inside it: the forking process is
// one of its own, and the server is in another.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <future>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "client/client.h"
#include "tests/client/session_server.h"

namespace quire {
namespace {

using ::testing::ElementsAre;

constexpr char kServerVariable[] = "QUIRE_FORK_TEST_SERVER";

// A push of row `id`, one of two ways.
absl::Status Push(Client& client, int64_t id, bool async) {
  const std::vector<int64_t> ids = {id};
  const std::vector<float> gradient = {1};
  const GradientItem item = {.table = "words",
                             .uid = {},
                             .ids = ids,
                             .gradient = gradient,
                             .learning_rate = {}};
  if (!async) {
    return client.ApplyGradient({&item, 1}).status();
  }
  std::promise<absl::Status> promise;
  client.ApplyGradientAsync({&item, 1}, {}, [&](const auto& pushed) {
    promise.set_value(pushed.status());
  });
  return promise.get_future().get();
}

// Runs `body` in a child: whether it returned true, within half a minute.
template <typename Body>
bool InChild(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);
    _exit(body() ? 0 : 1);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child &&
         WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// The forking process, started by the test below.
TEST(ForkTest, DISABLED_TheForkingProcess) {
  const char* const server = std::getenv(kServerVariable);
  ASSERT_NE(server, nullptr);
  auto connected =
      Client::Connect({.server = server, .timeout = absl::Seconds(20)});
  ASSERT_TRUE(connected.ok()) << connected.status();
  std::unique_ptr<Client> client = *std::move(connected);
  ASSERT_TRUE(Push(*client, 1, /*async=*/false).ok());
  ASSERT_TRUE(Push(*client, 2, /*async=*/true).ok());

  EXPECT_TRUE(InChild([&] {
    client.reset();  // unused: the parent's session stays
    return true;
  }));
  EXPECT_TRUE(Push(*client, 3, /*async=*/false).ok());
  EXPECT_TRUE(InChild([&] {
    const bool pushed = Push(*client, 11, /*async=*/false).ok() &&
                        Push(*client, 12, /*async=*/true).ok();
    client.reset();
    return pushed;
  }));
  EXPECT_TRUE(Push(*client, 4, /*async=*/true).ok());
}

// The exit code of this program, run with `arguments` and `environment` more.
int RunSelf(const std::vector<std::string>& arguments,
            std::vector<std::string> environment) {
  std::string self = "/proc/self/exe";
  std::vector<char*> argv = {self.data()};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (std::string& variable : environment) {
    envp.push_back(variable.data());
  }
  for (char** variable = environ; *variable != nullptr; ++variable) {
    envp.push_back(*variable);
  }
  envp.push_back(nullptr);
  pid_t child = 0;
  if (posix_spawn(&child, self.c_str(), nullptr, nullptr, argv.data(),
                  envp.data()) != 0) {
    return -1;
  }
  int status = 0;
  for (int i = 0; i < 9000; ++i) {
    if (waitpid(child, &status, WNOHANG) == child) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return -1;
}

TEST(ForkTest, AChildCountsInASessionOfItsOwnAndLeavesItsParentsOpen) {
  testing::SessionServer server;

  const int exit_code =
      RunSelf({"--gtest_also_run_disabled_tests",
               "--gtest_filter=ForkTest.DISABLED_TheForkingProcess"},
              {std::string(kServerVariable) + "=" + server.fake().address(),
               "GRPC_ENABLE_FORK_SUPPORT=1"});

  EXPECT_EQ(exit_code, 0);
  std::map<std::string, std::vector<uint64_t>> sequences;
  for (const auto& arrival : server.arrivals()) {
    sequences[arrival.session].push_back(arrival.sequence);
  }
  EXPECT_EQ(sequences.size(), 2u);
  EXPECT_THAT(sequences["session 00000001"], ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(sequences["session 00000002"], ElementsAre(1, 2));
  EXPECT_THAT(server.closed(),
              ElementsAre("session 00000002", "session 00000001"));
}

}  // namespace
}  // namespace quire
