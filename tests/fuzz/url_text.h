#pragma once

#include <string>
#include <string_view>

#include "assent/xa/resource_url.h"
#include "assent/xa/xid.h"

namespace assent::fuzz {

/// A URL's text with every byte of every part in %XX, so that nothing in a part can pass for punctuation.
inline std::string text_of(const ResourceUrl& url) {
  const auto encode = [](std::string_view part) {
    std::string out;
    for (const char c : part) out += '%' + to_hex({&c, 1});
    return out;
  };
  std::string out = url.scheme + "://" + encode(url.user) + ':' + encode(url.password) + '@' + encode(url.host);
  if (url.port != 0) out += ':' + std::to_string(url.port);
  out += '/' + encode(url.path);
  char separator = '?';
  for (const auto& [key, value] : url.parameters) {
    out += separator + encode(key) + '=' + encode(value);
    separator = '&';
  }
  return out;
}

inline bool same(const ResourceUrl& a, const ResourceUrl& b) {
  return a.scheme == b.scheme && a.user == b.user && a.password == b.password && a.host == b.host && a.port == b.port &&
         a.path == b.path && a.parameters == b.parameters;
}

}  // namespace assent::fuzz
