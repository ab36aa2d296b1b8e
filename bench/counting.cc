#include "assent/bench/counting.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <exception>
#include <filesystem>
#include <mutex>
#include <thread>

namespace assent::bench {
namespace {

std::uint16_t peer_port(int descriptor) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return 0;
  if (peer.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(peer).sin_port);
  if (peer.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(peer).sin6_port);
  return 0;
}

/// All clients at once, `each` transactions a client.
void run_all(TransferSide& side, int clients, int each) {
  std::mutex mutex;
  std::exception_ptr failure;
  {
    std::vector<std::jthread> threads;
    threads.reserve(static_cast<std::size_t>(clients));
    for (int client = 0; client < clients; ++client) {
      threads.emplace_back([&, client] {
        try {
          for (int i = 0; i < each; ++i) side.run_one(client);
        } catch (...) {
          const std::lock_guard lock(mutex);
          failure = std::current_exception();
        }
      });
    }
  }
  if (failure) std::rethrow_exception(failure);
}

/// A pool opens as many sessions as meet in it, so that a warm-up is more than one transaction a client.
constexpr int warm_up = 5;

struct Span {
  std::vector<ServerCounts> servers;  ///< differences
  std::map<std::uint16_t, std::uint64_t> messages;
  std::uint64_t log_syncs = 0;
};

std::vector<ServerCounts> counts(const std::vector<Database*>& databases) {
  std::vector<ServerCounts> out;
  out.reserve(databases.size());
  for (Database* database : databases) out.push_back(database->counts());
  return out;
}

std::optional<std::uint64_t> difference(const std::optional<std::uint64_t>& later,
                                        const std::optional<std::uint64_t>& earlier) {
  if (!later || !earlier) return std::nullopt;
  return *later - *earlier;
}

Span life(const std::vector<Database*>& databases, int clients, int each,
          const std::function<std::unique_ptr<TransferSide>()>& opened,
          const std::function<void(std::int64_t)>& committed) {
  Span out;
  const std::vector<ServerCounts> before = counts(databases);
  {
    const std::unique_ptr<TransferSide> side = opened();
    run_all(*side, clients, warm_up);
    auto* const assent = dynamic_cast<ThroughAssent*>(side.get());
    if (assent != nullptr) assent->prove_settled();  // and recovery's look at the beginning is over
    const auto sent = messages_sent();
    const std::uint64_t syncs = assent == nullptr ? 0 : assent->log_counters().syncs;
    run_all(*side, clients, each);
    for (const auto& [port, messages] : messages_sent()) {
      const auto earlier = sent.find(port);
      out.messages[port] = messages - (earlier == sent.end() ? 0 : earlier->second);
    }
    out.log_syncs = assent == nullptr ? 0 : assent->log_counters().syncs - syncs;
    committed(side->committed());
  }
  const std::vector<ServerCounts> after = counts(databases);
  for (std::size_t i = 0; i < after.size(); ++i) {
    out.servers.push_back({.syncs = difference(after[i].syncs, before[i].syncs),
                           .statements = difference(after[i].statements, before[i].statements)});
  }
  return out;
}

}  // namespace

std::map<std::uint16_t, std::uint64_t> messages_sent() {
  std::map<std::uint16_t, std::uint64_t> out;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int descriptor = std::stoi(entry.path().filename());
    const std::uint16_t port = peer_port(descriptor);
    tcp_info info{};
    socklen_t size = sizeof info;
    if (port == 0 || ::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) continue;
    out[port] += info.tcpi_data_segs_out;
  }
  return out;
}

std::uint16_t port_of(const Database& database) {
  const ResourceUrl& url = database.spec().url;
  if (url.port != 0) return url.port;
  return url.scheme.starts_with("postgres") ? 5432 : 3306;
}

Cost count_cost(const Transfer& transfer, int clients, int each,
                const std::function<std::unique_ptr<TransferSide>()>& opened,
                const std::function<void(std::int64_t)>& committed) {
  const std::vector<Database*> databases = transfer.all();
  const Span idle = life(databases, clients, 0, opened, committed);
  const Span busy = life(databases, clients, each, opened, committed);
  const double transactions = static_cast<double>(clients) * each;
  const auto cost = [&](const std::optional<std::uint64_t>& with,
                        const std::optional<std::uint64_t>& without) -> std::optional<double> {
    if (!with || !without) return std::nullopt;
    return (static_cast<double>(*with) - static_cast<double>(*without)) / transactions;
  };
  Cost out;
  out.transactions = static_cast<std::int64_t>(clients) * each;
  out.log_syncs = static_cast<double>(busy.log_syncs) / transactions;
  for (std::size_t i = 0; i < databases.size(); ++i) {
    DatabaseCost& one = out.databases.emplace_back();
    one.database = databases[i]->name();
    one.syncs = cost(busy.servers[i].syncs, idle.servers[i].syncs);
    one.statements = cost(busy.servers[i].statements, idle.servers[i].statements);
    const auto messages = busy.messages.find(port_of(*databases[i]));
    if (messages != busy.messages.end()) one.messages = static_cast<double>(messages->second) / transactions;
  }
  return out;
}

}  // namespace assent::bench
