#include <vector>

#include "assent/adapters/postgres/session.h"

namespace assent::detail::postgres {
namespace {

void ignore_notice(void*, const PGresult*) {}

Reply refused(const Settings& settings, const std::string& why) {
  return Reply::not_done(Code::resource_failed, "cannot connect to " + settings.address + ": " + why);
}

}  // namespace

Result<std::unique_ptr<Session>> Session::open(const Settings& settings) {
  std::vector<const char*> keys;
  std::vector<const char*> values;
  for (const auto& [key, value] : settings.keywords) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);
  PGconn* connection = PQconnectdbParams(keys.data(), values.data(), 0);
  if (connection == nullptr) return refused(settings, "out of memory");
  std::unique_ptr<Session> session(new Session(connection, true));
  if (PQstatus(connection) != CONNECTION_OK) return refused(settings, one_line(PQerrorMessage(connection)));
  // libpq ignores sslmode on a local socket.
  if (settings.tls_required && PQsslInUse(connection) == 0) {
    return refused(settings, "TLS was asked for (sslmode) and this session would have none");
  }
  PQsetNoticeReceiver(connection, ignore_notice, nullptr);
  const Answer who = session->identify();
  if (!who.ok()) return refused(settings, who.text);
  return session;
}

}  // namespace assent::detail::postgres
