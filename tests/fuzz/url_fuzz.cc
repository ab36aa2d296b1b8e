#include <optional>
#include <string>

#include "assent/tests/fuzz/fuzz.h"
#include "assent/tests/fuzz/url_text.h"
#include "assent/xa/error.h"
#include "assent/xa/resource_url.h"

// The URL of a resource: what is read can be written and read again; what is refused is refused in the documented way;
// and no message repeats what may be a password.

namespace {

using assent::ResourceUrl;
using assent::fuzz::is_printable;
using assent::fuzz::require;
using assent::fuzz::same;
using assent::fuzz::text_of;

constexpr std::size_t longest = 4096;
const std::string secret = "Zq7SeCrEt";

/// Nothing where the text is refused.
std::optional<ResourceUrl> parse(const std::string& text) {
  try {
    return ResourceUrl::parse(text);
  } catch (const assent::Error& error) {
    const std::string what = error.what();
    require(error.code() == assent::ErrorCode::configuration, "a bad URL is an error of the configuration");
    require(what.starts_with("malformed resource URL: ") && !error.hint().empty(), "it says what, and what to do");
    require(is_printable(what), "a message is one line");
    require(what.find(secret) == std::string::npos, "no message quotes the text");
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto url = parse(text)) {
    require(text.size() <= longest, "a URL has at most 4096 bytes");
    require(is_printable(url->redacted()), "what is shown is one line");
    const std::string again = text_of(*url);
    if (again.size() <= longest) require(same(ResourceUrl::parse(again), *url), "what is written is read the same");
  }
  if (text.find(secret) != std::string::npos) return 0;
  // A word anywhere in the text, and as the password.
  const std::size_t at = size == 0 ? 0 : data[0] % size;
  parse(text.substr(0, at) + secret + text.substr(at));
  if (const std::size_t authority = text.find("://"); authority != std::string::npos) {
    const auto url = parse(text.substr(0, authority + 3) + "u:" + secret + '@' + text.substr(authority + 3));
    if (url) require(url->redacted().find(secret) == std::string::npos, "the password is not shown");
  }
  return 0;
}
