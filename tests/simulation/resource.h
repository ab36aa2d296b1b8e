#pragma once

#include <memory>
#include <string>
#include <vector>

#include "assent/tests/simulation/database.h"
#include "assent/xa/resource_manager.h"

namespace assent::simulation {

/// The adapter of a simulated database: in the process, over sessions that can be lost.
class SimulatedResource final : public ResourceManager {
 public:
  SimulatedResource(std::string name, Database& database, int node);

  const std::string& name() const override { return name_; }
  const std::string& address() const override { return address_; }
  Result<Probe> probe() override;
  Result<std::unique_ptr<Branch>> start(const Xid& xid, const StartOptions& options) override;
  Reply commit(const Xid& xid, const FinishOptions& options) override;
  Reply rollback(const Xid& xid, const FinishOptions& options) override;
  Result<std::vector<PreparedBranch>> recover() override;
  Result<Fate> fate(const Xid& xid, const std::string& evidence) override;
  Result<Fate> settle(const Xid& xid) override;
  Result<std::vector<KeptDecision>> decisions() override;
  Result<bool> carrier_gone(const Xid& xid, const FinishOptions& options) override;
  Reply forget(const std::vector<Xid>& finished) override;
  Result<Impact> impact(const Xid&) override { return Impact{}; }
  std::vector<Finding> examine() override { return {}; }

 private:
  Answer ask(const Xid& xid, Answer (*what)(Database&, const Xid&, int node, bool flag), bool flag);

  const std::string name_;
  const std::string address_;
  Database& database_;
  const int node_;
};

/// What TransactionManager::resource<Simulated>() hands out.
struct Simulated {
  using Session = Branch;
  using Connection = int;
  static constexpr const char* kind = "simulated";
  static Session& session(Branch& branch) { return branch; }
  static bool owns(const ResourceManager&) { return true; }
};

}  // namespace assent::simulation
