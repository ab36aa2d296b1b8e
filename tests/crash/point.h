#pragma once

#include <optional>
#include <sstream>
#include <string>

namespace assent::testing {

/// A moment of a commit: before or after one effect of the protocol on one resource, and how far the same effect on the
/// other resources is then.
///
/// As text: `prepare ledger after first`. Blanks of a verb are written `_`; the force of the log has the resource `-`.
struct Point {
  enum class Others {
    first,  ///< this effect comes first: those on the other resources wait until the point is passed
    last,   ///< this effect comes last: the others have been executed
    any,    ///< as it happens
  };

  std::string verb;
  std::string resource;
  bool executed = false;
  Others others = Others::any;

  /// `prepare ledger after`: without the others.
  std::string step() const { return verb + ' ' + resource + (executed ? " after" : " before"); }
  std::string text() const {
    return step() + (others == Others::first ? " first" : others == Others::last ? " last" : " any");
  }

  static Point from(std::istream& words) {
    Point point;
    std::string when;
    std::string others;
    words >> point.verb >> point.resource >> when >> others;
    point.executed = when == "after";
    point.others = others == "first" ? Others::first : others == "last" ? Others::last : Others::any;
    return point;
  }
  static Point from(const std::string& text) {
    std::istringstream words(text);
    return from(words);
  }
};

/// PostgreSQL's verbs of a phase are sent before the others', and their answers taken after the others', by one thread:
/// that thread cannot wait for them in between.
inline bool is_sent_ahead(const Point& point) {
  return point.resource == "ledger" && (point.verb == "prepare" || point.verb == "commit");
}
}  // namespace assent::testing
