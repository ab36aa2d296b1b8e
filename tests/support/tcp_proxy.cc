#include "assent/tests/support/tcp_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

namespace assent::testing {
namespace {

sockaddr_in loopback(const std::string& host, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void no_delay(int socket) {
  const int on = 1;
  static_cast<void>(setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}

}  // namespace

struct TcpProxy::Shared {
  std::mutex mutex;
  std::condition_variable struck_changed;
  std::string needle;
  std::optional<Meeting> meeting;
  bool struck = false;
};

// One client and its connection to the server, on a thread of its own.
struct TcpProxy::Line {
  Line(int client_socket, int server_socket, std::shared_ptr<Shared> common)
      : client(client_socket), server(server_socket), wake(eventfd(0, EFD_CLOEXEC)), shared(std::move(common)) {
    thread = std::thread([this] { run(); });
  }
  ~Line() {
    order(cut);
    thread.join();
    close(wake);
  }

  enum Order : unsigned { cut = 1, release = 2, reset = 4 };
  void order(unsigned what) {
    {
      const std::lock_guard lock(shared->mutex);
      orders |= what;
    }
    const std::uint64_t one = 1;
    static_cast<void>(!write(wake, &one, sizeof one));
  }

  void strike() {
    const std::lock_guard lock(shared->mutex);
    shared->struck = true;
    shared->struck_changed.notify_all();
  }

  // What these bytes of the client meet, if anything.
  std::optional<Meeting> meets(std::string_view bytes) {
    const std::lock_guard lock(shared->mutex);
    if (!shared->meeting) return std::nullopt;
    window += bytes;
    if (window.find(shared->needle) == std::string::npos) {
      if (window.size() > shared->needle.size()) window.erase(0, window.size() - shared->needle.size());
      return std::nullopt;
    }
    window.clear();  // or what comes next on this line would meet the next fault as well
    return std::exchange(shared->meeting, std::nullopt);
  }

  void run() {
    while (step()) {
    }
    if (client >= 0) close(client);
    close(server);
  }

  bool step() {
    std::array<pollfd, 3> ready = {pollfd{client, POLLIN, 0}, pollfd{server, POLLIN, 0}, pollfd{wake, POLLIN, 0}};
    if (poll(ready.data(), ready.size(), -1) < 0) return errno == EINTR;
    if (ready[2].revents != 0 && !obey()) return false;
    if (ready[0].revents != 0 && !from_client()) return false;
    return ready[1].revents == 0 || from_server();
  }

  bool obey() {
    std::uint64_t count = 0;
    static_cast<void>(!read(wake, &count, sizeof count));
    unsigned given = 0;
    {
      const std::lock_guard lock(shared->mutex);
      given = std::exchange(orders, 0U);
    }
    if ((given & Order::reset) != 0) {
      const linger at_once{.l_onoff = 1, .l_linger = 0};
      static_cast<void>(setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
      return false;
    }
    if ((given & Order::cut) != 0) return false;
    if ((given & Order::release) != 0 && holding) {
      holding = false;
      if (!send_all(server, std::exchange(held, {}))) return false;
      // The client has gone: the server must have the chance to obey before it sees the end of the line.
      if (client < 0) shutdown(server, SHUT_WR);
    }
    return true;
  }

  bool from_client() {
    std::array<char, 16384> buffer;
    const ssize_t size = recv(client, buffer.data(), buffer.size(), 0);
    if (size <= 0) {
      if (!holding) return false;
      close(std::exchange(client, -1));
      return true;
    }
    const std::string_view bytes(buffer.data(), static_cast<std::size_t>(size));
    if (holding) {
      held += bytes;
      return true;
    }
    const auto meeting = meets(bytes);
    if (!meeting) return send_all(server, bytes);
    if (const auto* edit = std::get_if<Edit>(&*meeting)) {
      strike();
      return send_all(server, (*edit)(bytes));
    }
    switch (std::get<Fault>(*meeting)) {
      case Fault::lose_request:
        strike();
        return false;
      case Fault::hold_request:
        holding = true;
        held = bytes;
        strike();
        return true;
      case Fault::lose_reply:
        losing = true;
        return send_all(server, bytes);
    }
    return false;
  }

  bool from_server() {
    std::array<char, 16384> buffer;
    const ssize_t size = recv(server, buffer.data(), buffer.size(), 0);
    if (losing) {
      strike();
      return false;
    }
    if (size <= 0) return false;
    return client < 0 || send_all(client, {buffer.data(), static_cast<std::size_t>(size)});
  }

  int client;
  int server;
  const int wake;
  std::shared_ptr<Shared> shared;
  unsigned orders = 0;
  bool holding = false;
  bool losing = false;
  std::string held;
  std::string window;
  std::thread thread;
};

TcpProxy::TcpProxy(std::string host, std::uint16_t port)
    : host_(std::move(host)), server_port_(port), shared_(std::make_shared<Shared>()) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback("127.0.0.1", 0);
  socklen_t size = sizeof address;
  if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, 64) != 0 || getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::system_error(errno, std::generic_category(), "TcpProxy cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_lines(); });
}

TcpProxy::~TcpProxy() {
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
}

void TcpProxy::accept_lines() {
  for (;;) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return;
    }
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(host_, server_port_);
    if (connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      close(server);
      close(client);
      continue;
    }
    no_delay(client);
    no_delay(server);
    const std::lock_guard lock(lines_mutex_);
    lines_.push_back(std::make_unique<Line>(client, server, shared_));
  }
}

void TcpProxy::on(std::string needle, Fault fault) {
  expect(std::move(needle), fault);
}

void TcpProxy::on(std::string needle, Edit edit) {
  expect(std::move(needle), std::move(edit));
}

void TcpProxy::expect(std::string needle, Meeting meeting) {
  const std::lock_guard lock(shared_->mutex);
  shared_->needle = std::move(needle);
  shared_->meeting = std::move(meeting);
  shared_->struck = false;
}

void TcpProxy::await_fault() {
  std::unique_lock lock(shared_->mutex);
  shared_->struck_changed.wait(lock, [&] { return shared_->struck; });
}

void TcpProxy::release() {
  const std::lock_guard lock(lines_mutex_);
  for (auto& line : lines_) line->order(Line::release);
}

void TcpProxy::cut() {
  const std::lock_guard lock(lines_mutex_);
  for (auto& line : lines_) line->order(Line::cut);
}

void TcpProxy::reset() {
  const std::lock_guard lock(lines_mutex_);
  for (auto& line : lines_) line->order(Line::reset);
}

std::size_t TcpProxy::lines() const {
  const std::lock_guard lock(lines_mutex_);
  return lines_.size();
}

}  // namespace assent::testing
