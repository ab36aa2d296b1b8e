#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "assent/adapters/scripted/scripted_resource.h"
#include "assent/recovery/recoverer.h"
#include "assent/tests/unit/recoverer/memory_log.h"

namespace assent {

/// Two resources, and a log that knows them, with an incarnation of the past (1) and the live one (2).
class RecovererTest : public testing::Test {
 protected:
  RecovererTest() {
    for (const auto& each : {ledger, shop}) log.note_resource({each->name(), identity(each->name())});
    log.history.clear();
  }

  static Identity identity(const std::string& name) { return {.system = "scripted:" + name, .database = ""}; }
  static std::shared_ptr<ScriptedResource> resource(const std::string& name) {
    return std::make_shared<ScriptedResource>(name, identity(name));
  }

  Recoverer& recoverer() {
    if (!recoverer_) recoverer_ = std::make_unique<Recoverer>(configured, options);
    return *recoverer_;
  }
  /// The process ends and another one takes over: what was remembered in memory is gone.
  void restart() { recoverer_.reset(); }

  RecoveryReport pass() { return recoverer().pass({hand}, slots, how); }
  RecoveryReport dry_run() {
    Recoverer::Pass dry = how;
    dry.dry_run = true;
    return recoverer().pass({hand}, slots, dry);
  }

  TransactionId old_transaction(std::uint64_t sequence) const { return log.transaction(past, sequence); }
  TransactionId live_transaction(std::uint64_t sequence) const { return log.transaction(live, sequence); }
  void prepare_everywhere(const TransactionId& id) {
    ledger->add_prepared(Xid::of(id, "ledger"));
    shop->add_prepared(Xid::of(id, "shop"));
  }
  /// Done before: the witness says so.
  void committed(const std::shared_ptr<ScriptedResource>& where, const TransactionId& id) {
    where->set_fate(Xid::of(id, where->name()), Fate::committed);
  }

  static const BranchReport& branch(const RecoveryReport& report, const Xid& xid) {
    for (const BranchReport& each : report.branches) {
      if (each.xid == xid) return each;
    }
    ADD_FAILURE() << "no branch " << xid.text() << " in the report";
    static const BranchReport none;
    return none;
  }

  std::shared_ptr<ScriptedResource> ledger = resource("ledger");
  std::shared_ptr<ScriptedResource> shop = resource("shop");
  MemoryLog log{LogId{7}};
  const Incarnation past = log.add_incarnation(1);
  const Incarnation live = log.add_incarnation(2);
  ScriptedEngine engine;
  LogInHand hand{&log, live, &engine};
  std::vector<RecoverableResource> configured{{ledger, {}}, {shop, {}}};
  std::vector<SlotState> slots;
  Recoverer::Options options;
  Recoverer::Pass how{
      .now = std::chrono::steady_clock::time_point{}, .dry_run = false, .ask_all_now = false, .only = {}};

 private:
  std::unique_ptr<Recoverer> recoverer_;
};

}  // namespace assent
