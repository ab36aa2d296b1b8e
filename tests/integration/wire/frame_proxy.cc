#include "assent/tests/integration/wire/frame_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
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

void send_all(int socket, std::string_view bytes) {
  while (socket >= 0 && !bytes.empty()) {
    const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;  // its reader has gone, as the next recv() tells
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

std::size_t byte(std::string_view bytes, std::size_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

}  // namespace

struct FrameProxy::Shared {
  mutable std::mutex mutex;
  std::condition_variable changed;
  bool armed = false;
  std::size_t left = 0;  ///< messages until the fault
  Fault fault = Fault::cut_before;
  bool struck = false;
  std::string struck_at;
  std::string withheld;    ///< part of the names of replies that do not pass; empty: none
  std::size_t ending = 0;  ///< lines whose client is gone and whose server is not

  /// What becomes of this message, if it is the one.
  std::optional<Fault> meets(const std::string& what) {
    const std::lock_guard lock(mutex);
    if (!armed || struck || --left > 0) return std::nullopt;
    struck = true;
    struck_at = what;
    return fault;
  }

  bool withholds(const std::string& what) const {
    const std::lock_guard lock(mutex);
    return !withheld.empty() && what.find(withheld) != std::string::npos;
  }
};

// One client and its connection to the server, on a thread of its own.
struct FrameProxy::Line {
  Line(Protocol its_protocol, int client_socket, int server_socket, std::shared_ptr<Shared> common)
      : protocol(its_protocol),
        client(client_socket),
        server(server_socket),
        wake(eventfd(0, EFD_CLOEXEC)),
        shared(std::move(common)) {
    thread = std::thread([this] { run(); });
  }
  ~Line() {
    order(Order::end);
    thread.join();
    close(wake);
  }

  enum Order : std::uint64_t { release = 1, end = 1U << 20U };
  void order(std::uint64_t what) const { static_cast<void>(!write(wake, &what, sizeof what)); }

  void run() {
    while (step()) {
    }
    leave_client();
    close(server);
    const std::lock_guard lock(shared->mutex);
    --shared->ending;
    over = true;
    shared->changed.notify_all();
  }

  bool step() {
    std::array<pollfd, 3> ready = {pollfd{client, POLLIN, 0}, pollfd{server, POLLIN, 0}, pollfd{wake, POLLIN, 0}};
    if (poll(ready.data(), ready.size(), -1) < 0) return errno == EINTR;
    if (ready[2].revents != 0) {
      std::uint64_t orders = 0;
      static_cast<void>(!read(wake, &orders, sizeof orders));
      if (orders >= Order::end) return false;
      if (client < 0) {
        send_all(server, std::exchange(held, {}));
        shutdown(server, SHUT_WR);
      }
    }
    if (client >= 0 && ready[0].revents != 0) from_client();
    return ready[1].revents == 0 || from_server();
  }

  void from_client() {
    if (!receive(client, requests)) {
      leave_client();
      shutdown(server, SHUT_WR);
      return;
    }
    while (client >= 0) {
      std::string message = take(requests, greeted);
      if (message.empty()) return;
      greeted = true;
      auto met = shared->meets("request " + name(message));
      if (met == Fault::misnumber) {
        message[3] ^= 0x40;
        met.reset();
      }
      if (!met || met == Fault::cut_after) send_all(server, message);
      if (!met) continue;
      leave_client();
      if (met == Fault::stall) {
        held = message + requests;
      } else {
        // The server reads all that passed, answers it to nobody, and then sees the end.
        shutdown(server, SHUT_WR);
      }
    }
  }

  bool from_server() {
    if (!receive(server, replies)) return false;
    while (client >= 0) {
      const std::string message = take(replies, true);
      if (message.empty()) return true;
      if (shared->withholds(name(message))) continue;
      const auto met = shared->meets("reply " + name(message));
      if (!met || met == Fault::cut_after) send_all(client, message);
      if (!met) continue;
      leave_client();
      if (met != Fault::stall) shutdown(server, SHUT_WR);
    }
    replies.clear();
    return true;
  }

  static bool receive(int socket, std::string& to) {
    std::array<char, 16384> buffer;
    ssize_t size = 0;
    do {
      size = recv(socket, buffer.data(), buffer.size(), 0);
    } while (size < 0 && errno == EINTR);
    if (size <= 0) return false;
    to.append(buffer.data(), static_cast<std::size_t>(size));
    return true;
  }

  // The first whole message, taken out of the bytes; empty when there is none yet. A client of PostgreSQL greets
  // without a type byte.
  std::string take(std::string& bytes, bool typed) const {
    std::size_t head = 4;
    std::size_t length = 0;
    if (protocol == Protocol::mysql) {
      if (bytes.size() < head) return {};
      length = head + (byte(bytes, 0) | byte(bytes, 1) << 8U | byte(bytes, 2) << 16U);
    } else {
      const std::size_t type = typed ? 1 : 0;
      head += type;
      if (bytes.size() < head) return {};
      length = type + (byte(bytes, type) << 24U | byte(bytes, type + 1) << 16U | byte(bytes, type + 2) << 8U |
                       byte(bytes, type + 3));
    }
    if (bytes.size() < length) return {};
    std::string message = bytes.substr(0, length);
    bytes.erase(0, length);
    return message;
  }

  // Enough to know it again: PostgreSQL's type, MySQL's first byte, and the readable beginning of what follows.
  std::string name(const std::string& message) const {
    std::string out;
    for (std::size_t at = protocol == Protocol::mysql ? 4 : 0; at < message.size() && out.size() < 60; ++at) {
      const char each = message[at];
      out += each >= ' ' && each <= '~' ? each : '.';
    }
    return '\'' + out + '\'';
  }

  void leave_client() {
    if (client < 0) return;
    // What has passed reaches it even though it may still be sending.
    shutdown(client, SHUT_WR);
    close(std::exchange(client, -1));
    const std::lock_guard lock(shared->mutex);
    ++shared->ending;
  }

  const Protocol protocol;
  int client;
  const int server;
  const int wake;
  std::shared_ptr<Shared> shared;
  bool greeted = false;
  bool over = false;  ///< guarded by shared->mutex
  std::string requests;
  std::string replies;
  std::string held;
  std::thread thread;
};

FrameProxy::FrameProxy(Protocol protocol, std::string host, std::uint16_t port)
    : protocol_(protocol), host_(std::move(host)), server_port_(port), shared_(std::make_shared<Shared>()) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback("127.0.0.1", 0);
  socklen_t size = sizeof address;
  if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, 64) != 0 || getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::system_error(errno, std::generic_category(), "FrameProxy cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_lines(); });
}

FrameProxy::~FrameProxy() {
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
}

void FrameProxy::accept_lines() {
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
    const int on = 1;
    for (const int end : {client, server}) static_cast<void>(setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    const std::lock_guard lock(lines_mutex_);
    lines_.remove_if([&](const auto& line) {
      const std::lock_guard state(shared_->mutex);
      return line->over;
    });
    lines_.push_back(std::make_unique<Line>(protocol_, client, server, shared_));
  }
}

void FrameProxy::withhold(std::string part) {
  const std::lock_guard lock(shared_->mutex);
  shared_->withheld = std::move(part);
}

void FrameProxy::arm(std::size_t number, Fault fault) {
  const std::lock_guard lock(shared_->mutex);
  shared_->armed = true;
  shared_->left = number;
  shared_->fault = fault;
  shared_->struck = false;
  shared_->struck_at.clear();
}

void FrameProxy::disarm() {
  const std::lock_guard lock(shared_->mutex);
  shared_->armed = false;
}

bool FrameProxy::struck() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->struck;
}

std::string FrameProxy::struck_at() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->struck_at;
}

void FrameProxy::let_go() {
  {
    const std::lock_guard lock(lines_mutex_);
    for (auto& line : lines_) line->order(Line::release);
  }
  std::unique_lock lock(shared_->mutex);
  shared_->changed.wait(lock, [&] { return shared_->ending == 0; });
}

}  // namespace assent::testing
