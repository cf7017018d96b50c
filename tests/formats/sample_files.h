// Files of tensors as others write them, made here byte by byte: for tests and
// fuzz targets, and independent of our writers.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quire::formats::testing {

template <typename T>
std::string BytesOf(const std::vector<T>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()),
          numbers.size() * sizeof(T)};
}

template <typename T>
void AppendNumber(T number, std::string& out) {
  out.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

struct SampleMember {
  std::string name;
  std::string bytes;
  bool is_deflated = false;
};

// A raw deflate stream.
std::string Deflate(std::string_view bytes);
// A .zip file; with is_64, sizes and places are in fields of 64 bits.
std::string MakeZip(const std::vector<SampleMember>& members,
                    bool is_64 = false);
// An array of float32 in a .npy file.
std::string MakeNpy(const std::vector<int64_t>& dims,
                    const std::vector<float>& values);
// Length, header, data.
std::string MakeSafetensors(std::string_view header, std::string_view data);
// A torch file of one pickle and its storages, "0", "1", ….
std::string MakeTorch(std::string_view pickle,
                      const std::vector<std::string>& storages);
// A pickle of {name: tensor}: float32 dims, C order, storage "0", as torch 1.13
// writes it, with its memo.
std::string MakeStateDict(std::string_view name, int64_t rows, int64_t dim);
std::string MakeWord2vecBinary(
    const std::vector<std::pair<std::string, std::vector<float>>>& rows);
std::string MakeFvecs(const std::vector<std::vector<float>>& rows);

}  // namespace quire::formats::testing
