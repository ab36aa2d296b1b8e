#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "assent/xa/code.h"

namespace assent {

/// What is certain about the effect of the verb that was asked for, whatever the code says.
enum class Certainty {
  done,      ///< it took effect
  not_done,  ///< it did not, and will not
  unknown,   ///< the answer was lost, or is no evidence: it may have taken effect, or may yet
};

std::string_view to_string(Certainty certainty);

/// The answer of every verb of the contract. `text` is for people: the database's own message, or empty.
struct Reply {
  Code code = Code::ok;
  Certainty certainty = Certainty::done;
  std::string text;

  static Reply ok() { return {}; }
  static Reply not_done(Code code, std::string text) { return {code, Certainty::not_done, std::move(text)}; }
  static Reply unknown(Code code, std::string text) { return {code, Certainty::unknown, std::move(text)}; }

  bool is_ok() const { return code == Code::ok; }
};

/// "XAER_RMFAIL (unknown): server closed the connection"
std::string describe(const Reply& reply);

/// A value, or the Reply that says why there is none.
template <class T>
class Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}          // NOLINT(google-explicit-constructor)
  Result(Reply failure) : state_(std::in_place_index<1>, std::move(failure)) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return state_.index() == 0; }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  const Reply& failure() const { return std::get<1>(state_); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }

 private:
  std::variant<T, Reply> state_;
};

}  // namespace assent
