#pragma once

#include <map>
#include <optional>
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
  /// `ignored` are names of the file (patterns as above) that no network needs. Throws Error kUsage for a row whose
  /// patterns do not fit each other, or a part outside its parts.
  explicit NameMap(std::vector<NameRule> rules, std::vector<std::string> ignored = {});

  /// Where a tensor of ours comes from: the row with the file's full name filled in.
  NameRule to_file(std::string_view ours) const;
  /// What becomes of a tensor of the file: one row for each of ours, with full names; none if it is ignored.
  std::vector<NameRule> to_ours(std::string_view file) const;
  bool ignores(std::string_view file) const;

  /// For load(): reads and ignores through this map.
  LoadRules load_rules() const;

  /// A slice, and the squeeze, of a file's tensor. Throws Error kModel naming it if its rows cannot be so divided.
  static at::Tensor take(const at::Tensor& whole, const NameRule& rule);

  /// All tensors of a checkpoint under our names.
  std::map<std::string, at::Tensor> from_file(const StateDict& weights) const;
  /// Tensors under our names as the file would have them.
  std::map<std::string, at::Tensor> as_file(const std::map<std::string, at::Tensor>& ours) const;

 private:
  std::vector<NameRule> rules_;
  std::vector<std::string> ignored_;
};

}  // namespace vtissue::models
