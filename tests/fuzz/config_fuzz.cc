#include <optional>
#include <set>
#include <string>

#include "assent/tests/fuzz/fuzz.h"
#include "assent/tests/fuzz/url_text.h"
#include "assent/tm/config.h"
#include "assent/xa/error.h"
#include "assent/xa/xid.h"

// assent.toml: what is read keeps its bounds, can be written and read again; what is refused is refused with its line,
// and without the password.

namespace {

using assent::Config;
using assent::ResourceSpec;
using assent::fuzz::require;

const std::string secret = "Zq7SeCrEt";

/// `hidden` may stand in no message.
std::optional<Config> parse(const std::string& text, const std::string& hidden) {
  try {
    return assent::parse_config(text, "fuzz.toml", "/etc/shop");
  } catch (const assent::Error& error) {
    const std::string what = error.what();
    require(error.code() == assent::ErrorCode::configuration, "a bad file is an error of the configuration");
    require(what.starts_with("fuzz.toml:") && !error.hint().empty(), "it says where, and what to do");
    require(hidden.empty() || what.find(hidden) == std::string::npos, "no message holds the password");
    return std::nullopt;
  }
}

void check_bounds(const Config& config) {
  require(assent::is_resource_name(config.node), "the node has a usable name");
  require(config.log_directory.starts_with('/') && config.log_directory.find('\0') == std::string::npos,
          "the log's directory is an absolute path");
  require(config.recovery_interval.count() >= 10 && config.recovery_interval.count() <= 86'400'000, "interval");
  require(config.threads >= 1 && config.threads <= 4096, "threads");
  std::set<std::string> names;
  for (const ResourceSpec& spec : config.resources) {
    require(assent::is_resource_name(spec.name) && names.insert(spec.name).second, "names are usable and unique");
    for (const std::string& old : spec.formerly) {
      require(assent::is_resource_name(old) && names.insert(old).second, "former names are, too");
    }
    require(spec.pool_size >= 1 && spec.pool_size <= 10'000 && spec.pool_wait_ms <= 86'400'000, "pool");
  }
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') {
      out += "\\u00" + assent::to_hex({&c, 1});
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string text_of(const Config& config) {
  std::string out = "node = " + quoted(config.node) + "\nlog = " + quoted(config.log_directory) +
                    "\nrecovery_interval_ms = " + std::to_string(config.recovery_interval.count()) +
                    "\nthreads = " + std::to_string(config.threads) +
                    "\nack_at = " + (config.ack_at == assent::AckAt::decided ? "'decided'" : "'finished'") +
                    "\nbehind = " + std::to_string(config.behind) + '\n';
  for (const ResourceSpec& spec : config.resources) {
    out += "[resources." + quoted(spec.name) + "]\nurl = " + quoted(assent::fuzz::text_of(spec.url)) +
           "\npool = " + std::to_string(spec.pool_size) + "\npool_wait_ms = " + std::to_string(spec.pool_wait_ms) +
           "\nformerly = [";
    for (const std::string& old : spec.formerly) out += quoted(old) + ',';
    out += "]\n";
  }
  return out;
}

void check_same(const Config& a, const Config& b) {
  require(a.node == b.node && a.log_directory == b.log_directory && a.recovery_interval == b.recovery_interval &&
              a.threads == b.threads && a.ack_at == b.ack_at && a.behind == b.behind &&
              a.resources.size() == b.resources.size(),
          "what is written is read the same");
  for (std::size_t i = 0; i < a.resources.size(); ++i) {
    const ResourceSpec& one = a.resources[i];
    const ResourceSpec& other = b.resources[i];
    require(one.name == other.name && assent::fuzz::same(one.url, other.url) && one.formerly == other.formerly &&
                one.pool_size == other.pool_size && one.pool_wait_ms == other.pool_wait_ms,
            "what is written of a resource is read the same");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto config = parse(text, "")) {
    check_bounds(*config);
    bool fits = true;
    for (const ResourceSpec& spec : config->resources) fits = fits && assent::fuzz::text_of(spec.url).size() <= 4096;
    if (fits) check_same(*config, assent::parse_config(text_of(*config), "again.toml", "/elsewhere"));
  }
  if (text.find(secret) == std::string::npos) {
    parse("node = \"n\"\nlog = \"l\"\n[resources.a]\nurl = \"mysql://u:" + secret + "@h/" + text + "\"\n", secret);
  }
  return 0;
}
