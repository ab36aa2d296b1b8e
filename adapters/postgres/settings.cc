#include "assent/adapters/postgres/settings.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "assent/xa/error.h"

namespace assent::detail::postgres {
namespace {

constexpr std::array<std::string_view, 9> passed_on = {"sslmode",          "sslrootcert",      "sslcert",
                                                       "sslkey",           "sslcrl",           "connect_timeout",
                                                       "application_name", "tcp_user_timeout", "gssencmode"};
constexpr std::array<std::string_view, 6> ssl_modes = {"disable", "allow",     "prefer",
                                                       "require", "verify-ca", "verify-full"};

template <class List>
std::string joined(const List& list) {
  std::string text;
  for (const auto each : list) text += (text.empty() ? "" : ", ") + std::string(each);
  return text;
}

void check_number(const std::string& key, const std::string& value) {
  const bool digits = !value.empty() && value.size() <= 9 &&
                      std::all_of(value.begin(), value.end(), [](char each) { return each >= '0' && each <= '9'; });
  if (!digits) {
    throw Error(ErrorCode::configuration, "PostgreSQL URL parameter " + key + " is not a whole number",
                "write for example " + key + "=5");
  }
}

}  // namespace

Settings Settings::from(ResourceUrl url) {
  take_password(url);
  Settings settings;
  settings.address = url.redacted();
  // A server that vanished without a goodbye must not hold a phase-two answer for the kernel's two hours.
  settings.keywords = {{"connect_timeout", "5"},     {"client_encoding", "UTF8"},   {"application_name", "assent"},
                       {"keepalives_idle", "30"},    {"keepalives_interval", "10"}, {"keepalives_count", "3"},
                       {"tcp_user_timeout", "30000"}};
  if (!url.host.empty()) settings.keywords["host"] = url.host;
  if (url.port != 0) settings.keywords["port"] = std::to_string(url.port);
  if (!url.user.empty()) settings.keywords["user"] = url.user;
  if (!url.password.empty()) settings.keywords["password"] = url.password;
  if (url.path.empty()) {
    throw Error(ErrorCode::configuration, "PostgreSQL URL " + settings.address + " names no database",
                "write postgresql://user@host:port/database");
  }
  settings.keywords["dbname"] = url.path;
  for (const auto& [key, value] : url.parameters) {
    if (std::find(passed_on.begin(), passed_on.end(), key) == passed_on.end()) {
      throw Error(ErrorCode::configuration, "PostgreSQL URL has the unknown parameter \"" + key.substr(0, 64) + "\"",
                  "known are " + joined(passed_on) + ", password_env and password_file");
    }
    if (key == "connect_timeout" || key == "tcp_user_timeout") check_number(key, value);
    if (key == "sslmode" && std::find(ssl_modes.begin(), ssl_modes.end(), value) == ssl_modes.end()) {
      throw Error(ErrorCode::configuration, "PostgreSQL URL parameter sslmode has an unknown value",
                  "known are " + joined(ssl_modes));
    }
    settings.keywords[key] = value;
  }
  const auto mode = settings.keywords.find("sslmode");
  settings.tls_required = mode != settings.keywords.end() &&
                          (mode->second == "require" || mode->second == "verify-ca" || mode->second == "verify-full");
  return settings;
}

}  // namespace assent::detail::postgres
