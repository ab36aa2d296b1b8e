#pragma once

#include <cstdint>
#include <string>

#include "assent/xa/resource_url.h"

namespace assent::mysql {

enum class Tls {
  off,      ///< the default, as the client library has it: plain text, also where the server offers TLS
  require,  ///< encrypted, or refused; the certificate is not looked at
  verify,   ///< encrypted with a certificate that `ssl_ca` signed and that names the host, or refused
};

/// What a URL says, checked:
/// `mysql://user[:password]@host[:port]/schema[?socket=…&ssl=…&ssl_ca=…&connect_timeout=…&read_timeout=…&write_timeout=…&recovery_wait=…]`
/// (`mariadb://` likewise), with `password_env` or `password_file` for the password. Timeouts are whole seconds.
struct Settings {
  std::string resource;
  std::string host = "127.0.0.1";
  std::uint16_t port = 3306;
  std::string socket;  ///< path of a Unix socket; host and port are not used then
  std::string user;
  std::string password;
  std::string schema;
  Tls tls = Tls::off;
  std::string tls_ca;
  std::uint32_t connect_timeout_s = 10;
  /// 0: for ever. A reply that does not come in time makes the verb's effect unknown, so none is set unless asked for.
  std::uint32_t read_timeout_s = 0;
  std::uint32_t write_timeout_s = 0;
  /// How long recovery waits for a session that is in its way: the branch's own, or another recovery that fell silent.
  std::uint32_t recovery_wait_s = 5;
  std::string address;  ///< the URL without its password

  /// Throws Error{configuration}.
  static Settings from(const ResourceSpec& spec);
};

}  // namespace assent::mysql
