#include "io/anndata_table.h"

#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>

#include "io/hdf5_compound.h"

namespace vtissue::io {
namespace {

using hdf5::Dataset;
using hdf5::Group;
using hdf5::TypeKind;

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

std::size_t length(const AnnColumn& column) {
  return std::visit([](const auto& values) { return values.size(); }, column);
}

std::vector<double> as_doubles(const AnnColumn& column) {
  return std::visit(
      []<typename T>(const std::vector<T>& values) -> std::vector<double> {
        if constexpr (std::is_same_v<T, std::string>) {
          return {};
        } else {
          return {values.begin(), values.end()};
        }
      },
      column);
}

void require_vector(const Dataset& dataset) {
  if (dataset.shape().size() != 1) dataset.place().fail("is not one-dimensional");
}

/// Nothing if it is neither strings nor numbers.
std::optional<AnnColumn> read_plain(const Dataset& dataset) {
  require_vector(dataset);
  switch (dataset.kind()) {
    case TypeKind::kString:
      return dataset.read_strings();
    case TypeKind::kBool:
      return dataset.read<std::uint8_t>();
    case TypeKind::kInteger:
      return dataset.read<std::int64_t>();
    case TypeKind::kFloat:
      return dataset.read<double>();
    default:
      return std::nullopt;
  }
}

/// The values that `codes` stand for; nothing if the categories are neither strings nor numbers. `place`: of the codes.
std::optional<AnnColumn> pick_categories(const std::vector<std::int64_t>& codes, const Dataset& categories_dataset,
                                         const hdf5::Place& place) {
  const std::optional<AnnColumn> categories = read_plain(categories_dataset);
  if (!categories) return std::nullopt;
  const auto count = static_cast<std::int64_t>(length(*categories));
  for (std::size_t row = 0; row < codes.size(); ++row) {
    if (codes[row] < -1 || codes[row] >= count) {
      place.fail(fmt::format("category code {} of {} in row {}", codes[row], count, row));
    }
  }
  const bool has_missing = std::ranges::find(codes, -1) != codes.end();
  const auto pick = [&](const auto& values, auto missing) {
    std::vector<decltype(missing)> picked;
    picked.reserve(codes.size());
    for (const std::int64_t code : codes) {
      if (code < 0) {
        picked.push_back(missing);
      } else {
        picked.push_back(values[static_cast<std::size_t>(code)]);
      }
    }
    return AnnColumn(std::move(picked));
  };
  if (const auto* strings = std::get_if<std::vector<std::string>>(&*categories)) return pick(*strings, std::string());
  if (has_missing) return pick(as_doubles(*categories), kMissing);
  return std::visit([&]<typename T>(const std::vector<T>& values) { return pick(values, T{}); }, *categories);
}

std::optional<AnnColumn> read_categorical(const Dataset& codes, const Dataset& categories) {
  require_vector(codes);
  return pick_categories(codes.read<std::int64_t>(), categories, codes.place());
}

std::optional<AnnColumn> read_nullable(const Group& group) {
  std::optional<AnnColumn> values = read_plain(group.dataset("values"));
  if (!values) return std::nullopt;
  const Dataset mask_dataset = group.dataset("mask");
  require_vector(mask_dataset);
  const std::vector<std::uint8_t> mask = mask_dataset.read<std::uint8_t>();
  if (mask.size() != length(*values)) {
    mask_dataset.place().fail(fmt::format("has {} entries, its values have {}", mask.size(), length(*values)));
  }
  if (std::ranges::find_if(mask, [](std::uint8_t m) { return m != 0; }) == mask.end()) return values;
  if (auto* strings = std::get_if<std::vector<std::string>>(&*values)) {
    for (std::size_t i = 0; i < mask.size(); ++i) {
      if (mask[i] != 0) (*strings)[i].clear();
    }
    return values;
  }
  std::vector<double> numbers = as_doubles(*values);
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] != 0) numbers[i] = kMissing;
  }
  return numbers;
}

/// Nothing for encodings that vtissue has no use for.
std::optional<AnnColumn> read_column(const Group& table, const std::string& name) {
  if (table.has_dataset(name)) {
    // anndata 0.7: the codes stand where the column is, their categories in a group beside the columns.
    const std::string old_categories = "__categories/" + name;
    if (table.has_dataset(old_categories)) return read_categorical(table.dataset(name), table.dataset(old_categories));
    return read_plain(table.dataset(name));
  }
  if (!table.has_group(name)) table.place().child(name).fail("is missing, although the table lists the column");
  const Group group = table.group(name);
  const std::string encoding = group.string_attribute("encoding-type").value_or("");
  if (encoding == "categorical") return read_categorical(group.dataset("codes"), group.dataset("categories"));
  if (encoding.starts_with("nullable-")) return read_nullable(group);
  return std::nullopt;
}

std::vector<std::string> read_index(const Group& table) {
  const std::optional<std::string> name = table.string_attribute("_index");
  if (!name)
    table.place().fail(
        "has no _index attribute, which names the column of row names; write the file again with anndata");
  std::optional<AnnColumn> column = read_column(table, *name);
  if (column) {
    if (auto* strings = std::get_if<std::vector<std::string>>(&*column)) return std::move(*strings);
    if (const auto* integers = std::get_if<std::vector<std::int64_t>>(&*column)) {
      std::vector<std::string> names;
      for (const std::int64_t value : *integers) names.push_back(std::to_string(value));
      return names;
    }
  }
  table.place().child(*name).fail("the row names are neither strings nor integers");
}

/// A member of a compound table, or nothing for what vtissue has no use for. anndata 0.6 keeps the categories of a
/// column in uns.
std::optional<AnnColumn> read_legacy_column(const Group& root, const Dataset& table, const hdf5::Member& member) {
  if (member.width != 1) return std::nullopt;
  switch (member.kind) {
    case TypeKind::kString:
      return hdf5::read_member_strings(table, member);
    case TypeKind::kFloat:
      return hdf5::read_member<double>(table, member);
    case TypeKind::kBool: {
      const std::vector<std::int64_t> values = hdf5::read_member<std::int64_t>(table, member);
      return std::vector<std::uint8_t>(values.begin(), values.end());
    }
    case TypeKind::kInteger: {
      std::vector<std::int64_t> values = hdf5::read_member<std::int64_t>(table, member);
      const std::string categories = "uns/" + member.name + "_categories";
      if (!root.has_dataset(categories)) return values;
      return pick_categories(values, root.dataset(categories), table.place().child(member.name));
    }
    default:
      return std::nullopt;
  }
}

AnnTable read_legacy_table(const Group& root, const Dataset& dataset) {
  require_vector(dataset);
  const std::vector<hdf5::Member> members = hdf5::members(dataset);
  auto index = std::ranges::find(members, "index", &hdf5::Member::name);
  if (index == members.end()) index = std::ranges::find(members, TypeKind::kString, &hdf5::Member::kind);
  if (index == members.end() || index->kind != TypeKind::kString) {
    dataset.place().fail("has no member 'index' with row names; write the file again with a newer anndata");
  }
  AnnTable table;
  table.index = hdf5::read_member_strings(dataset, *index);
  for (auto member = members.begin(); member != members.end(); ++member) {
    if (member == index) continue;
    if (auto column = read_legacy_column(root, dataset, *member)) {
      table.columns.emplace_back(member->name, std::move(*column));
    }
  }
  return table;
}

void write_column(Group& table, const std::string& name, const AnnColumn& column) {
  if (const auto* strings = std::get_if<std::vector<std::string>>(&column)) {
    Dataset dataset = table.write_strings(name, *strings);
    write_encoding(dataset, "string-array", "0.2.0");
    return;
  }
  const std::array<std::uint64_t, 1> shape{length(column)};
  Dataset dataset = [&] {
    if (const auto* bools = std::get_if<std::vector<std::uint8_t>>(&column)) return table.write_bools(name, *bools);
    if (const auto* integers = std::get_if<std::vector<std::int64_t>>(&column)) {
      return table.write<std::int64_t>(name, shape, *integers);
    }
    return table.write<double>(name, shape, std::get<std::vector<double>>(column));
  }();
  write_encoding(dataset, "array", "0.2.0");
}

}  // namespace

AnnTable read_ann_table(const Group& parent, const std::string& name) {
  if (parent.has_dataset(name)) return read_legacy_table(parent, parent.dataset(name));
  const Group group = parent.group(name);
  AnnTable table;
  table.index = read_index(group);
  const std::string index_name = group.required_string("_index");
  for (const std::string& column_name : group.strings_attribute("column-order").value_or(std::vector<std::string>{})) {
    if (column_name == index_name) continue;
    std::optional<AnnColumn> column = read_column(group, column_name);
    if (!column) continue;
    if (length(*column) != table.index.size()) {
      group.place()
          .child(column_name)
          .fail(fmt::format("has {} values, the table has {} rows", length(*column), table.index.size()));
    }
    table.columns.emplace_back(column_name, std::move(*column));
  }
  return table;
}

void write_ann_table(Group& parent, const std::string& name, const AnnTable& table) {
  Group group = parent.create_group(name);
  write_encoding(group, "dataframe", "0.2.0");
  const std::string index_name = "_index";
  group.set_string("_index", index_name);
  std::vector<std::string> order;
  for (const auto& [column_name, column] : table.columns) {
    if (column_name.empty() || column_name == index_name || column_name.find('/') != std::string::npos ||
        std::ranges::find(order, column_name) != order.end()) {
      throw std::logic_error(
          fmt::format("write_h5ad: {} has a column '{}', which cannot be stored", name, column_name));
    }
    if (length(column) != table.index.size()) {
      throw std::logic_error(fmt::format("write_h5ad: {}/{} has {} values for {} rows", name, column_name,
                                         length(column), table.index.size()));
    }
    order.push_back(column_name);
  }
  group.set_strings("column-order", order);
  write_column(group, index_name, table.index);
  for (const auto& [column_name, column] : table.columns) write_column(group, column_name, column);
}

void write_encoding(hdf5::Object& object, std::string_view type, std::string_view version) {
  object.set_string("encoding-type", type);
  object.set_string("encoding-version", version);
}

}  // namespace vtissue::io
