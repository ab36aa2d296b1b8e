#include "assent/tools/assent/progress.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include "assent/tools/assent/terminal.h"

namespace assent::tool {
namespace {

constexpr std::size_t worth_watching = 20;
constexpr std::size_t bar_columns = 30;

class WatchedResource final : public ResourceManager {
 public:
  WatchedResource(std::shared_ptr<ResourceManager> inner, Progress& progress)
      : inner_(std::move(inner)), progress_(progress) {}

  const std::string& name() const override { return inner_->name(); }
  const std::string& address() const override { return inner_->address(); }
  Result<Probe> probe() override { return inner_->probe(); }
  Result<std::unique_ptr<Branch>> start(const Xid& xid, const StartOptions& options) override {
    return inner_->start(xid, options);
  }
  Reply commit(const Xid& xid, const FinishOptions& options) override {
    Reply reply = inner_->commit(xid, options);
    progress_.step();
    return reply;
  }
  Reply rollback(const Xid& xid, const FinishOptions& options) override {
    Reply reply = inner_->rollback(xid, options);
    progress_.step();
    return reply;
  }
  Result<std::vector<PreparedBranch>> recover() override { return inner_->recover(); }
  Result<Fate> fate(const Xid& xid, const std::string& evidence) override { return inner_->fate(xid, evidence); }
  Result<Fate> settle(const Xid& xid) override { return inner_->settle(xid); }
  Result<std::vector<KeptDecision>> decisions() override { return inner_->decisions(); }
  Result<bool> carrier_gone(const Xid& xid, const FinishOptions& options) override {
    return inner_->carrier_gone(xid, options);
  }
  Reply forget(const std::vector<Xid>& finished) override { return inner_->forget(finished); }
  Result<Impact> impact(const Xid& xid) override { return inner_->impact(xid); }
  std::vector<Finding> examine() override { return inner_->examine(); }

 private:
  std::shared_ptr<ResourceManager> inner_;
  Progress& progress_;
};

}  // namespace

void Progress::expect(std::size_t total) {
  const std::lock_guard lock(mutex_);
  total_ = total;
  done_ = 0;
  draw();
}

void Progress::step() {
  const std::lock_guard lock(mutex_);
  ++done_;
  draw();
}

void Progress::end() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(drawn_, false)) std::cerr << "\r\033[K" << std::flush;
  total_ = 0;
}

void Progress::draw() {
  if (total_ < worth_watching || !error_is_terminal()) return;
  const std::size_t filled = std::min(done_ * bar_columns / total_, bar_columns);
  std::string bar(filled, '#');
  bar.append(bar_columns - filled, '.');
  std::cerr << '\r' << what_ << " [" << bar << "] " << std::min(done_, total_) << '/' << total_ << std::flush;
  drawn_ = true;
}

std::vector<RecoverableResource> watched(const std::vector<RecoverableResource>& resources, Progress& progress) {
  std::vector<RecoverableResource> out;
  for (const RecoverableResource& each : resources) {
    out.push_back({std::make_shared<WatchedResource>(each.manager, progress), each.formerly});
  }
  return out;
}

}  // namespace assent::tool
