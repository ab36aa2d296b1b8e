#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace assent::testing {

/// Stands between a client and a database on loopback, takes what passes apart into the messages of the database's own
/// protocol, counts them, and breaks the line at one of them. Ask for no TLS. Thread-safe.
class FrameProxy {
 public:
  enum class Protocol { postgres, mysql };
  enum class Fault {
    cut_before,  ///< the message does not pass, and both sides see the end of the line
    cut_after,   ///< the message passes, then both sides see the end of the line
    /// The message does not pass, and the client gives up; the server sees nothing of that until let_go().
    stall,
    misnumber,  ///< MySQL's: the request passes with another sequence number than the server expects
  };

  /// Throws std::system_error when it cannot listen.
  FrameProxy(Protocol protocol, std::string host, std::uint16_t port);
  FrameProxy(const FrameProxy&) = delete;
  FrameProxy& operator=(const FrameProxy&) = delete;
  ~FrameProxy();

  std::uint16_t port() const { return port_; }

  /// Counts from now on, requests and replies of all lines, and breaks the line at the message of this number, the
  /// first being 1.
  void arm(std::size_t number, Fault fault);
  /// Neither counts nor breaks any more.
  void disarm();
  /// Whether the fault has struck since arm().
  bool struck() const;
  /// The message that it struck, for people: "reply 'Z'".
  std::string struck_at() const;

  /// From now on no reply passes in whose name (struck_at()) this stands.
  void withhold(std::string part);

  /// Sends on what is held, and returns when every server has ended the lines whose client is gone.
  void let_go();

 private:
  struct Shared;
  struct Line;
  void accept_lines();

  const Protocol protocol_;
  const std::string host_;
  const std::uint16_t server_port_;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::shared_ptr<Shared> shared_;
  std::mutex lines_mutex_;
  std::list<std::unique_ptr<Line>> lines_;
  std::thread acceptor_;
};

}  // namespace assent::testing
