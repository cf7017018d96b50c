// Health and reflection, which are methods of the server like all others, by
// stock stubs.

#include <google/protobuf/descriptor.pb.h>

#include <thread>

#include "e2e/service_fixture.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"

namespace quire::testing {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using ::testing::Contains;

class HealthTest : public ServiceTest {
 protected:
  // A watch of one service, as its client sees it.
  struct Watch {
    Watch(Health::Stub& stub, const std::string& service) {
      HealthCheckRequest request;
      request.set_service(service);
      reader = stub.Watch(&context, request);
    }
    HealthCheckResponse::ServingStatus Next() {
      HealthCheckResponse response;
      EXPECT_TRUE(reader->Read(&response));
      return response.status();
    }

    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> reader;
  };

  std::unique_ptr<Health::Stub> Stub() { return Health::NewStub(channel_); }
};

TEST_F(HealthTest, AServiceThatIsNotHereIsNotFound) {
  ExpectRefused(
      [&] {
        grpc::ClientContext context;
        HealthCheckRequest request;
        request.set_service("quire.v1.Nothing");
        HealthCheckResponse response;
        return Stub()->Check(&context, request, &response);
      },
      {grpc::StatusCode::NOT_FOUND,
       "NO_SUCH_SERVICE",
       "service",
       {"quire.v1.Nothing"}});
}

TEST_F(HealthTest, ALongNameThatIsNotHereIsStillNotFound) {
  const auto check = [&](size_t name_bytes) {
    grpc::ClientContext context;
    HealthCheckRequest request;
    request.set_service(std::string(name_bytes, 'x'));
    HealthCheckResponse response;
    return Stub()->Check(&context, request, &response);
  };

  // An error that repeated the name would not fit its trailers.
  EXPECT_EQ(check(4000).error_code(), grpc::StatusCode::NOT_FOUND);
  // Much longer, it is no name.
  EXPECT_EQ(check(100'000).error_code(), kInvalid);
  EXPECT_EQ(DetailsOf(check(100'000)).reason, "TOO_LARGE");
}

TEST_F(HealthTest, WatchersAreToldAndLetGoWhenTheServerStops) {
  const auto stub = Stub();
  Watch server(*stub, "");
  Watch service(*stub, "quire.v1.TableService");
  Watch unknown(*stub, "quire.v1.Nothing");
  Watch silent(*stub, "");  // never reads
  EXPECT_EQ(server.Next(), HealthCheckResponse::SERVING);
  EXPECT_EQ(service.Next(), HealthCheckResponse::SERVING);
  EXPECT_EQ(unknown.Next(), HealthCheckResponse::SERVICE_UNKNOWN);

  std::jthread stopper(
      [&] { EXPECT_TRUE(server_->Stop(absl::Seconds(60)).ok()); });

  EXPECT_EQ(server.Next(), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(service.Next(), HealthCheckResponse::NOT_SERVING);
  HealthCheckResponse response;
  for (Watch* watch : {&server, &service, &unknown}) {
    EXPECT_FALSE(watch->reader->Read(&response));
    EXPECT_EQ(watch->reader->Finish().error_code(),
              grpc::StatusCode::UNAVAILABLE);
  }
}

TEST_F(HealthTest, AWatcherMayGoAtAnyTime) {
  const auto stub = Stub();
  for (int i = 0; i < 200; ++i) {
    Watch watch(*stub, "");
    if (i % 2 == 0) {
      EXPECT_EQ(watch.Next(), HealthCheckResponse::SERVING);
    }
    watch.context.TryCancel();
  }

  // Nobody is left to wait for.
  EXPECT_TRUE(server_->Stop(absl::Seconds(60)).ok());
}

// Both versions of the protocol are the same but for the name.
template <typename Protocol, typename Request, typename Response>
void ExpectDescribed(const std::shared_ptr<grpc::Channel>& channel) {
  const auto stub = Protocol::NewStub(channel);
  grpc::ClientContext context;
  const auto stream = stub->ServerReflectionInfo(&context);
  Response response;
  const auto ask = [&](const Request& request) {
    EXPECT_TRUE(stream->Write(request));
    EXPECT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.original_request().SerializeAsString(),
              request.SerializeAsString());
  };

  Request list;
  list.set_list_services("");
  ask(list);
  std::vector<std::string> names;
  for (const auto& service : response.list_services_response().service()) {
    names.push_back(service.name());
  }
  for (const char* name : {"quire.v1.EmbeddingService", "quire.v1.TableService",
                           "quire.v1.ServerService", "grpc.health.v1.Health"}) {
    EXPECT_THAT(names, Contains(name));
  }

  Request symbol;
  symbol.set_file_containing_symbol("quire.v1.LookupRequest");
  ask(symbol);
  // The file first, then what it imports.
  const auto& files = response.file_descriptor_response();
  ASSERT_GE(files.file_descriptor_proto_size(), 2);
  google::protobuf::FileDescriptorProto file;
  ASSERT_TRUE(file.ParseFromString(files.file_descriptor_proto(0)));
  EXPECT_EQ(file.name(), "quire/v1/embedding.proto");

  Request by_name;
  by_name.set_file_by_filename("quire/v1/table.proto");
  ask(by_name);
  ASSERT_TRUE(file.ParseFromString(
      response.file_descriptor_response().file_descriptor_proto(0)));
  EXPECT_EQ(file.package(), "quire.v1");

  Request unknown;
  unknown.set_file_containing_symbol("quire.v1.Nothing");
  ask(unknown);
  EXPECT_EQ(response.error_response().error_code(),
            grpc::StatusCode::NOT_FOUND);
  // A long name is echoed, as the protocol asks, and not repeated beside it.
  unknown.set_file_containing_symbol(std::string(10'000, 'x'));
  ask(unknown);
  EXPECT_EQ(response.error_response().error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_LT(response.ByteSizeLong(), 11'000u);
  ask(Request());
  EXPECT_EQ(response.error_response().error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);

  // Far over any name, it ends the stream.
  unknown.set_file_containing_symbol(std::string(100'000, 'x'));
  EXPECT_TRUE(stream->Write(unknown));
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(DetailsOf(stream->Finish()).reason, "TOO_LARGE");
}

using ReflectionTest = ServiceTest;

TEST_F(ReflectionTest, DescribesTheServicesInBothVersions) {
  namespace v1 = grpc::reflection::v1;
  namespace v1alpha = grpc::reflection::v1alpha;
  ExpectDescribed<v1::ServerReflection, v1::ServerReflectionRequest,
                  v1::ServerReflectionResponse>(channel_);
  ExpectDescribed<v1alpha::ServerReflection, v1alpha::ServerReflectionRequest,
                  v1alpha::ServerReflectionResponse>(channel_);
}

}  // namespace
}  // namespace quire::testing
