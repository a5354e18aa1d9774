#include "tests/fuzz/hdf5_mutations.h"

#include <fuzzer/FuzzedDataProvider.h>
#include <hdf5.h>

#include <array>
#include <fstream>
#include <iterator>

/// HDF5 keeps what it allocated for a file that it could not write back; that is not what is tested.
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

namespace vtissue {
namespace {

std::vector<std::string> object_names(hid_t file) {
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5O_info_t*, void* out) -> herr_t {
    if (std::string_view(name) != ".") static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  H5Ovisit(file, H5_INDEX_NAME, H5_ITER_INC, collect, &names);
  return names;
}

hid_t string_type(std::size_t width) {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, width == 0 ? H5T_VARIABLE : width);
  return type;
}

/// A type in the file and one in memory of at most eight bytes.
std::pair<hid_t, hid_t> pick_type(FuzzedDataProvider& fuzz) {
  switch (fuzz.ConsumeIntegralInRange(0, 7)) {
    case 0:
      return {H5Tcopy(H5T_STD_I8LE), H5Tcopy(H5T_NATIVE_INT64)};
    case 1:
      return {H5Tcopy(H5T_STD_I32LE), H5Tcopy(H5T_NATIVE_INT64)};
    case 2:
      return {H5Tcopy(H5T_STD_I64LE), H5Tcopy(H5T_NATIVE_INT64)};
    case 3:
      return {H5Tcopy(H5T_STD_U64BE), H5Tcopy(H5T_NATIVE_INT64)};
    case 4:
      return {H5Tcopy(H5T_IEEE_F32LE), H5Tcopy(H5T_NATIVE_INT64)};
    case 5: {
      const hid_t type = H5Tcreate(H5T_COMPOUND, 16);
      H5Tinsert(type, fuzz.ConsumeBool() ? "index" : "spatial", 0, H5T_NATIVE_INT64);
      H5Tinsert(type, "n", 8, H5T_NATIVE_DOUBLE);
      return {type, H5I_INVALID_HID};
    }
    case 6:
      return {string_type(fuzz.ConsumeIntegralInRange<std::size_t>(1, 8)), H5I_INVALID_HID};
    default:
      return {string_type(0), H5I_INVALID_HID};
  }
}

void write_numbers(hid_t dataset, FuzzedDataProvider& fuzz) {
  const hid_t space = H5Dget_space(dataset);
  const hssize_t points = H5Sget_simple_extent_npoints(space);
  H5Sclose(space);
  if (points <= 0 || points > 4096) return;
  std::vector<std::int64_t> values(static_cast<std::size_t>(points));
  for (std::int64_t& value : values) {
    value =
        fuzz.ConsumeBool() ? fuzz.ConsumeIntegralInRange<std::int64_t>(-2, 12) : fuzz.ConsumeIntegral<std::int64_t>();
  }
  H5Dwrite(dataset, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
}

void create_dataset(hid_t file, const std::string& name, FuzzedDataProvider& fuzz) {
  const auto [type, memory] = pick_type(fuzz);
  std::array<hsize_t, 3> shape{};
  const int rank = fuzz.ConsumeIntegralInRange(0, 3);
  // At times a header that claims more than there is.
  const bool lying = fuzz.ConsumeIntegralInRange(0, 9) == 0;
  for (hsize_t& extent : shape) {
    extent =
        lying ? fuzz.ConsumeIntegralInRange<hsize_t>(1, hsize_t{1} << 40) : fuzz.ConsumeIntegralInRange<hsize_t>(0, 12);
  }
  const hid_t space =
      rank == 0 ? H5Screate(fuzz.ConsumeBool() ? H5S_SCALAR : H5S_NULL) : H5Screate_simple(rank, shape.data(), nullptr);
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  if (lying && rank > 0) {
    const std::array<hsize_t, 3> chunk{4, 4, 4};
    H5Pset_chunk(creation, rank, chunk.data());
    H5Pset_deflate(creation, 1);
  }
  const hid_t dataset = H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  if (dataset >= 0) {
    if (memory >= 0) write_numbers(dataset, fuzz);
    H5Dclose(dataset);
  }
  H5Pclose(creation), H5Sclose(space), H5Tclose(type);
  if (memory >= 0) H5Tclose(memory);
}

void set_attribute(hid_t file, const std::string& object_name, FuzzedDataProvider& fuzz) {
  constexpr std::array<const char*, 8> kNames{"encoding-type",  "shape",           "_index",           "column-order",
                                              "h5sparse_shape", "h5sparse_format", "encoding-version", "categories"};
  constexpr std::array<const char*, 10> kTexts{"csr_matrix",  "csc_matrix",
                                               "categorical", "nullable-integer",
                                               "dataframe",   "null",
                                               "_index",      "array_row",
                                               "dict",        ""};
  const char* name = kNames[fuzz.ConsumeIntegralInRange<std::size_t>(0, kNames.size() - 1)];
  const hid_t object = H5Oopen(file, object_name.c_str(), H5P_DEFAULT);
  if (object < 0) return;
  if (H5Aexists(object, name) > 0) H5Adelete(object, name);
  const int kind = fuzz.ConsumeIntegralInRange(0, 3);
  const hsize_t count = fuzz.ConsumeIntegralInRange<hsize_t>(0, 3);
  const hid_t space = kind == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, nullptr);
  const hid_t type = kind <= 1 ? string_type(0) : H5Tcopy(kind == 2 ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE);
  const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  if (attribute >= 0) {
    std::array<const char*, 3> texts{};
    std::array<std::int64_t, 3> numbers{};
    for (std::size_t i = 0; i < 3; ++i) {
      texts[i] = kTexts[fuzz.ConsumeIntegralInRange<std::size_t>(0, kTexts.size() - 1)];
      numbers[i] =
          fuzz.ConsumeBool() ? fuzz.ConsumeIntegralInRange<std::int64_t>(-1, 12) : fuzz.ConsumeIntegral<std::int64_t>();
    }
    H5Awrite(attribute, kind == 3 ? H5T_NATIVE_INT64 : type,
             kind <= 1 ? static_cast<const void*>(texts.data()) : numbers.data());
    H5Aclose(attribute);
  }
  H5Tclose(type), H5Sclose(space), H5Oclose(object);
}

void mutate(hid_t file, FuzzedDataProvider& fuzz) {
  constexpr int kMostMutations = 6;
  for (int i = 0; i < kMostMutations && fuzz.remaining_bytes() > 0; ++i) {
    const std::vector<std::string> names = object_names(file);
    if (names.empty()) return;
    const auto pick = [&] { return names[fuzz.ConsumeIntegralInRange<std::size_t>(0, names.size() - 1)]; };
    const std::string name = pick();
    switch (fuzz.ConsumeIntegralInRange(0, 5)) {
      case 0:
        H5Ldelete(file, name.c_str(), H5P_DEFAULT);
        break;
      case 1:
        H5Ldelete(file, name.c_str(), H5P_DEFAULT);
        create_dataset(file, name, fuzz);
        break;
      case 2: {
        H5Ldelete(file, name.c_str(), H5P_DEFAULT);
        const hid_t group = H5Gcreate2(file, name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        if (group >= 0) H5Gclose(group);
        break;
      }
      case 3: {
        const std::string other = pick();
        if (name.starts_with(other) || other.starts_with(name)) break;
        H5Ldelete(file, name.c_str(), H5P_DEFAULT);
        H5Lcreate_hard(file, other.c_str(), file, name.c_str(), H5P_DEFAULT, H5P_DEFAULT);
        break;
      }
      case 4: {
        const hid_t dataset = H5Dopen2(file, name.c_str(), H5P_DEFAULT);
        if (dataset < 0) break;
        write_numbers(dataset, fuzz);
        H5Dclose(dataset);
        break;
      }
      default:
        set_attribute(file, fuzz.ConsumeBool() ? "/" : name, fuzz);
    }
  }
}

}  // namespace

std::vector<std::vector<std::uint8_t>> hdf5_templates(const std::vector<std::filesystem::path>& folders,
                                                      const std::string& ending) {
  // As the readers do: at exit HDF5 would go through files that it could not close.
  H5dont_atexit();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  std::vector<std::filesystem::path> paths;
  for (const auto& folder : folders) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().string().ends_with(ending)) paths.push_back(entry.path());
    }
  }
  std::ranges::sort(paths);
  std::vector<std::vector<std::uint8_t>> templates;
  for (const auto& path : paths) {
    const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0) continue;
    H5Fclose(file);
    std::ifstream stream(path, std::ios::binary);
    templates.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return templates;
}

FuzzFile mutated_hdf5(const std::vector<std::vector<std::uint8_t>>& templates, const std::uint8_t* data,
                      std::size_t size) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  FuzzedDataProvider fuzz(data, size);
  const auto& bytes = templates[fuzz.ConsumeIntegralInRange<std::size_t>(0, templates.size() - 1)];
  FuzzFile whole(bytes);
  const hid_t file = H5Fopen(whole.path().c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  if (file >= 0) {
    mutate(file, fuzz);
    H5Fclose(file);
  }
  return whole;
}

}  // namespace vtissue
