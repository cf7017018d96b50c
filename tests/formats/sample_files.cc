#include "tests/formats/sample_files.h"

#include <zlib.h>

#include "client/formats/npy_header.h"

namespace quire::formats::testing {
namespace {

template <typename... Numbers>
void AppendAll(std::string& out, Numbers... numbers) {
  (AppendNumber(numbers, out), ...);
}

uint32_t CrcOf(std::string_view bytes) {
  return static_cast<uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(bytes.data()),
            static_cast<uInt>(bytes.size())));
}

}  // namespace

std::string Deflate(std::string_view bytes) {
  z_stream stream = {};
  deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8,
               Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, static_cast<uLong>(bytes.size())),
                  '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string MakeZip(const std::vector<SampleMember>& members, bool is_64) {
  constexpr uint32_t kIn64 = 0xffffffff;
  std::string out;
  std::string directory;
  for (const SampleMember& member : members) {
    const std::string packed =
        member.is_deflated ? Deflate(member.bytes) : member.bytes;
    const uint16_t method = member.is_deflated ? 8 : 0;
    const uint32_t crc = CrcOf(member.bytes);
    const auto packed_size = static_cast<uint32_t>(packed.size());
    const auto size = static_cast<uint32_t>(member.bytes.size());
    const auto name_size = static_cast<uint16_t>(member.name.size());
    const auto place = static_cast<uint32_t>(out.size());
    AppendAll(out, uint32_t{0x04034b50}, uint16_t{20}, uint16_t{0}, method,
              uint32_t{0}, crc, packed_size, size, name_size, uint16_t{0});
    out += member.name + packed;

    AppendAll(directory, uint32_t{0x02014b50}, uint16_t{20}, uint16_t{20},
              uint16_t{0}, method, uint32_t{0}, crc,
              is_64 ? kIn64 : packed_size, is_64 ? kIn64 : size, name_size,
              static_cast<uint16_t>(is_64 ? 28 : 0), uint16_t{0}, uint16_t{0},
              uint16_t{0}, uint32_t{0}, is_64 ? kIn64 : place);
    directory += member.name;
    if (is_64) {
      AppendAll(directory, uint16_t{1}, uint16_t{24}, uint64_t{size},
                uint64_t{packed_size}, uint64_t{place});
    }
  }
  const uint64_t place = out.size();
  const uint64_t size = directory.size();
  const uint64_t count = members.size();
  out += directory;
  if (is_64) {
    AppendAll(out, uint32_t{0x06064b50}, uint64_t{44}, uint16_t{45},
              uint16_t{45}, uint32_t{0}, uint32_t{0}, count, count, size,
              place);
    AppendAll(out, uint32_t{0x07064b50}, uint32_t{0}, place + size,
              uint32_t{1});
  }
  const auto count16 = static_cast<uint16_t>(is_64 ? 0xffff : count);
  AppendAll(out, uint32_t{0x06054b50}, uint16_t{0}, uint16_t{0}, count16,
            count16, is_64 ? kIn64 : static_cast<uint32_t>(size),
            is_64 ? kIn64 : static_cast<uint32_t>(place), uint16_t{0});
  return out;
}

std::string MakeNpy(const std::vector<int64_t>& dims,
                    const std::vector<float>& values) {
  return MakeNpyHeader(dims) + BytesOf(values);
}

std::string MakeSafetensors(std::string_view header, std::string_view data) {
  std::string out;
  AppendNumber(static_cast<uint64_t>(header.size()), out);
  out += header;
  out += data;
  return out;
}

std::string MakeTorch(std::string_view pickle,
                      const std::vector<std::string>& storages) {
  std::vector<SampleMember> members = {
      {.name = "archive/data.pkl", .bytes = std::string(pickle)}};
  for (size_t i = 0; i < storages.size(); ++i) {
    members.push_back(
        {.name = "archive/data/" + std::to_string(i), .bytes = storages[i]});
  }
  members.push_back({.name = "archive/version", .bytes = "3\n"});
  return MakeZip(members);
}

std::string MakeStateDict(std::string_view name, int64_t rows, int64_t dim) {
  int memo = 0;
  std::string out = "\x80\x02";
  const auto put = [&] {
    out += 'q';
    out += static_cast<char>(memo++);
  };
  const auto string = [&](std::string_view text) {
    out += 'X';
    AppendNumber(static_cast<uint32_t>(text.size()), out);
    out += text;
    put();
  };
  const auto number = [&](int64_t value) {
    out += 'J';
    AppendNumber(static_cast<int32_t>(value), out);
  };
  out += "ccollections\nOrderedDict\n";
  put();
  out += ")R";
  put();
  string(name);
  out += "ctorch._utils\n_rebuild_tensor_v2\n";
  put();
  out += "((";
  string("storage");
  out += "ctorch\nFloatStorage\n";
  put();
  string("0");
  string("cpu");
  number(rows * dim);
  out += 't';
  put();
  out += 'Q';
  out += 'K';
  out += '\0';
  number(rows);
  number(dim);
  out += '\x86';
  put();
  number(dim);
  number(1);
  out += '\x86';
  put();
  // The OrderedDict again, from the memo.
  out += "\x89h";
  out += '\0';
  out += ")R";
  put();
  out += 't';
  put();
  out += 'R';
  put();
  out += "s}";
  put();
  string("_metadata");
  out += 'h';
  out += '\0';
  out += ")R";
  put();
  out += "sb.";
  return out;
}

std::string MakeWord2vecBinary(
    const std::vector<std::pair<std::string, std::vector<float>>>& rows) {
  std::string out = std::to_string(rows.size()) + " " +
                    std::to_string(rows.empty() ? 1 : rows[0].second.size()) +
                    "\n";
  for (const auto& [word, values] : rows) {
    out += word + " " + BytesOf(values) + "\n";
  }
  return out;
}

std::string MakeFvecs(const std::vector<std::vector<float>>& rows) {
  std::string out;
  for (const std::vector<float>& values : rows) {
    AppendNumber(static_cast<int32_t>(values.size()), out);
    out += BytesOf(values);
  }
  return out;
}

}  // namespace quire::formats::testing
