#include "assent/tools/assent/resolver.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "assent/recovery/log_reader.h"
#include "assent/tools/assent/terminal.h"

namespace assent::tool {
namespace {

/// Of a watch: a slot whose rest needs a person is adopted again only so often, to leave it to `assent forget`.
constexpr unsigned try_fruitless_again = 12;

bool acts(const BranchReport& branch) {
  return !branch.done && branch.resolution.action != Action::none;
}

}  // namespace

Resolver::Resolver(const Setup& setup, Progress& progress)
    : setup_(setup), progress_(progress), recoverer_(watched(setup.resources, progress)) {}

Resolver::Round Resolver::round() {
  Round round;
  if (++rounds_ % try_fruitless_again == 0) fruitless_.clear();
  // An application may have made it since the last round.
  if (directory_ == nullptr) directory_ = setup_.node_directory();
  if (directory_ != nullptr) adopt_what_is_unfinished(round);
  pass(round);
  const std::size_t adopted = held_.size();
  if (directory_ != nullptr) adopt_what_is_listed(round);
  if (held_.size() != adopted) pass(round);
  release(round.report);
  round.exit = exit_of(round.report);
  for (const SlotSurvey& slot : round.troubles) {
    if (slot.fault) round.exit = graver(round.exit, exit_for(slot.fault->code()));
  }
  return round;
}

void Resolver::adopt_what_is_unfinished(Round& round) {
  for (const SlotState& state : directory_->slots()) {
    if (state.holder_pid || fruitless_.contains(state.number)) continue;
    const auto segments = log::list_segments(FileSystem::real(), state.directory);
    if (segments && segments.value.empty()) continue;
    try {
      auto view = LogView::read(FileSystem::real(), state.directory);
      const bool unfinished = !view->unfinished().empty();
      if (view->moved()) round.troubles.push_back({state, std::move(view), std::nullopt});
      if (unfinished) adopt(state, round);
    } catch (const Error& error) {
      round.troubles.push_back({state, nullptr, error});
    }
  }
}

void Resolver::adopt_what_is_listed(Round& round) {
  std::set<LogId> wanted;
  for (const BranchReport& branch : round.report.branches) {
    if (branch.evidence.owner == Owner::unheld_slot) wanted.insert(branch.transaction->log);
  }
  if (wanted.empty()) return;
  for (const SlotState& state : directory_->slots()) {
    if (!state.holder_pid && state.log && wanted.contains(*state.log)) adopt(state, round);
  }
}

void Resolver::adopt(const SlotState& state, Round& round) {
  try {
    auto slot = directory_->adopt(state.number);
    if (slot == nullptr) return;
    held_.push_back(std::move(slot));
    round.adopted.push_back(state);
  } catch (const Error& error) {
    round.troubles.push_back({state, nullptr, error});
  }
}

void Resolver::pass(Round& round) {
  std::vector<LogInHand> logs;
  for (const auto& slot : held_) logs.push_back({&slot->log(), std::nullopt, nullptr});
  const std::vector<SlotState> slots = directory_ == nullptr ? std::vector<SlotState>{} : directory_->slots();
  const auto now = std::chrono::steady_clock::now();
  if (error_is_terminal() && !logs.empty()) {
    const RecoveryReport before = recoverer_.gather(logs, slots, now);
    progress_.expect(static_cast<std::size_t>(std::ranges::count_if(before.branches, acts)));
  }
  round.report =
      recoverer_.pass(logs, slots, {.now = now, .dry_run = false, .ask_all_now = true, .only = std::nullopt});
  progress_.end();
  for (const BranchReport& branch : round.report.branches) {
    if (branch.done && branch.answer) round.settled.push_back(branch);
  }
}

void Resolver::release(const RecoveryReport& report) {
  std::erase_if(held_, [&](const std::unique_ptr<Slot>& slot) {
    const LogId log = slot->log().id();
    bool needs_person = false;
    for (const BranchReport& branch : report.branches) {
      if (!branch.transaction || branch.transaction->log != log || branch.done) continue;
      if (!branch.needs_person()) return false;
      needs_person = true;
    }
    if (needs_person) fruitless_.insert(slot->number());
    slot->log().flush();
    return true;
  });
}

}  // namespace assent::tool
