#include "assent/adapters/mysql/settings.h"

#include <charconv>

#include "assent/xa/error.h"
#include "assent/xa/xid.h"

namespace assent::mysql {
namespace {

// MySQL's own limits of names.
constexpr std::size_t max_schema = 64;
constexpr std::size_t max_user = 128;
constexpr std::uint32_t max_timeout_s = 86400;
constexpr const char* known_parameters =
    "known are socket, ssl (require, verify or off), ssl_ca, connect_timeout, read_timeout, write_timeout, "
    "recovery_wait, password_env and password_file";

[[noreturn]] void refuse(const ResourceSpec& spec, const std::string& what, const std::string& hint) {
  throw Error(ErrorCode::configuration, "resource '" + spec.name + "': " + what, hint);
}

std::uint32_t seconds(const ResourceSpec& spec, const std::string& key, const std::string& text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > max_timeout_s) {
    refuse(spec, key + "=" + text.substr(0, 32) + " is not a number of seconds", "write whole seconds, 0 to 86400");
  }
  return value;
}

Tls tls_mode(const ResourceSpec& spec, const std::string& text) {
  if (text == "require") return Tls::require;
  if (text == "verify") return Tls::verify;
  if (text == "off") return Tls::off;
  refuse(spec, "ssl=" + text.substr(0, 32) + " is not known", "write ssl=require, ssl=verify or ssl=off");
}

}  // namespace

Settings Settings::from(const ResourceSpec& spec) {
  if (!is_resource_name(spec.name)) {
    refuse(spec, "this is no name for a resource", "use 1 to 64 letters, digits, '_', '-' and '.'");
  }
  ResourceUrl url = spec.url;
  take_password(url);
  Settings out;
  out.resource = spec.name;
  if (!url.host.empty()) out.host = url.host;
  if (url.port != 0) out.port = url.port;
  out.user = url.user;
  out.password = url.password;
  out.schema = url.path;
  if (out.user.empty() || out.user.size() > max_user) {
    refuse(spec, "the URL names no user, or too long a one", "write mysql://user:password@host/schema");
  }
  if (out.schema.empty() || out.schema.size() > max_schema) {
    refuse(spec, "the URL names no schema, or too long a one", "write mysql://user:password@host/schema");
  }
  for (const auto& [key, value] : url.parameters) {
    if (key == "socket") {
      out.socket = value;
    } else if (key == "ssl") {
      out.tls = tls_mode(spec, value);
    } else if (key == "ssl_ca") {
      out.tls_ca = value;
    } else if (key == "connect_timeout") {
      out.connect_timeout_s = seconds(spec, key, value);
    } else if (key == "read_timeout") {
      out.read_timeout_s = seconds(spec, key, value);
    } else if (key == "write_timeout") {
      out.write_timeout_s = seconds(spec, key, value);
    } else if (key == "recovery_wait") {
      out.recovery_wait_s = seconds(spec, key, value);
      if (out.recovery_wait_s == 0) refuse(spec, "recovery_wait=0 would not wait at all", "write 1 or more seconds");
    } else {
      refuse(spec, "unknown parameter '" + key.substr(0, 64) + "' in the URL", known_parameters);
    }
  }
  if (out.tls == Tls::verify && out.tls_ca.empty()) {
    refuse(spec, "ssl=verify without ssl_ca", "add ssl_ca=/path/of/ca.pem, the certificate that signed the server's");
  }
  if (!out.tls_ca.empty() && out.tls != Tls::verify) {
    refuse(spec, "ssl_ca without ssl=verify would not be looked at", "add ssl=verify, or take ssl_ca away");
  }
  out.address = url.redacted();
  return out;
}

}  // namespace assent::mysql
