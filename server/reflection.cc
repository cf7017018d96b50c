#include "server/reflection.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>

#include "base/limits.h"
#include "base/status.h"
#include "server/errors.h"
#include "server/message.h"

namespace quire {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using Request = ReflectionService::Request;
using Response = ReflectionService::Response;

const DescriptorPool& Pool() { return *DescriptorPool::generated_pool(); }

void SetNotFound(const std::string& what, Response& response) {
  auto& error = *response.mutable_error_response();
  error.set_error_code(grpc::StatusCode::NOT_FOUND);
  error.set_error_message(fmt::format("{} is not known here", Shown(what)));
}

// The file and all that it imports, each once.
void AddFile(const FileDescriptor& file, std::set<const FileDescriptor*>& seen,
             Response& response) {
  if (!seen.insert(&file).second) {
    return;
  }
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  proto.SerializeToString(
      response.mutable_file_descriptor_response()->add_file_descriptor_proto());
  for (int i = 0; i < file.dependency_count(); ++i) {
    AddFile(*file.dependency(i), seen, response);
  }
}

void SetFile(const FileDescriptor* file, const std::string& asked,
             Response& response) {
  if (file == nullptr) {
    SetNotFound(asked, response);
    return;
  }
  std::set<const FileDescriptor*> seen;
  AddFile(*file, seen, response);
}

void SetExtension(const grpc::reflection::v1::ExtensionRequest& asked,
                  Response& response) {
  const Descriptor* type =
      Pool().FindMessageTypeByName(asked.containing_type());
  const FieldDescriptor* extension =
      type == nullptr
          ? nullptr
          : Pool().FindExtensionByNumber(type, asked.extension_number());
  SetFile(extension == nullptr ? nullptr : extension->file(),
          fmt::format("extension {} of {}", asked.extension_number(),
                      asked.containing_type()),
          response);
}

void SetExtensionNumbers(const std::string& type_name, Response& response) {
  const Descriptor* type = Pool().FindMessageTypeByName(type_name);
  if (type == nullptr) {
    SetNotFound(type_name, response);
    return;
  }
  auto& numbers = *response.mutable_all_extension_numbers_response();
  numbers.set_base_type_name(type_name);
  std::vector<const FieldDescriptor*> extensions;
  Pool().FindAllExtensions(type, &extensions);
  for (const FieldDescriptor* extension : extensions) {
    numbers.add_extension_number(extension->number());
  }
}

class ReflectionStream final : public StreamHandler {
 public:
  explicit ReflectionStream(const ReflectionService& service)
      : service_(service) {}

  absl::StatusOr<std::optional<Reply>> Take(
      const ReceivedMessage& message) override {
    Request request;
    QUIRE_RETURN_IF_ERROR(
        ParseInto(message, request, kProtocolRequestBytesMax));
    return std::optional<Reply>(
        Reply{.message = Serialize(service_.Answer(request))});
  }
  absl::StatusOr<std::optional<Reply>> TakeEnd() override {
    return std::optional<Reply>();
  }

 private:
  const ReflectionService& service_;
};

}  // namespace

Response ReflectionService::Answer(const Request& request) const {
  Response response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kListServices:
      response.mutable_list_services_response();
      for (const std::string& name : services_) {
        response.mutable_list_services_response()->add_service()->set_name(
            name);
      }
      break;
    case Request::kFileByFilename:
      SetFile(Pool().FindFileByName(request.file_by_filename()),
              request.file_by_filename(), response);
      break;
    case Request::kFileContainingSymbol:
      SetFile(Pool().FindFileContainingSymbol(request.file_containing_symbol()),
              request.file_containing_symbol(), response);
      break;
    case Request::kFileContainingExtension:
      SetExtension(request.file_containing_extension(), response);
      break;
    case Request::kAllExtensionNumbersOfType:
      SetExtensionNumbers(request.all_extension_numbers_of_type(), response);
      break;
    case Request::MESSAGE_REQUEST_NOT_SET:
      response.mutable_error_response()->set_error_code(
          grpc::StatusCode::INVALID_ARGUMENT);
      response.mutable_error_response()->set_error_message(
          "nothing is asked for");
      break;
  }
  return response;
}

std::unique_ptr<StreamHandler> ReflectionService::OpenStream() const {
  return std::make_unique<ReflectionStream>(*this);
}

}  // namespace quire
