#pragma once

#include <memory>
#include <string>
#include <vector>

#include "assent/xa/resource_manager.h"

namespace assent {

/// Says ok to everything at once and keeps nothing: for counting and for measuring what Assent itself costs.
/// Thread-safe.
class NullResource : public ResourceManager {
 public:
  explicit NullResource(std::string name);

  const std::string& name() const override { return name_; }
  const std::string& address() const override { return address_; }
  Result<Probe> probe() override;
  Result<std::unique_ptr<Branch>> start(const Xid& xid, const StartOptions& options) override;
  Reply commit(const Xid&, const FinishOptions&) override { return Reply::ok(); }
  Reply rollback(const Xid&, const FinishOptions&) override { return Reply::ok(); }
  Result<std::vector<PreparedBranch>> recover() override { return std::vector<PreparedBranch>{}; }
  Result<Fate> fate(const Xid&, const std::string&) override { return Fate::committed; }
  Result<Fate> settle(const Xid&) override { return Fate::committed; }
  Result<std::vector<KeptDecision>> decisions() override { return std::vector<KeptDecision>{}; }
  Result<bool> carrier_gone(const Xid&, const FinishOptions&) override { return true; }
  Reply forget(const std::vector<Xid>&) override { return Reply::ok(); }
  Result<Impact> impact(const Xid&) override { return Impact{}; }
  std::vector<Finding> examine() override { return {}; }

 private:
  const std::string name_;
  const std::string address_;
};

}  // namespace assent
