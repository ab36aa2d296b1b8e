#include "assent/adapters/postgres/native.h"

#include <sys/socket.h>

#include <string_view>
#include <utility>

#include "assent/adapters/postgres/answer.h"

namespace assent::detail::postgres {
namespace {

void ignore_notice(void*, const char*) {}

// A text of several could end the transaction with one statement and fail with another, and look like one that the
// server could not read.
bool is_one_statement(std::string_view text) {
  const std::size_t end = text.find(';');
  return end == std::string_view::npos || text.find_first_not_of("; \t\r\n", end) == std::string_view::npos;
}

// pqxx keeps its PGconn private and offers no way to it. Naming a private member in an explicit instantiation is the
// one place where the language allows it ([temp.spec.general]/6).
PGconn* raw_of(const NativeConnection& connection);
template <auto Member>
struct RawOf {
  friend PGconn* raw_of(const NativeConnection& connection) { return (connection.*Member)(); }
};
template struct RawOf<&NativeConnection::raw_connection>;

[[noreturn]] void refuse_commit() {
  throw pqxx::usage_error(
      "this transaction is one branch of a distributed transaction: the transaction manager commits it");
}

#if PQXX_VERSION_MAJOR >= 7

class BranchTransaction final : public pqxx::dbtransaction {
 public:
  explicit BranchTransaction(pqxx::connection& connection) : pqxx::dbtransaction(connection) { register_transaction(); }
  ~BranchTransaction() noexcept override { close(); }

 private:
  void do_commit() override { refuse_commit(); }
  void do_abort() override {}
};

class Pooled final : public Native {
 public:
  Pooled(PGconn* connection, Opening& opening)
      : Native(connection, &opening),
        connection_(pqxx::connection::seize_raw_connection(connection)),
        transaction_(std::make_unique<BranchTransaction>(connection_)) {}
  ~Pooled() override {
    transaction_.reset();
    PGconn* const raw = std::move(connection_).release_raw_connection();
    if (raw != nullptr) PQsetNoticeProcessor(raw, ignore_notice, nullptr);
  }
  bool intact() const override { return raw_of(connection_) == raw_; }

 private:
  pqxx::dbtransaction& begun() override { return *transaction_; }

  pqxx::connection connection_;
  std::unique_ptr<BranchTransaction> transaction_;
};

class KeptFromReconnecting {  // libpqxx 7 never reconnects
 public:
  explicit KeptFromReconnecting(NativeConnection&) {}
};

#else

class BranchTransaction final : public pqxx::dbtransaction {
 public:
  explicit BranchTransaction(pqxx::connection_base& connection)
      : namedclass("branch"), pqxx::dbtransaction(connection) {
    Begin();
  }
  ~BranchTransaction() noexcept override { End(); }

 private:
  void do_begin() override {}
  // dbtransaction's own would abort at the first failed statement, and no savepoint could be returned to.
  pqxx::result do_exec(const char query[]) override { return direct_exec(query); }
  void do_commit() override { refuse_commit(); }
  void do_abort() override {}
};

// Hands out one open connection, once, and keeps it open.
class OneConnection final : public pqxx::connectionpolicy {
 public:
  explicit OneConnection(PGconn* connection) : pqxx::connectionpolicy(""), connection_(connection) {}
  handle do_startconnect(handle) override {
    if (connection_ == nullptr || PQstatus(connection_) != CONNECTION_OK) {
      connection_ = nullptr;
      throw pqxx::broken_connection("the session of this branch is lost");
    }
    return connection_;
  }
  handle do_completeconnect(handle same) override { return same; }
  handle do_dropconnect(handle) noexcept override { return nullptr; }
  handle do_disconnect(handle) noexcept override {
    connection_ = nullptr;
    return nullptr;
  }

 private:
  PGconn* connection_;
};

struct HoldsPolicy {
  OneConnection policy;
};

class PooledConnection final : private HoldsPolicy, public pqxx::connection_base {
 public:
  explicit PooledConnection(PGconn* connection)
      : HoldsPolicy{OneConnection(connection)}, pqxx::connection_base(policy) {
    init();
  }
  ~PooledConnection() { close(); }
};

class Pooled final : public Native {
 public:
  Pooled(PGconn* raw, Opening& opening)
      : Native(raw, &opening),
        connection_(std::make_unique<PooledConnection>(raw)),
        transaction_(std::make_unique<BranchTransaction>(*connection_)) {}
  ~Pooled() override {
    transaction_.reset();
    connection_.reset();
    PQsetNoticeProcessor(raw_, ignore_notice, nullptr);
  }
  bool intact() const override { return true; }

 private:
  pqxx::dbtransaction& begun() override { return *transaction_; }

  std::unique_ptr<PooledConnection> connection_;
  std::unique_ptr<BranchTransaction> transaction_;
};

bool& inhibition_of(NativeConnection& connection);
template <auto Member>
struct InhibitionOf {
  friend bool& inhibition_of(NativeConnection& connection) { return connection.*Member; }
};
template struct InhibitionOf<&NativeConnection::m_inhibit_reactivation>;

class KeptFromReconnecting {
 public:
  explicit KeptFromReconnecting(NativeConnection& connection)
      : inhibited_(inhibition_of(connection)), before_(std::exchange(inhibited_, true)) {}
  KeptFromReconnecting(const KeptFromReconnecting&) = delete;
  KeptFromReconnecting& operator=(const KeptFromReconnecting&) = delete;
  ~KeptFromReconnecting() { inhibited_ = before_; }

 private:
  bool& inhibited_;
  bool before_;
};

#endif

class Adopted final : public Native {
 public:
  explicit Adopted(NativeConnection& borrowed)
      : Native(raw_of(borrowed), nullptr), borrowed_(borrowed), kept_(borrowed), transaction_(borrowed) {}
  bool intact() const override { return raw_of(borrowed_) == raw_; }

 private:
  pqxx::dbtransaction& begun() override { return transaction_; }

  NativeConnection& borrowed_;
  KeptFromReconnecting kept_;
  BranchTransaction transaction_;
};

}  // namespace

pqxx::result Native::exec(const std::string& text) {
  if (opening_ == nullptr || opening_->said || !is_one_statement(text)) return transaction().exec(text);
  opening_->said = true;
  try {
    return begun().exec(opening_->text + ";\n" + text);
  } catch (const std::exception&) {
    // A statement that fails leaves a failed transaction, but of a text that it cannot read the server does nothing.
    if (PQtransactionStatus(raw_) != PQTRANS_IDLE) throw;
  }
  say_alone();
  return begun().exec(text);
}

pqxx::dbtransaction& Native::transaction() {
  if (opening_ != nullptr && !std::exchange(opening_->said, true)) say_alone();
  return begun();
}

void Native::say_alone() {
  const Answer::Owned result{PQexec(raw_, opening_->text.c_str())};
  if (PQresultStatus(result.get()) == PGRES_COMMAND_OK) return;
  const std::string why = one_line(PQerrorMessage(raw_));
  // Nothing may go through the connection outside of the transaction: it ends, and libpq is made to see that.
  shutdown(PQsocket(raw_), SHUT_RDWR);
  static_cast<void>(PQconsumeInput(raw_));
  throw pqxx::broken_connection(why);
}

std::unique_ptr<Native> Native::over(PGconn* connection, Opening& opening) {
  return std::make_unique<Pooled>(connection, opening);
}

std::unique_ptr<Native> Native::over(NativeConnection& borrowed) {
  return std::make_unique<Adopted>(borrowed);
}

PGconn* Native::below(NativeConnection& connection) {
  return raw_of(connection);
}

}  // namespace assent::detail::postgres
