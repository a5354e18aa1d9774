#include "core/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <unordered_map>

#include "core/error.h"

// Opcodes: the comments of CPython's Lib/pickletools.py. Which globals, and what they are given: formats.md 4.2.

namespace vtissue {

namespace {

using Kind = PickleValue::Kind;

/// A state dict has some twenty objects a tensor; these bound the memory of a pickle made of one-byte opcodes.
constexpr std::size_t kMaxValues = 4'000'000;
constexpr std::size_t kMaxItems = 16'000'000;
constexpr std::size_t kMaxRank = 64;

struct DtypeOfStorage {
  std::string_view storage;  ///< "" where torch has no storage class of its own
  std::string_view torch;
  std::string_view dtype;
  std::size_t bytes;
};

constexpr std::array kTorchDtypes = {DtypeOfStorage{"DoubleStorage", "float64", "F64", 8},
                                     DtypeOfStorage{"FloatStorage", "float32", "F32", 4},
                                     DtypeOfStorage{"HalfStorage", "float16", "F16", 2},
                                     DtypeOfStorage{"BFloat16Storage", "bfloat16", "BF16", 2},
                                     DtypeOfStorage{"LongStorage", "int64", "I64", 8},
                                     DtypeOfStorage{"IntStorage", "int32", "I32", 4},
                                     DtypeOfStorage{"ShortStorage", "int16", "I16", 2},
                                     DtypeOfStorage{"CharStorage", "int8", "I8", 1},
                                     DtypeOfStorage{"ByteStorage", "uint8", "U8", 1},
                                     DtypeOfStorage{"BoolStorage", "bool", "BOOL", 1},
                                     DtypeOfStorage{"ComplexFloatStorage", "complex64", "C64", 8},
                                     DtypeOfStorage{"", "uint16", "U16", 2},
                                     DtypeOfStorage{"", "uint32", "U32", 4},
                                     DtypeOfStorage{"", "uint64", "U64", 8},
                                     DtypeOfStorage{"", "float8_e4m3fn", "F8_E4M3", 1},
                                     DtypeOfStorage{"", "float8_e5m2", "F8_E5M2", 1},
                                     DtypeOfStorage{"", "float8_e4m3fnuz", "F8_E4M3FNUZ", 1},
                                     DtypeOfStorage{"", "float8_e5m2fnuz", "F8_E5M2FNUZ", 1},
                                     DtypeOfStorage{"", "float8_e8m0fnu", "F8_E8M0", 1}};

constexpr DtypeOfStorage kUntyped = {"UntypedStorage", "", "", 1};

const DtypeOfStorage* by_torch_name(std::string_view name) {
  const auto found = std::ranges::find(kTorchDtypes, name, &DtypeOfStorage::torch);
  return found == kTorchDtypes.end() ? nullptr : &*found;
}

/// "torch.FloatStorage", "torch.cuda.HalfStorage", "torch.storage.UntypedStorage".
const DtypeOfStorage* by_storage_global(std::string_view global) {
  for (const std::string_view module : {"torch.cuda.", "torch.storage.", "torch."}) {
    if (!global.starts_with(module)) continue;
    const std::string_view name = global.substr(module.size());
    if (name == kUntyped.storage) return &kUntyped;
    const auto found = std::ranges::find(kTorchDtypes, name, &DtypeOfStorage::storage);
    return found == kTorchDtypes.end() || name.empty() ? nullptr : &*found;
  }
  return nullptr;
}

constexpr std::string_view kOrderedDict = "collections.OrderedDict";
constexpr std::string_view kSize = "torch.Size";
constexpr std::string_view kDevice = "torch.device";
constexpr std::string_view kRebuildTensor = "torch._utils._rebuild_tensor";
constexpr std::string_view kRebuildTensor2 = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kRebuildTensor3 = "torch._utils._rebuild_tensor_v3";
constexpr std::string_view kRebuildParameter = "torch._utils._rebuild_parameter";
constexpr std::string_view kRebuildParameterWithState = "torch._utils._rebuild_parameter_with_state";

bool is_allowed(std::string_view global) {
  for (const std::string_view known : {kOrderedDict, kSize, kDevice, kRebuildTensor, kRebuildTensor2, kRebuildTensor3,
                                       kRebuildParameter, kRebuildParameterWithState}) {
    if (global == known) return true;
  }
  if (by_storage_global(global) != nullptr) return true;
  return global.starts_with("torch.") && by_torch_name(global.substr(6)) != nullptr;
}

class Unpickler {
 public:
  Unpickler(std::span<const std::byte> bytes, const std::filesystem::path& path) : bytes_(bytes), path_(path) {}

  PickleDocument run() {
    while (step()) {
    }
    document_.root = pop();
    document_.bytes = at_;
    return std::move(document_);
  }

 private:
  [[noreturn]] void refuse(std::string_view reason) const {
    throw Error(ErrorCode::kModel, "{}: not a usable PyTorch checkpoint: {}", path_.string(), reason);
  }

  // Input.

  std::span<const std::byte> take(std::uint64_t count) {
    if (count > bytes_.size() - at_) {
      refuse(fmt::format("its pickle ends at byte {} where {} bytes should follow byte {}", bytes_.size(), count, at_));
    }
    const auto part = bytes_.subspan(at_, static_cast<std::size_t>(count));
    at_ += part.size();
    return part;
  }

  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  template <typename Length>
  std::string text() {
    const auto part = take(number<Length>());
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

  std::string line() {
    const auto* begin = reinterpret_cast<const char*>(bytes_.data()) + at_;
    const std::string_view rest(begin, bytes_.size() - at_);
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) refuse("its pickle ends within a name");
    at_ += end + 1;
    return std::string(rest.substr(0, end));
  }

  // Stack.

  PickleId make(PickleValue value) {
    if (document_.values.size() >= kMaxValues) refuse(fmt::format("its pickle has over {} objects", kMaxValues));
    count_items(value.items.size());
    document_.values.push_back(std::move(value));
    return static_cast<PickleId>(document_.values.size() - 1);
  }

  void count_items(std::size_t count) {
    items_ += count;
    if (items_ > kMaxItems) refuse(fmt::format("the containers of its pickle have over {} items", kMaxItems));
  }

  void push(PickleValue value) { stack_.push_back(make(std::move(value))); }
  void push_integer(std::int64_t value) { push({.kind = Kind::kInteger, .integer = value}); }
  void push_text(Kind kind, std::string value) { push({.kind = kind, .text = std::move(value)}); }

  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleId pop() {
    if (stack_.size() <= floor()) refuse(fmt::format("its pickle takes from an empty stack at byte {}", at_));
    const PickleId id = stack_.back();
    stack_.pop_back();
    return id;
  }

  PickleId top() const {
    if (stack_.size() <= floor()) refuse(fmt::format("its pickle reads an empty stack at byte {}", at_));
    return stack_.back();
  }

  std::vector<PickleId> pop_to_mark() {
    if (marks_.empty()) refuse(fmt::format("its pickle goes back to a mark that is not there at byte {}", at_));
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleId> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }

  void push_container(Kind kind, std::vector<PickleId> items) { push({.kind = kind, .items = std::move(items)}); }

  void push_tuple_of(std::size_t count) {
    std::vector<PickleId> items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    push_container(Kind::kTuple, std::move(items));
  }

  PickleValue& value(PickleId id) { return document_.values[id]; }

  const PickleValue& expect(PickleId id, Kind kind, std::string_view what) {
    if (value(id).kind != kind)
      refuse(fmt::format("{} is not what it should be before byte {} of its pickle", what, at_));
    return value(id);
  }

  void append(std::span<const PickleId> items) {
    PickleValue& list = value(top());
    if (list.kind != Kind::kList) refuse(fmt::format("its pickle appends to what is no list at byte {}", at_));
    count_items(items.size());
    list.items.insert(list.items.end(), items.begin(), items.end());
  }

  void set_items(std::span<const PickleId> items) {
    PickleValue& dict = value(top());
    if (dict.kind != Kind::kDict || items.size() % 2 != 0) {
      refuse(fmt::format("its pickle sets items of what is no dict at byte {}", at_));
    }
    count_items(items.size());
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }

  void append_one() {
    const PickleId item = pop();
    append({&item, 1});
  }

  void set_one() {
    std::array<PickleId, 2> item{};
    item[1] = pop();
    item[0] = pop();
    set_items(item);
  }

  void memoize(std::uint64_t index) { memo_[index] = top(); }

  void recall(std::uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) refuse(fmt::format("its pickle recalls object {}, which it has not made", index));
    stack_.push_back(found->second);
  }

  // Numbers.

  void push_long(std::uint64_t length) {
    const auto digits = take(length);
    if (digits.size() <= sizeof(std::int64_t)) {
      std::uint64_t value = !digits.empty() && (digits.back() & std::byte{0x80}) != std::byte{0} ? ~0ULL : 0;
      for (std::size_t i = digits.size(); i-- > 0;) value = (value << 8) | static_cast<std::uint64_t>(digits[i]);
      push_integer(static_cast<std::int64_t>(value));
      return;
    }
    std::string hex;
    for (std::size_t i = digits.size(); i-- > 0;) hex += fmt::format("{:02x}", static_cast<unsigned>(digits[i]));
    push_text(Kind::kText, std::move(hex));
  }

  void push_float() {
    std::uint64_t bits = 0;
    for (const std::byte b : take(8)) bits = (bits << 8) | static_cast<std::uint64_t>(b);  // big-endian
    push({.kind = Kind::kFloat, .real = std::bit_cast<double>(bits)});
  }

  // What state dicts call. Nothing is looked up anywhere: each allowed name is a case here.

  void push_global(std::string name) {
    if (!is_allowed(name)) {
      const bool module = name.starts_with("torch.nn.") || name.find("modules") != std::string::npos;
      refuse(fmt::format("it calls for '{}', which is not part of a state dict, and was not executed; {}", name,
                         module ? "it holds a whole module: in Python, save its state_dict instead: "
                                  "torch.save(module.state_dict(), …)"
                                : "in Python, save the tensors alone: torch.save(module.state_dict(), …)"));
    }
    push_text(Kind::kGlobal, std::move(name));
  }

  void push_stack_global() {
    const PickleId name = pop();
    const PickleId module = pop();
    push_global(expect(module, Kind::kText, "a module's name").text + "." + expect(name, Kind::kText, "a name").text);
  }

  /// Persistent ids are how torch refers to storages: ('storage', type, key, location, count[, view]).
  void push_storage() {
    const std::vector<PickleId> parts = expect(pop(), Kind::kTuple, "a persistent id").items;
    if (!parts.empty() && value(parts[0]).kind == Kind::kText && value(parts[0]).text == "module") {
      refuse("it holds a whole module; in Python, save its state_dict instead: torch.save(module.state_dict(), …)");
    }
    if (parts.size() < 5 || parts.size() > 6 || expect(parts[0], Kind::kText, "a persistent id").text != "storage") {
      refuse("a persistent id of its pickle is not that of a storage");
    }
    if (parts.size() == 6 && value(parts[5]).kind != Kind::kNone) {
      refuse("it has views of storages as PyTorch wrote before version 0.4; load and save it with a newer one");
    }
    const std::string& type = expect(parts[1], Kind::kGlobal, "a storage's type").text;
    const DtypeOfStorage* dtype = by_storage_global(type);
    const std::string& key = expect(parts[2], Kind::kText, "a storage's key").text;
    const std::int64_t count = expect(parts[4], Kind::kInteger, "a storage's size").integer;
    if (dtype == nullptr) refuse(fmt::format("'{}' is no type of storage", type));
    if (count < 0) refuse(fmt::format("the storage '{}' is said to have {} elements", key, count));
    const PickleStorage storage{
        .key = key, .dtype = dtype->dtype, .count = static_cast<std::uint64_t>(count), .item_bytes = dtype->bytes};
    const auto [found, added] = storage_places_.emplace(key, static_cast<std::uint32_t>(document_.storages.size()));
    if (added) {
      document_.storages.push_back(storage);
    } else if (const PickleStorage& other = document_.storages[found->second];
               other.dtype != storage.dtype || other.count != storage.count) {
      refuse(fmt::format("the storage '{}' is described in two ways", key));
    }
    push({.kind = Kind::kStorage, .integer = found->second});
  }

  std::vector<std::int64_t> integers(PickleId id, std::string_view what) {
    const PickleValue& tuple = value(id);
    if (tuple.kind != Kind::kTuple && tuple.kind != Kind::kList) refuse(fmt::format("{} is not a tuple", what));
    if (tuple.items.size() > kMaxRank) refuse(fmt::format("{} has {} dimensions", what, tuple.items.size()));
    std::vector<std::int64_t> result;
    for (const PickleId item : tuple.items) result.push_back(expect(item, Kind::kInteger, what).integer);
    return result;
  }

  /// (storage, offset, shape, strides[, requires_grad, hooks[, dtype, …]]).
  PickleId rebuild_tensor(const std::vector<PickleId>& arguments, bool with_dtype) {
    if (arguments.size() < (with_dtype ? 7u : 4u)) refuse("a tensor is rebuilt from too few arguments");
    PickleTensor tensor;
    tensor.storage = static_cast<std::uint32_t>(expect(arguments[0], Kind::kStorage, "a tensor's storage").integer);
    const PickleStorage& storage = document_.storages[tensor.storage];
    tensor.dtype = storage.dtype;
    tensor.item_bytes = storage.item_bytes;
    if (with_dtype) {
      const std::string& name = expect(arguments[6], Kind::kGlobal, "a tensor's dtype").text;
      const DtypeOfStorage* dtype = by_torch_name(std::string_view(name).substr(name.find('.') + 1));
      if (dtype == nullptr) refuse(fmt::format("'{}' is no dtype of a tensor", name));
      tensor.dtype = dtype->dtype;
      tensor.item_bytes = dtype->bytes;
    } else if (tensor.dtype.empty()) {
      refuse(fmt::format("the storage '{}' is untyped, and its tensor has no dtype", storage.key));
    }
    tensor.offset = expect(arguments[1], Kind::kInteger, "a tensor's offset").integer;
    tensor.shape = integers(arguments[2], "a tensor's shape");
    tensor.strides = integers(arguments[3], "a tensor's strides");
    document_.tensors.push_back(std::move(tensor));
    return make({.kind = Kind::kTensor, .integer = static_cast<std::int64_t>(document_.tensors.size() - 1)});
  }

  PickleId ordered_dict(const std::vector<PickleId>& arguments) {
    PickleValue dict{.kind = Kind::kDict};
    if (arguments.size() > 1) refuse("an OrderedDict is made from more than one argument");
    if (!arguments.empty()) {
      // Python 2 wrote the items as a list of pairs.
      for (const PickleId pair : expect(arguments[0], Kind::kList, "the argument of an OrderedDict").items) {
        const PickleValue& item = value(pair);
        if ((item.kind != Kind::kList && item.kind != Kind::kTuple) || item.items.size() != 2) {
          refuse("an OrderedDict is made from what are no pairs");
        }
        dict.items.insert(dict.items.end(), item.items.begin(), item.items.end());
      }
    }
    return make(std::move(dict));
  }

  PickleId called(const std::string& global, const std::vector<PickleId>& arguments) {
    if (global == kOrderedDict) return ordered_dict(arguments);
    if (global == kRebuildTensor || global == kRebuildTensor2) return rebuild_tensor(arguments, false);
    if (global == kRebuildTensor3) return rebuild_tensor(arguments, true);
    if (global == kRebuildParameter || global == kRebuildParameterWithState || global == kSize) {
      if (arguments.empty()) refuse(fmt::format("'{}' is called without an argument", global));
      return arguments[0];
    }
    if (global == kDevice) return make({.kind = Kind::kTuple, .items = arguments});
    refuse(fmt::format("it calls '{}', which is a type; in Python, save the tensors alone", global));
  }

  void reduce() {
    const PickleId arguments = pop();
    const PickleId global = pop();
    // Copies: making values moves the ones that are there.
    const std::vector<PickleId> items = expect(arguments, Kind::kTuple, "the arguments of a call").items;
    const std::string name = expect(global, Kind::kGlobal, "what is called").text;
    stack_.push_back(called(name, items));
  }

  /// Attributes of an OrderedDict (torch keeps _metadata there) or of a parameter: not tensors of the network.
  void build() {
    pop();
    const Kind kind = value(top()).kind;
    if (kind != Kind::kDict && kind != Kind::kTensor) {
      refuse(fmt::format("its pickle sets attributes of what is no dict at byte {}", at_));
    }
  }

  bool step();

  std::span<const std::byte> bytes_;
  const std::filesystem::path& path_;
  std::size_t at_ = 0;
  PickleDocument document_;
  std::vector<PickleId> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, PickleId> memo_;
  std::unordered_map<std::string, std::uint32_t> storage_places_;
  std::size_t items_ = 0;
};

/// One opcode; false after STOP.
bool Unpickler::step() {
  const auto opcode = number<unsigned char>();
  switch (opcode) {
    case 0x80:  // PROTO
      if (const auto protocol = number<std::uint8_t>(); protocol > 5) {
        refuse(fmt::format("its pickle is of protocol {}", protocol));
      }
      break;
    case 0x95:  // FRAME
      take(8);
      break;
    case '.':  // STOP
      return false;
    case '(':  // MARK
      marks_.push_back(stack_.size());
      break;
    case '0':  // POP
      pop();
      break;
    case '1':  // POP_MARK
      pop_to_mark();
      break;
    case 'N':  // NONE
      push({.kind = Kind::kNone});
      break;
    case 0x88:  // NEWTRUE
    case 0x89:  // NEWFALSE
      push({.kind = Kind::kBool, .integer = opcode == 0x88 ? 1 : 0});
      break;
    case 'J':  // BININT
      push_integer(number<std::int32_t>());
      break;
    case 'K':  // BININT1
      push_integer(number<std::uint8_t>());
      break;
    case 'M':  // BININT2
      push_integer(number<std::uint16_t>());
      break;
    case 0x8a:  // LONG1
      push_long(number<std::uint8_t>());
      break;
    case 0x8b:  // LONG4
      push_long(number<std::uint32_t>());
      break;
    case 'G':  // BINFLOAT
      push_float();
      break;
    case 'X':  // BINUNICODE
    case 'T':  // BINSTRING
      push_text(Kind::kText, text<std::uint32_t>());
      break;
    case 0x8c:  // SHORT_BINUNICODE
    case 'U':   // SHORT_BINSTRING
      push_text(Kind::kText, text<std::uint8_t>());
      break;
    case 0x8d:  // BINUNICODE8
      push_text(Kind::kText, text<std::uint64_t>());
      break;
    case 'B':  // BINBYTES
      push_text(Kind::kBytes, text<std::uint32_t>());
      break;
    case 'C':  // SHORT_BINBYTES
      push_text(Kind::kBytes, text<std::uint8_t>());
      break;
    case 0x8e:  // BINBYTES8
    case 0x96:  // BYTEARRAY8
      push_text(Kind::kBytes, text<std::uint64_t>());
      break;
    case ')':  // EMPTY_TUPLE
      push({.kind = Kind::kTuple});
      break;
    case 't':  // TUPLE
      push_container(Kind::kTuple, pop_to_mark());
      break;
    case 0x85:  // TUPLE1
    case 0x86:  // TUPLE2
    case 0x87:  // TUPLE3
      push_tuple_of(static_cast<std::size_t>(opcode) - 0x84);
      break;
    case ']':   // EMPTY_LIST
    case 0x8f:  // EMPTY_SET
      push({.kind = Kind::kList});
      break;
    case 'l':   // LIST
    case 0x91:  // FROZENSET
      push_container(Kind::kList, pop_to_mark());
      break;
    case 'a':  // APPEND
      append_one();
      break;
    case 'e':   // APPENDS
    case 0x90:  // ADDITEMS
      append(pop_to_mark());
      break;
    case '}':  // EMPTY_DICT
      push({.kind = Kind::kDict});
      break;
    case 'd':  // DICT
    {
      std::vector<PickleId> items = pop_to_mark();
      push({.kind = Kind::kDict});
      set_items(items);
      break;
    }
    case 's':  // SETITEM
      set_one();
      break;
    case 'u':  // SETITEMS
      set_items(pop_to_mark());
      break;
    case 'c':  // GLOBAL
    {
      const std::string module = line();
      push_global(module + "." + line());
      break;
    }
    case 0x93:  // STACK_GLOBAL
      push_stack_global();
      break;
    case 'R':   // REDUCE
    case 0x81:  // NEWOBJ
      reduce();
      break;
    case 'b':  // BUILD
      build();
      break;
    case 'Q':  // BINPERSID
      push_storage();
      break;
    case 'q':  // BINPUT
      memoize(number<std::uint8_t>());
      break;
    case 'r':  // LONG_BINPUT
      memoize(number<std::uint32_t>());
      break;
    case 0x94:  // MEMOIZE
      memoize(memo_.size());
      break;
    case 'h':  // BINGET
      recall(number<std::uint8_t>());
      break;
    case 'j':  // LONG_BINGET
      recall(number<std::uint32_t>());
      break;
    default:
      refuse(fmt::format("its pickle has the opcode {:#04x} at byte {}, which no state dict needs", opcode, at_ - 1));
  }
  return true;
}

}  // namespace

PickleDocument unpickle(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  return Unpickler(bytes, path).run();
}

}  // namespace vtissue
