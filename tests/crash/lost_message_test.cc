// Exactly one message between the process and a database is lost or late. What became of the branch is then known by
// evidence only: the witness, or proof that no session can bring the message any more.
#include <gtest/gtest.h>

#include <csignal>

#include "assent/tests/crash/world.h"
#include "assent/tests/support/tcp_proxy.h"

namespace assent::testing {
namespace {

struct Message {
  const char* description;
  const char* resource;  ///< on whose line
  const char* needle;
  const char* shape;
  TcpProxy::Fault fault;
  const char* outcome;
};

void PrintTo(const Message& message, std::ostream* out) {
  *out << message.description;
}

class Lost : public ::testing::Test {
 protected:
  void arrange(Server shop, const std::string& resource) {
    bank_ = std::make_unique<Bank>(shop);
    world_ = std::make_unique<World>(*bank_, 1);
    through_proxy_ = world_->setting();
    std::string& url = resource == "ledger" ? through_proxy_.ledger_url : through_proxy_.shop_url;
    proxy_ = std::make_unique<TcpProxy>("127.0.0.1", port_of(url));
    url = through(url, proxy_->port());
  }

  // In this order they end: the world's processes first, the line last.
  std::unique_ptr<TcpProxy> proxy_;
  std::unique_ptr<Bank> bank_;
  std::unique_ptr<World> world_;
  World::Setting through_proxy_;
};

class LostMessage : public Lost, public ::testing::WithParamInterface<std::tuple<Server, Message>> {};

TEST_P(LostMessage, has_a_definite_outcome_and_leaves_nothing_in_doubt) {
  const auto& [shop, message] = GetParam();
  if (!url(shop)) GTEST_SKIP() << no_mysql;
  arrange(shop, message.resource);
  const auto worker = world_->start(through_proxy_);
  ASSERT_EQ(kind_in(worker->ask("transfer all 100", "outcome")), "committed");
  world_->expect(effect_of("all", 100));

  proxy_->on(message.needle, message.fault);
  worker->say(std::string("transfer ") + message.shape + " 7");
  proxy_->await_fault();
  const std::string told = worker->hear("outcome");
  EXPECT_EQ(kind_in(told), message.outcome) << told;
  if (std::string(message.outcome) == "committed") world_->expect(effect_of(message.shape, 7));
  EXPECT_TRUE(eventually([&] { return world_->settled(); })) << world_->describe();
  EXPECT_EQ(world_->balances(), std::optional(world_->expected()));
  EXPECT_TRUE(eventually([&] { return worker->ask("recover", "recovered") == "recovered 0 0 0"; }));
  EXPECT_EQ(kind_in(worker->ask("transfer all 3", "outcome")), "committed");
  world_->expect(effect_of("all", 3));
  worker->ask("quit", "closed");
  world_->expect_all_is_over();
}

constexpr auto reply = TcpProxy::Fault::lose_reply;
constexpr auto request = TcpProxy::Fault::lose_request;

const Message messages[] = {
    {"ledger_commit_reply", "ledger", "COMMIT PREPARED", "all", reply, "committed"},
    {"ledger_commit_request", "ledger", "COMMIT PREPARED", "all", request, "committed"},
    {"ledger_prepare_reply", "ledger", "PREPARE TRANSACTION", "all", reply, "rolled_back"},
    {"ledger_prepare_request", "ledger", "PREPARE TRANSACTION", "all", request, "rolled_back"},
    {"ledger_one_phase_reply", "ledger", "; COMMIT", "ledger", reply, "committed"},
    {"ledger_one_phase_request", "ledger", "; COMMIT", "ledger", request, "rolled_back"},
    {"shop_commit_reply", "shop", "XA COMMIT", "all", reply, "committed"},
    {"shop_commit_request", "shop", "XA COMMIT", "all", request, "committed"},
    {"shop_prepare_reply", "shop", "XA PREPARE", "all", reply, "rolled_back"},
    {"shop_prepare_request", "shop", "XA PREPARE", "all", request, "rolled_back"},
    {"shop_one_phase_reply", "shop", "ONE PHASE", "shop", reply, "committed"},
    {"shop_one_phase_request", "shop", "ONE PHASE", "shop", request, "rolled_back"},
};

INSTANTIATE_TEST_SUITE_P(Of, LostMessage,
                         ::testing::Combine(::testing::Values(Server::mariadb, Server::mysql),
                                            ::testing::ValuesIn(messages)),
                         [](const auto& each) {
                           return std::string(std::get<1>(each.param).description) + "_with_" +
                                  name(std::get<0>(each.param));
                         });

/// The message is under way while its sender dies and recovery already runs.
class LatePrepare : public Lost, public ::testing::WithParamInterface<std::tuple<Server, std::string>> {
 protected:
  /// Holds the prepare back and kills its sender.
  void die_with_prepare_under_way() {
    const std::string& resource = std::get<1>(GetParam());
    const auto worker = world_->start(through_proxy_);
    ASSERT_EQ(kind_in(worker->ask("transfer all 100", "outcome")), "committed");
    world_->expect(effect_of("all", 100));
    if (heir_before_death_) recovery_ = world_->start();
    proxy_->on(resource == "ledger" ? "PREPARE TRANSACTION" : "XA PREPARE", TcpProxy::Fault::hold_request);
    worker->say("transfer all 7");
    proxy_->await_fault();
    worker->kill_9();
    if (!heir_before_death_) recovery_ = world_->start();
  }

  void lands_after_recovery() {
    const auto& [shop, resource] = GetParam();
    arrange(shop, resource);
    die_with_prepare_under_way();
    if (HasFatalFailure()) return;
    EXPECT_TRUE(eventually([&] { return world_->in_doubt().empty(); })) << world_->describe();
    for (int pass = 0; pass < 5; ++pass) recovery_->ask("recover", "recovered 0 0 0");
    // Held still while the prepare lands, so that it is seen to have landed.
    recovery_->signal(SIGSTOP);
    recovery_->await_stop();
    proxy_->release();
    EXPECT_TRUE(eventually([&] { return !world_->in_doubt().empty(); })) << "the late prepare did not land";
    recovery_->signal(SIGCONT);
    EXPECT_TRUE(eventually([&] { return world_->settled(); })) << world_->describe();
    EXPECT_EQ(world_->balances(), std::optional(world_->expected()));
    recovery_->ask("quit", "closed");
    world_->expect_all_is_over();
  }

  bool heir_before_death_ = false;
  std::unique_ptr<Process> recovery_;
};

TEST_P(LatePrepare, is_rolled_back_by_the_next_process_in_the_slot_without_anybody_asking) {
  if (!url(std::get<0>(GetParam()))) GTEST_SKIP() << no_mysql;
  lands_after_recovery();
}

// The neighbour adopts the slot, finds it clean, releases it, and must come back to it.
TEST_P(LatePrepare, is_rolled_back_by_a_neighbour_that_had_released_the_slot_without_anybody_asking) {
  if (!url(std::get<0>(GetParam()))) GTEST_SKIP() << no_mysql;
  heir_before_death_ = true;
  lands_after_recovery();
}

INSTANTIATE_TEST_SUITE_P(Of, LatePrepare,
                         ::testing::Values(std::tuple(Server::mariadb, std::string("ledger")),
                                           std::tuple(Server::mariadb, std::string("shop")),
                                           std::tuple(Server::mysql, std::string("shop"))),
                         [](const auto& each) {
                           return std::get<1>(each.param) + "_with_" + name(std::get<0>(each.param));
                         });

}  // namespace
}  // namespace assent::testing
