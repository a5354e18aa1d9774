#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/state_dict.h"

namespace vtissue::models {

/// One row of a name map. In both names '*' stands for one part between dots (the same ones in the same order), and a
/// name that ends in '.' for everything that begins so. Where several of ours share one of the file's, each is one of
/// `parts` equal slices of its rows.
struct NameRule {
  std::string ours;
  std::string file;
  int part = 0;
  int parts = 1;
  bool squeeze = false;  ///< a 1x1 convolution's weight [o, i, 1, 1] in the file is a linear layer's [o, i] here
};

/// Whether a name is one of a pattern's (see NameRule).
bool name_matches(std::string_view pattern, std::string_view name);

/// How the names and shapes of a foreign checkpoint are those of a network of ours, as a table that is read in both
/// directions; a name without a row is the same in both. Immutable, thread-safe.
class NameMap {
 public:
  /// `ignored` are names of the file (patterns as above) that no network needs. `prefix` stands before names of the
  /// file, whatever the rows say of the rest. Throws Error kUsage for a row whose patterns do not fit each other, or a
  /// part outside its parts.
  explicit NameMap(std::vector<NameRule> rules, std::vector<std::string> ignored = {}, std::string prefix = {});

  /// Where a tensor of ours comes from: the row with the file's full name filled in.
  NameRule to_file(std::string_view ours) const;
  /// What becomes of a tensor of the file: one row for each of ours, with full names; none if it is ignored.
  std::vector<NameRule> to_ours(std::string_view file) const;
  bool ignores(std::string_view file) const;

  /// For load(): reads and ignores through this map.
  LoadRules load_rules() const;

  /// A slice, and the squeeze, of a file's tensor. Throws Error kModel naming it if its rows cannot be so divided.
  static at::Tensor take(const at::Tensor& whole, const NameRule& rule);

  /// Whether it says anything of one of the names. A map without rows fits everything.
  bool fits(std::span<const TensorInfo> tensors) const;

  /// A checkpoint under our names: what an engine loads as if the file had them. `origin` is what messages call the
  /// map. Throws Error kUsage, naming them, if two tensors get one name, or if the map has rows and none fits.
  StateDict applied_to(const StateDict& weights, std::string_view origin = "name map") const;

  /// All its tensors, read. Throws as applied_to().
  std::map<std::string, at::Tensor> from_file(const StateDict& weights) const;
  /// Tensors under our names as the file would have them.
  std::map<std::string, at::Tensor> as_file(const std::map<std::string, at::Tensor>& ours) const;

 private:
  std::vector<NameRule> rules_;
  std::vector<std::string> ignored_;
  std::string prefix_;
};

/// A name map file (docs/weights.md): "prefix", "rules", a list of {"ours", "file", "part" (from 1), "parts",
/// "squeeze"}, and "ignored", a list of names. "config", which is for ModelFolder, may stand beside them. Throws Error
/// kUsage.
NameMap parse_name_map(const nlohmann::json& file);

}  // namespace vtissue::models
