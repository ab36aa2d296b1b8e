#pragma once

#include <map>
#include <string>

#include "assent/xa/resource_url.h"

namespace assent::detail::postgres {

/// A resource's URL, understood: keywords of libpq (PQconnectdbParams), and what they mean to us.
struct Settings {
  std::map<std::string, std::string> keywords;  ///< with the password: never shown
  std::string address;                          ///< without password, for people
  bool tls_required = false;                    ///< refuse a session that is not encrypted, a local socket's too

  /// Throws Error{configuration} on a parameter we do not know, or one whose value makes no sense.
  static Settings from(ResourceUrl url);
};

}  // namespace assent::detail::postgres
