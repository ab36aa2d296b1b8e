// Opening sessions: what cannot work is said in one clear sentence, without the password.

#include "assent/tests/integration/wire/frame_proxy.h"
#include "fixture.h"

namespace assent::mysql_test {
namespace {

class Connections : public Server {
 protected:
  /// The URL with something changed.
  std::shared_ptr<ResourceManager> with(const std::function<void(ResourceUrl&)>& change) {
    ResourceSpec spec = spec_of(url_);
    change(spec.url);
    return registry_.open(spec);
  }
  std::string password() { return ResourceUrl::parse(url_).password; }
};
ASSENT_ON_EACH_SERVER(Connections);

TEST_P(Connections, tell_what_the_server_is) {
  const auto probe = shop_->probe();
  ASSERT_TRUE(probe);
  EXPECT_TRUE(probe->product.starts_with(mariadb() ? "MariaDB 10." : "MySQL ")) << probe->product;
  EXPECT_TRUE(probe->identity.system.starts_with("mysql:"));
  EXPECT_EQ(probe->identity.system.size(), 6 + 36);
  EXPECT_EQ(probe->identity.database, "assent_test");
  EXPECT_TRUE(probe->capabilities.two_phase);
  EXPECT_TRUE(probe->capabilities.prepared_survives_disconnect);
  EXPECT_EQ(probe->capabilities.any_session_finishes_prepared, !mariadb());
  EXPECT_FALSE(probe->capabilities.session_bound_to_thread);
  EXPECT_TRUE(probe->capabilities.settles_one_phase);
  EXPECT_EQ(shop_->probe()->identity, probe->identity);
  EXPECT_NE(with([](ResourceUrl& url) { url.path = "assent_test2"; })->probe()->identity, probe->identity);
}

TEST_P(Connections, say_that_the_password_is_wrong_and_not_which) {
  const auto probe = with([](ResourceUrl& url) { url.password = "sesame-not"; })->probe();
  ASSERT_FALSE(probe);
  EXPECT_EQ(probe.failure().code, Code::resource_error);
  EXPECT_EQ(probe.failure().certainty, Certainty::not_done);
  EXPECT_NE(probe.failure().text.find("Access denied"), std::string::npos) << probe.failure().text;
  EXPECT_EQ(probe.failure().text.find("sesame-not"), std::string::npos) << probe.failure().text;
  EXPECT_EQ(shop_->address().find(password()), std::string::npos);
}

TEST_P(Connections, say_that_there_is_no_such_schema) {
  const auto probe = with([](ResourceUrl& url) { url.path = "assent_nowhere"; })->probe();
  ASSERT_FALSE(probe);
  EXPECT_EQ(probe.failure().code, Code::resource_error);
  EXPECT_NE(probe.failure().text.find("assent_nowhere"), std::string::npos) << probe.failure().text;
}

TEST_P(Connections, fail_for_now_when_nobody_listens) {
  const auto probe = with([](ResourceUrl& url) { url.port = 1; })->probe();
  ASSERT_FALSE(probe);
  EXPECT_EQ(probe.failure().code, Code::resource_failed) << probe.failure().text;
  EXPECT_EQ(probe.failure().certainty, Certainty::not_done);
}

TEST_P(Connections, give_the_tls_that_was_asked_for_or_refuse) {
  const auto asking = with([](ResourceUrl& url) { url.parameters["ssl"] = "require"; });
  const auto probe = asking->probe();
  if (mariadb()) {
    // The dev server has no certificate; the client library alone would go on in plain text.
    ASSERT_FALSE(probe);
    EXPECT_EQ(probe.failure().code, Code::resource_error);
    EXPECT_NE(probe.failure().text.find("TLS"), std::string::npos) << probe.failure().text;
    return;
  }
  ASSERT_TRUE(probe) << describe(probe.failure());
  const auto branch = asking->start(xid(), {});
  ASSERT_TRUE(branch);
  const std::unique_ptr<sql::Statement> statement(MySql::session(**branch).createStatement());
  const std::unique_ptr<sql::ResultSet> cipher(statement->executeQuery("SHOW SESSION STATUS LIKE 'Ssl_cipher'"));
  ASSERT_TRUE(cipher->next());
  EXPECT_NE(cipher->getString(2).asStdString(), "");
}

TEST_P(Connections, refuse_a_certificate_that_the_given_authority_did_not_sign) {
  const auto probe = with([](ResourceUrl& url) {
                       url.parameters["ssl"] = "verify";
                       url.parameters["ssl_ca"] = "/etc/ssl/certs/ca-certificates.crt";
                     })->probe();
  ASSERT_FALSE(probe);
  EXPECT_NE(probe.failure().text.find(mariadb() ? "TLS" : "cert"), std::string::npos) << probe.failure().text;
}

TEST_P(Connections, are_in_plain_text_unless_tls_is_asked_for) {
  // Not a wish: what the client library does, and the documentation says.
  const auto branch = start(xid());
  const std::unique_ptr<sql::Statement> statement(MySql::session(*branch).createStatement());
  const std::unique_ptr<sql::ResultSet> cipher(statement->executeQuery("SHOW SESSION STATUS LIKE 'Ssl_cipher'"));
  ASSERT_TRUE(cipher->next());
  EXPECT_EQ(cipher->getString(2).asStdString(), "");
}

// As it happens to one that connects while MySQL ends a killed session.
TEST_P(Connections, begin_again_when_the_server_lost_the_beginning_of_the_handshake) {
  using Proxy = assent::testing::FrameProxy;
  const ResourceUrl server = ResourceUrl::parse(url_);
  Proxy proxy(Proxy::Protocol::mysql, server.host, server.port);
  const auto through = with([&](ResourceUrl& url) { url.port = proxy.port(); });
  proxy.arm(2, Proxy::Fault::misnumber);  // the client's first message, which answers the server's greeting
  const auto probe = through->probe();
  proxy.disarm();
  EXPECT_TRUE(proxy.struck());
  EXPECT_TRUE(proxy.struck_at().starts_with("request")) << proxy.struck_at();
  EXPECT_TRUE(probe) << describe(probe.failure());
}

}  // namespace
}  // namespace assent::mysql_test
