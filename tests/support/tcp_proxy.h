#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <variant>

namespace assent::testing {

/// Stands between a client and a database on loopback and breaks the line at a chosen message, so that a test can lose
/// exactly one answer. Reads the client's plain bytes: ask for no TLS. Thread-safe.
class TcpProxy {
 public:
  enum class Fault {
    lose_reply,    ///< the server gets the message and answers; the answer is dropped and both sides are cut
    lose_request,  ///< the server never sees the message; both sides are cut
    hold_request,  ///< the message waits here, even after the client has gone, until release()
  };

  using Edit = std::function<std::string(std::string_view message)>;

  /// Throws std::system_error when it cannot listen.
  TcpProxy(std::string host, std::uint16_t port);
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;
  ~TcpProxy();

  std::uint16_t port() const { return port_; }

  /// Lines that are opened from now on lead to another server.
  void lead_to(std::uint16_t port) { server_port_ = port; }

  /// The next bytes of any client that contain `needle` meet `fault`, once.
  void on(std::string needle, Fault fault);
  /// The next bytes of any client that contain `needle` reach the server as `edit` makes them, once.
  void on(std::string needle, Edit edit);
  /// Blocks until the fault has struck: the answer or the request is lost, or the request is held or edited.
  void await_fault();
  /// Sends the held request on to the server and lets the line run again (or close, if the client has gone).
  void release();
  /// Cuts every line that is open now.
  void cut();
  /// The same, as a host that knows nothing of them any more: the clients' are reset.
  void reset();

  /// Lines opened so far.
  std::size_t lines() const;

 private:
  struct Shared;
  struct Line;
  using Meeting = std::variant<Fault, Edit>;
  void expect(std::string needle, Meeting meeting);
  void accept_lines();

  const std::string host_;
  std::atomic<std::uint16_t> server_port_;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::shared_ptr<Shared> shared_;
  std::list<std::unique_ptr<Line>> lines_;
  mutable std::mutex lines_mutex_;
  std::thread acceptor_;
};

}  // namespace assent::testing
