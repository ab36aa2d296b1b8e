#include "assent/xa/resource_url.h"

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <optional>

#include "assent/xa/error.h"
#include "assent/xa/xid.h"

namespace assent {
namespace {

constexpr std::size_t max_url = 4096;
constexpr std::size_t max_password_file = 4096;

[[noreturn]] void refuse(const std::string& what) {
  // Never quotes the text: it may hold a password.
  throw Error(ErrorCode::configuration, "malformed resource URL: " + what,
              "write scheme://[user[:password]@]host[:port]/database[?key=value], with %XX for special characters");
}

std::string percent_decode(std::string_view text, const char* part) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    std::string digits(text.substr(i + 1, 2));
    for (char& c : digits) {
      if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    }
    const auto byte = digits.size() == 2 ? from_hex(digits) : std::nullopt;
    if (!byte || *byte == std::string(1, '\0')) refuse(std::string("bad %XX in the ") + part);
    out += *byte;
    i += 2;
  }
  return out;
}

/// A terminal would act on control characters, and a line of a protocol would end at one.
std::string escape_controls(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool control = static_cast<unsigned char>(c) < ' ' || c == '\x7f';
    out += control ? '%' + to_hex({&c, 1}) : std::string(1, c);
  }
  return out;
}

void parse_authority(std::string_view authority, ResourceUrl& url) {
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
    const std::string_view user_info = authority.substr(0, at);
    authority.remove_prefix(at + 1);
    const std::size_t colon = user_info.find(':');
    url.user = percent_decode(user_info.substr(0, colon), "user");
    if (colon != std::string_view::npos) url.password = percent_decode(user_info.substr(colon + 1), "password");
  }
  std::string_view port;
  if (authority.starts_with('[')) {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) refuse("an IPv6 host without its closing bracket");
    url.host = std::string(authority.substr(1, close - 1));
    authority.remove_prefix(close + 1);
    if (!authority.empty() && !authority.starts_with(':')) refuse("text between the host and the port");
    if (!authority.empty()) port = authority.substr(1);
  } else {
    const std::size_t colon = authority.find(':');
    url.host = percent_decode(authority.substr(0, colon), "host");
    if (colon == std::string_view::npos) return;
    port = authority.substr(colon + 1);
  }
  if (port.empty()) return;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
  if (error != std::errc{} || end != port.data() + port.size() || url.port == 0) {
    refuse("the port is not a number from 1 to 65535");
  }
}

void parse_query(std::string_view query, ResourceUrl& url) {
  while (!query.empty()) {
    const std::size_t ampersand = query.find('&');
    const std::string_view pair = query.substr(0, ampersand);
    query = ampersand == std::string_view::npos ? std::string_view{} : query.substr(ampersand + 1);
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0) refuse("a parameter that is not key=value");
    std::string key = percent_decode(pair.substr(0, equals), "parameters");
    // Not named: behind a password with a '?' in it that should have been %3f, it is a part of the password.
    if (!url.parameters.emplace(key, percent_decode(pair.substr(equals + 1), "parameters")).second) {
      refuse("a parameter stands twice");
    }
  }
}

}  // namespace

ResourceUrl ResourceUrl::parse(std::string_view text) {
  if (text.size() > max_url) refuse("longer than 4096 bytes");
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '\x7f') refuse("white space or a control character");
  }
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos || colon == 0) refuse("no scheme:// at its start");
  ResourceUrl url;
  url.scheme = std::string(text.substr(0, colon));
  for (const char c : url.scheme) {
    if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '+' && c != '.') {
      refuse("the scheme has other characters than a-z, 0-9, '-', '+' and '.'");
    }
  }
  std::string_view rest = text.substr(colon + 3);
  if (const std::size_t question = rest.find('?'); question != std::string_view::npos) {
    parse_query(rest.substr(question + 1), url);
    rest = rest.substr(0, question);
  }
  const std::size_t slash = rest.find('/');
  parse_authority(rest.substr(0, slash), url);
  if (slash != std::string_view::npos) url.path = percent_decode(rest.substr(slash + 1), "path");
  return url;
}

std::string ResourceUrl::redacted() const {
  std::string out = scheme + "://";
  if (!user.empty()) out += user + '@';
  out += host.find(':') == std::string::npos ? host : '[' + host + ']';
  if (port != 0) out += ':' + std::to_string(port);
  out += '/' + path;
  char separator = '?';
  for (const auto& [key, value] : parameters) {
    const bool secret = key.find("password") != std::string::npos || key.find("secret") != std::string::npos;
    out += separator + key + '=' + (secret ? "…" : value);
    separator = '&';
  }
  return escape_controls(out);
}

void take_password(ResourceUrl& url) {
  if (const auto named = url.parameters.extract("password_env")) {
    const char* value = std::getenv(named.mapped().c_str());
    if (value == nullptr) {
      throw Error(ErrorCode::configuration,
                  "the environment variable " + named.mapped() + ", named by password_env, is not set",
                  "set it, or take password_env out of the URL");
    }
    url.password = value;
    url.parameters.erase("password_file");
    return;
  }
  if (const auto named = url.parameters.extract("password_file")) {
    std::ifstream file(named.mapped(), std::ios::binary);
    std::string content(max_password_file + 1, '\0');
    file.read(content.data(), static_cast<std::streamsize>(content.size()));
    if (!file.is_open() || file.bad() || file.gcount() > static_cast<std::streamsize>(max_password_file)) {
      throw Error(ErrorCode::configuration, "the password file " + named.mapped() + " cannot be read",
                  "check that it exists, may be read by this user, and is at most 4096 bytes long");
    }
    content.resize(static_cast<std::size_t>(file.gcount()));
    if (content.ends_with('\n')) content.pop_back();
    if (content.ends_with('\r')) content.pop_back();
    url.password = std::move(content);
  }
}

}  // namespace assent
