#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace assent {

/// `scheme://[user[:password]@][host[:port]]/path[?key=value&…]`, with %XX in every part. IPv6 hosts in brackets.
struct ResourceUrl {
  std::string scheme;
  std::string user;
  std::string password;
  std::string host;
  std::uint16_t port = 0;  ///< 0: not given
  std::string path;        ///< without the slash that ends the authority: "bank", "/var/lib/app/x.db"
  std::map<std::string, std::string> parameters;

  /// Throws Error{configuration} with one sentence that never repeats the password.
  static ResourceUrl parse(std::string_view text);

  /// One line for people: without password and without the values of parameters that hold secrets.
  std::string redacted() const;
};

/// A resource as configured. Built from `assent.toml` or in code.
struct ResourceSpec {
  std::string name;
  ResourceUrl url;
  std::vector<std::string> formerly;  ///< earlier names under which the log may know it
  std::size_t pool_size = 16;         ///< most sessions at once
  std::uint32_t pool_wait_ms = 5000;  ///< longest wait for a session when the transaction has no deadline
};

/// Where a password comes from, in this order: `password_env` (name of an environment variable), `password_file` (path;
/// one trailing newline is dropped) among the URL's parameters, or the URL itself. Takes those parameters out of the
/// URL. Throws Error{configuration} when what is named is not there.
void take_password(ResourceUrl& url);

}  // namespace assent
