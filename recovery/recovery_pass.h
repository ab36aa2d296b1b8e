#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "assent/recovery/recoverer.h"

namespace assent {

/// One pass of the Recoverer. Internal to recovery; used by one thread, but for work on sites and on the branches of a
/// site, which run in parallel: each touches nothing but its own site, or branch, and the site's failure.
class RecoveryPass {
 public:
  RecoveryPass(Recoverer& recoverer, const std::vector<LogInHand>& logs, const std::vector<SlotState>& slots,
               const Recoverer::Pass& how);
  RecoveryReport run();

 private:
  struct Log {
    const LogInHand* hand = nullptr;
    LogId id{};
    std::map<Incarnation, IncarnationRecord> incarnations;
    std::map<std::string, Identity> recorded;
    std::map<TransactionId, Decision> unfinished;  // also those that a last resource keeps
  };

  struct Site;

  struct Branch {
    BranchReport report;
    std::string witness;          // Branch::evidence() as kept with the decision or by the engine
    const Log* log = nullptr;     // when in hand
    Site* site = nullptr;         // when its resource is configured
    bool settled_before = false;  // positive evidence from an earlier pass, or from the engine
  };

  // A configured resource in this pass.
  struct Site {
    const RecoverableResource* configured = nullptr;
    ResourceReport report;
    bool asked = false;
    std::vector<PreparedBranch> listed;
    std::optional<std::vector<KeptDecision>> kept;  // as a last resource; nothing when it could not be read
    std::vector<Xid> needless;                      // of those: rows of what is over
    std::vector<Xid> bars;                          // of those: rows that keep a session of the past from committing
    std::vector<Branch*> branches;
    std::optional<Reply> failure;  // once set, the database is not asked again in this pass; guarded by failures_ where
                                   // branches run in parallel

    ResourceManager& manager() const { return *configured->manager; }
  };

  void ask_sites();
  void ask(Site& site);
  void read_engines_then_logs();
  void ask_engine(const TransactionId& id);
  void judge_identities();
  void judge_identity(Site& site, const Log& log);
  IdentityIs identity_of(const Log& log, const std::string& name, const Site* site) const;

  void read_last_resources();
  void take_kept(Site& site, const KeptDecision& kept);
  void show_to_whoever_adopts(const KeptDecision& kept);
  void ask_last_resources();
  LogSays ask_last_resource(const TransactionId& id);
  bool gone_for_certain(const Log& log, Incarnation incarnation) const;
  LogSays decider_says(const Log& log, const TransactionId& id, const Evidence& evidence) const;

  Branch& branch(const Xid& xid);
  Branch& foreign_branch(const Site& site, const PreparedBranch& listed);
  void add_listed();
  void add_decided();
  void add_unconfirmed();
  void fill_owner(Branch& branch);
  void fill_log(Branch& branch);
  const Log* find_log(LogId id) const;
  Site* find_site(const std::string& name);

  void work_on_sites();
  void work(Site& site);
  void for_branches(const Site& site, const std::function<void(Branch&)>& work) const;
  void in_parallel(std::size_t count, const std::function<void(std::size_t)>& work) const;
  void ask_witness(Site& site, Branch& branch);
  void list_again(Site& site);
  void act(Site& site, Branch& branch);
  void commit(Site& site, Branch& branch);
  void roll_back(Site& site, Branch& branch);
  bool may_act(const Branch& branch) const;
  void note_failure(Site& site, const Reply& reply);
  std::optional<Reply> failure_of(const Site& site) const;

  void tell_engines();
  void finish_decisions();
  void clear_last_resources();
  void raise_marks();
  void raise_mark(const Log& log, const IncarnationRecord& record);
  std::uint64_t proven_over(const Log& log, const IncarnationRecord& record, std::uint64_t highest);
  void note_resources();
  void remember_failures();
  RecoveryReport report();

  void run_all(std::vector<std::function<void()>> tasks) const;

  Recoverer& recoverer_;
  const std::vector<SlotState>& slots_;
  const Recoverer::Pass how_;
  std::vector<Log> logs_;
  std::vector<Site> sites_;
  mutable Mutex failures_;
  std::map<std::string, std::size_t> site_by_name_;
  std::map<Xid, Branch> branches_;                                 // ours
  std::map<std::pair<std::string, std::string>, Branch> foreign_;  // by database system and the name it gives
  std::map<TransactionId, LiveState> live_;
  std::map<TransactionId, LogSays> last_resource_says_;
  std::map<std::pair<TransactionId, std::string>, std::string> unconfirmed_;
  std::vector<TransactionId> finished_;
  std::map<LogId, std::string> log_failures_;
};

}  // namespace assent
