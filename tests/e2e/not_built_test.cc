// Nothing is silently ignored: every field of every request, found by its
// descriptor, is on the list of what is built below, or is refused by name. A
// field that is added to the API and nowhere else fails here.

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <set>

#include "e2e/service_fixture.h"

namespace quire::testing {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// One field set in a request, or one value of an enum: "tables.ids.shape",
// "spec.kind=1".
struct Probe {
  std::vector<const FieldDescriptor*> path;
  std::optional<int> enum_value;
  std::string text;
};

void AddProbes(const Descriptor& descriptor, const Probe& parent,
               std::vector<Probe>& probes) {
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor* field = descriptor.field(i);
    Probe probe = parent;
    probe.path.push_back(field);
    probe.text += (probe.text.empty() ? "" : ".") + field->name();
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      for (int v = 1; v <= field->enum_type()->value_count(); ++v) {
        // The last one is no value of the enum.
        const int number = v < field->enum_type()->value_count()
                               ? field->enum_type()->value(v)->number()
                               : 99;
        Probe one = probe;
        one.enum_value = number;
        one.text += fmt::format("={}", number);
        probes.push_back(one);
      }
      continue;
    }
    probes.push_back(probe);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      AddProbes(*field->message_type(), probe, probes);
    }
  }
}

// A value that is not the default.
void SetField(const FieldDescriptor* field, std::optional<int> enum_value,
              Message& message) {
  const auto& reflection = *message.GetReflection();
  const bool repeated = field->is_repeated();
#define QUIRE_SET(Type, value)                             \
  repeated ? reflection.Add##Type(&message, field, value)  \
           : reflection.Set##Type(&message, field, value); \
  break
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      QUIRE_SET(Int32, 1);
    case FieldDescriptor::CPPTYPE_INT64:
      QUIRE_SET(Int64, 1);
    case FieldDescriptor::CPPTYPE_UINT32:
      QUIRE_SET(UInt32, 1);
    case FieldDescriptor::CPPTYPE_UINT64:
      QUIRE_SET(UInt64, 1);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      QUIRE_SET(Double, 0.5);
    case FieldDescriptor::CPPTYPE_FLOAT:
      QUIRE_SET(Float, 0.5f);
    case FieldDescriptor::CPPTYPE_BOOL:
      QUIRE_SET(Bool, true);
    case FieldDescriptor::CPPTYPE_STRING:
      QUIRE_SET(String, "x");
    case FieldDescriptor::CPPTYPE_ENUM:
      QUIRE_SET(EnumValue, *enum_value);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      repeated ? reflection.AddMessage(&message, field)
               : reflection.MutableMessage(&message, field);
      break;
  }
#undef QUIRE_SET
}

void Set(const Probe& probe, Message& request) {
  Message* at = &request;
  for (size_t i = 0; i + 1 < probe.path.size(); ++i) {
    const FieldDescriptor* field = probe.path[i];
    const auto& reflection = *at->GetReflection();
    if (!field->is_repeated()) {
      at = reflection.MutableMessage(at, field);
    } else if (reflection.FieldSize(*at, field) > 0) {
      at = reflection.MutableRepeatedMessage(at, field, 0);
    } else {
      at = reflection.AddMessage(at, field);
    }
  }
  // Bags are whole but for what is probed, so that it is what is answered.
  if (auto* bags = dynamic_cast<v1::Bags*>(at)) {
    bags->set_pooling(v1::Bags::POOLING_SUM);
    bags->add_offsets(0);
  }
  SetField(probe.path.back(), probe.enum_value, *at);
}

// "tables[0].bags" is in "tables.bags.weights".
bool Names(const std::string& field, const Probe& probe) {
  std::string plain;
  bool in_index = false;
  for (const char c : field) {
    in_index = c == '[' || (in_index && c != ']');
    if (!in_index && c != ']') {
      plain += c;
    }
  }
  const std::string path = probe.text.substr(0, probe.text.find('='));
  return !plain.empty() && (path + ".").starts_with(plain + ".");
}

const std::set<std::string> kRef = {"table", "table.name", "table.uid"};
const std::set<std::string> kIds = {"ids", "ids.shape", "ids.shape.dims",
                                    "ids.ids"};

std::set<std::string> TensorAt(const std::string& at) {
  return {at, at + ".shape", at + ".shape.dims", at + ".dtype=1",
          at + ".values"};
}

std::set<std::string> Union(std::vector<std::set<std::string>> sets) {
  std::set<std::string> all;
  for (std::set<std::string>& set : sets) {
    all.merge(set);
  }
  return all;
}

std::set<std::string> Under(const std::string& at,
                            const std::set<std::string>& names) {
  std::set<std::string> result = {at};
  for (const std::string& name : names) {
    result.insert(at + "." + name);
  }
  return result;
}

// Every field of every optimizer, and every value of its enums: all is built.
// tests/engine/optimizer_spec_test.cc fails if one is added that is not.
std::set<std::string> BuiltInOptimizer() {
  std::vector<Probe> probes;
  AddProbes(*v1::Optimizer::descriptor(), {}, probes);
  std::set<std::string> names;
  for (const Probe& probe : probes) {
    if (!probe.text.ends_with("=99")) {
      names.insert(probe.text);
    }
  }
  return names;
}

std::set<std::string> BuiltInSpec() {
  return Union({{"name",
                 "kind=1",
                 "num_embeddings",
                 "embedding_dim",
                 "storage_dtype=1",
                 "initializer",
                 "initializer.zeros",
                 "initializer.constant",
                 "initializer.constant.value",
                 "initializer.uniform",
                 "initializer.uniform.low",
                 "initializer.uniform.high",
                 "initializer.normal",
                 "initializer.normal.mean",
                 "initializer.normal.stddev",
                 "seed",
                 "padding_idx",
                 "max_norm",
                 "norm_type",
                 "scale_grad_by_freq",
                 "frozen",
                 "persistence=1",
                 "default_durability=1",
                 "shard_count",
                 "non_finite_policy=1",
                 "non_finite_policy=2",
                 "non_finite_policy=3",
                 "clip",
                 "clip.value",
                 "clip.row_norm",
                 "clip.push_norm"},
                Under("optimizer", BuiltInOptimizer())});
}

class NotBuiltTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    ASSERT_TRUE(Create("t", 10, 2).ok());
  }

  // Sends `base` with each of its fields set in turn: what `built` names is not
  // refused as missing, the rest is refused by its name.
  template <typename Request>
  void Probes(const std::string& method, const Request& base,
              const std::set<std::string>& built) {
    std::vector<Probe> probes;
    AddProbes(*Request::descriptor(), {}, probes);
    ASSERT_GT(probes.size(), 0u);
    std::set<std::string> unseen = built;
    for (const Probe& probe : probes) {
      SCOPED_TRACE(method + ": " + probe.text);
      Request request = base;
      Set(probe, request);
      const grpc::Status status =
          SendRaw("/quire.v1." + method, request.SerializeAsString());
      if (unseen.erase(probe.text) > 0) {
        EXPECT_TRUE(status.ok() || DetailsOf(status).reason != "NOT_BUILT")
            << status.error_message();
      } else {
        ExpectRefusedByName(status, probe);
      }
    }
    EXPECT_THAT(unseen, ::testing::IsEmpty()) << "no fields of " << method;
  }

  static void ExpectRefusedByName(const grpc::Status& status,
                                  const Probe& probe) {
    ASSERT_FALSE(status.ok()) << "silently ignored";
    const Details details = DetailsOf(status);
    EXPECT_THAT(details.reason, ::testing::AnyOf("NOT_BUILT", "BAD_VALUE",
                                                 "UNSUPPORTED_DURABILITY"))
        << status.error_message();
    EXPECT_TRUE(Names(details.field, probe)) << details.field;
  }

  template <typename Request>
  static Request OfTable() {
    Request request;
    request.mutable_table()->set_name("t");
    return request;
  }
};

TEST_F(NotBuiltTest, EveryFieldOfALookupIsBuiltOrRefusedByName) {
  v1::LookupRequest lookup;
  Add(lookup, "t", {1});
  std::set<std::string> built = Under(
      "tables",
      Union({kRef,
             kIds,
             {"output_dtype=1", "output_dtype=2", "output_dtype=3"},
             Under("bags", {"pooling=1", "pooling=2", "pooling=3", "pooling=4",
                            "return_winners", "offsets", "weights"})}));
  built.insert({"max_response_bytes", "min_position", "min_position.epoch",
                "min_position.lsn"});
  Probes("EmbeddingService/Lookup", lookup, built);
}

TEST_F(NotBuiltTest, EveryFieldOfAPushIsBuiltOrRefusedByName) {
  v1::ApplyGradientRequest push;
  SetGradient({1, 2}, {1, 2}, Add(push, "t", {1}));
  std::set<std::string> built = Under(
      "tables",
      Union({kRef,
             kIds,
             TensorAt("gradient"),
             // With values, which go with FLOAT32 only: refused, but not as
             // missing.
             {"gradient.dtype=2", "gradient.dtype=3", "gradient.packed"},
             {"learning_rate", "gradient_scale", "return_weight_gradients",
              "duplicates_summed"},
             Under("bags", {"pooling=1", "pooling=2", "pooling=3", "pooling=4",
                            "offsets", "weights", "winners"})}));
  built.insert({"min_durability=1", "push_id", "push_id.session_id",
                "push_id.sequence"});
  Probes("EmbeddingService/ApplyGradient", push, built);
}

TEST_F(NotBuiltTest, PackedElementsAreNotReadAsNoGradient) {
  v1::ApplyGradientRequest push;
  Add(push, "t", {1}).mutable_gradient()->set_packed("12345678");
  ExpectRefused(
      [&] { return Push(push); },
      {kInvalid, "BAD_VALUE", "tables[0].gradient.packed", {"values"}});
}

TEST_F(NotBuiltTest, EveryFieldOfASpecificationIsBuiltOrRefusedByName) {
  v1::CreateTableRequest create;
  *create.mutable_spec() = Spec("made", 4, 2);
  create.set_if_exists(v1::IF_EXISTS_VERIFY);
  std::set<std::string> built = Under("spec", BuiltInSpec());
  built.insert({"if_exists=1", "if_exists=2"});
  Probes("TableService/CreateTable", create, built);
}

TEST_F(NotBuiltTest, ASpecificationIsImportedAsItIsCreated) {
  int count = 0;
  for (const bool chunk : {false, true}) {
    std::vector<Probe> probes;
    Probe part;
    part.path = {v1::ImportTableRequest::descriptor()->FindFieldByName(
        chunk ? "chunk" : "header")};
    part.text = chunk ? "chunk" : "header";
    AddProbes(*part.path[0]->message_type(), part, probes);
    const std::set<std::string> built =
        chunk ? Under("chunk", Union({{"first_id", "labels"},
                                      TensorAt("state"),
                                      TensorAt("values")}))
              : Union({Under("header.spec", BuiltInSpec()), {"header.step"}});
    for (const Probe& probe : probes) {
      SCOPED_TRACE(probe.text);
      v1::ImportTableRequest header;
      *header.mutable_header()->mutable_spec() =
          Spec(fmt::format("made{}", ++count), 4, 2);
      v1::ImportTableRequest rows;
      rows.mutable_chunk()->mutable_values()->mutable_values()->Resize(8, 1);
      Set(probe, chunk ? rows : header);
      grpc::ClientContext context;
      v1::ImportTableResponse response;
      auto writer = tables_->ImportTable(&context, &response);
      writer->Write(header) && writer->Write(rows);
      writer->WritesDone();
      const grpc::Status status = writer->Finish();
      if (built.contains(probe.text)) {
        EXPECT_TRUE(status.ok() || DetailsOf(status).reason != "NOT_BUILT")
            << status.error_message();
      } else {
        ExpectRefusedByName(status, probe);
      }
    }
  }
}

TEST_F(NotBuiltTest, EveryFieldOfTheOtherRequestsIsBuiltOrRefusedByName) {
  Probes("TableService/GetTable", OfTable<v1::GetTableRequest>(), kRef);
  Probes("TableService/AlterTable", OfTable<v1::AlterTableRequest>(),
         Union({kRef, {"learning_rate", "frozen", "default_durability=1"}}));
  Probes("TableService/DropTable", v1::DropTableRequest(), kRef);
  Probes("TableService/VerifyTable", OfTable<v1::VerifyTableRequest>(), kRef);
  Probes("TableService/ReadRows", OfTable<v1::ReadRowsRequest>(),
         Union({kRef, kIds, {"values"}}));
  Probes("TableService/WriteRows", OfTable<v1::WriteRowsRequest>(),
         Union({kRef, kIds, TensorAt("values"), TensorAt("state")}));
  Probes("TableService/SetLabels", OfTable<v1::SetLabelsRequest>(),
         Union({kRef, kIds, {"labels"}}));
  Probes("TableService/GetLabels", OfTable<v1::GetLabelsRequest>(),
         Union({kRef, kIds}));
  Probes("TableService/FindLabels", OfTable<v1::FindLabelsRequest>(),
         Union({kRef, {"labels"}}));
  v1::NearestRequest nearest = OfTable<v1::NearestRequest>();
  nearest.set_k(1);
  Probes("EmbeddingService/Nearest", nearest,
         Union({kRef,
                TensorAt("vectors"),
                {"k", "metric=1", "metric=2", "metric=3", "return_labels",
                 "exclude_ids", "ids"}}));
}

// RULINGS 19: a field of a later version, in a specification at any depth.
TEST_F(NotBuiltTest, AnUnknownHyperparameterIsRefusedWithItsPlace) {
  const auto refused = [&](auto place, const std::string& field) {
    v1::TableSpec spec = Spec("made", 4, 2);
    Message& message = *place(spec);
    message.GetReflection()->MutableUnknownFields(&message)->AddVarint(77, 1);
    ExpectRefused([&] { return Create(spec); },
                  {kInvalid, "NOT_BUILT", field, {"77"}});
  };
  refused([](auto& spec) { return &spec; }, "spec");
  refused([](auto& spec) { return spec.mutable_optimizer(); },
          "spec.optimizer");
  refused(
      [](auto& spec) { return spec.mutable_optimizer()->mutable_adagrad(); },
      "spec.optimizer.adagrad");
  refused(
      [](auto& spec) { return spec.mutable_initializer()->mutable_uniform(); },
      "spec.initializer.uniform");
}

// On streams the refusal is in band, under the same name.
TEST_F(NotBuiltTest, OnAStreamItIsRefusedInBand) {
  grpc::ClientContext context;
  auto stream = rows_->LookupStream(&context);
  v1::LookupStreamRequest request;
  Add(*request.mutable_request(), "t", {1})
      .set_output_dtype(static_cast<v1::ElementType>(9));
  v1::LookupStreamResponse response;
  ASSERT_TRUE(stream->Write(request) && stream->Read(&response));
  EXPECT_EQ(DetailsOf(response.error()).reason, "NOT_BUILT");
  EXPECT_EQ(DetailsOf(response.error()).field, "tables[0].output_dtype");
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

}  // namespace
}  // namespace quire::testing
