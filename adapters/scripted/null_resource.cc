#include "assent/adapters/scripted/null_resource.h"

#include <utility>

namespace assent {
namespace {

class NullBranch : public Branch {
 public:
  NullBranch(Xid xid, bool read_only) : xid_(std::move(xid)), read_only_(read_only) {}
  const Xid& xid() const override { return xid_; }
  Reply end() override { return Reply::ok(); }
  Reply prepare() override { return {read_only_ ? Code::read_only : Code::ok, Certainty::done, ""}; }
  Reply commit_one_phase() override { return Reply::ok(); }
  Reply commit() override { return Reply::ok(); }
  Reply commit_deciding(const std::string&) override { return Reply::ok(); }
  Reply rollback() override { return Reply::ok(); }
  Reply set_deadline(std::optional<std::chrono::steady_clock::time_point>) override { return Reply::ok(); }
  std::string evidence() const override { return {}; }
  bool has_witness() const override { return false; }

 private:
  const Xid xid_;
  const bool read_only_;
};

}  // namespace

NullResource::NullResource(std::string name) : name_(std::move(name)), address_("null://" + name_) {}

Result<Probe> NullResource::probe() {
  return Probe{.identity = {.system = "null:" + name_, .database = ""},
               .capabilities = {.two_phase = true,
                                .prepared_survives_disconnect = true,
                                .any_session_finishes_prepared = true,
                                .session_bound_to_thread = false,
                                .settles_one_phase = true,
                                .decides = true,
                                .answers_at_once = true},
               .product = "Null"};
}

Result<std::unique_ptr<Branch>> NullResource::start(const Xid& xid, const StartOptions& options) {
  return std::unique_ptr<Branch>(std::make_unique<NullBranch>(xid, options.read_only));
}

}  // namespace assent
