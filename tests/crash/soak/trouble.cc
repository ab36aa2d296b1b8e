#include "assent/tests/crash/soak/trouble.h"

#include <algorithm>
#include <csignal>
#include <future>
#include <thread>

namespace assent::testing {
namespace {

void wait_up_to(std::mt19937& random, unsigned milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(random() % (milliseconds + 1)));
}

}  // namespace

Trouble::Trouble(std::vector<Server> servers, std::size_t workers, MakeWorker make,
                 std::function<void(std::string)> note)
    : servers_(std::move(servers)), make_(std::move(make)), note_(std::move(note)) {
  for (std::size_t i = 0; i < workers; ++i) workers_.push_back(make_(i));
  for (auto& worker : workers_) worker->ask("open", "opened");
}

std::vector<Trouble::Victim> Trouble::choose(std::mt19937& random) const {
  std::vector<Victim> victims;
  // Only processes, only servers, or both; one of a kind as often as several.
  const auto kinds = 1 + random() % 3;
  const auto some = [&](bool server, std::size_t all) {
    const std::size_t many = random() % 2 == 0 ? 1 : 1 + random() % all;
    std::vector<std::size_t> numbers(all);
    for (std::size_t i = 0; i < all; ++i) numbers[i] = i;
    std::ranges::shuffle(numbers, random);
    for (std::size_t i = 0; i < many; ++i) victims.push_back({server, numbers[i], random() % 3 != 0});
  };
  if ((kinds & 1U) != 0) some(false, workers_.size());
  if ((kinds & 2U) != 0) some(true, servers_.size());
  return victims;
}

std::string Trouble::describe(const Victim& victim) const {
  return (victim.server ? name(servers_[victim.number]) : std::string("worker")) +
         (victim.killed ? " killed" : " stopped");
}

// The workers at once, the servers as fast as they can be found.
void Trouble::hit(const std::vector<Victim>& victims) {
  std::vector<std::future<void>> done;
  for (const Victim& victim : victims) {
    if (!victim.server) continue;
    const Server server = servers_[victim.number];
    done.push_back(std::async(std::launch::async, [=] { victim.killed ? kill_9(server) : pause(server); }));
  }
  for (const Victim& victim : victims) {
    if (!victim.server) workers_[victim.number]->signal(victim.killed ? SIGKILL : SIGSTOP);
  }
  for (const Victim& victim : victims) {
    if (victim.server) continue;
    if (victim.killed) {
      workers_[victim.number]->wait();
    } else {
      workers_[victim.number]->await_stop();
    }
  }
  for (auto& each : done) each.get();
}

void Trouble::restore_servers(const std::vector<Victim>& victims) {
  std::vector<std::future<void>> done;
  for (const Victim& victim : victims) {
    if (!victim.server) continue;
    const Server server = servers_[victim.number];
    done.push_back(std::async(std::launch::async, [=] { victim.killed ? start(server) : resume(server); }));
  }
  for (auto& each : done) each.get();
}

void Trouble::restore_workers(const std::vector<Victim>& victims, std::mt19937& random) {
  for (const Victim& victim : victims) {
    if (victim.server) continue;
    auto& worker = workers_[victim.number];
    if (!victim.killed) {
      worker->signal(SIGCONT);
      continue;
    }
    worker = make_(victim.number);
    while (random() % 4 == 0) {  // again, while it opens its log and recovers
      worker->say("open");
      wait_up_to(random, 60);
      worker->kill_9();
      ++counts_["worker killed while it opens"];
      note_("worker " + std::to_string(victim.number) + " killed while it opens");
      worker = make_(victim.number);
    }
    worker->ask("open", "opened");
    worker->ask("load", "loading");
  }
}

void Trouble::strike(std::mt19937& random) {
  const std::vector<Victim> victims = choose(random);
  std::string all;
  for (const Victim& victim : victims) {
    ++counts_[describe(victim)];
    all += (all.empty() ? "" : ", ") + describe(victim) + (victim.server ? "" : " " + std::to_string(victim.number));
  }
  note_(all);
  hit(victims);
  wait_up_to(random, 1500);
  // A process must come up without its databases, and databases without it.
  const bool workers_first = random() % 2 == 0;
  if (workers_first) restore_workers(victims, random);
  restore_servers(victims);
  if (!workers_first) restore_workers(victims, random);
  note_("all run again");
}

}  // namespace assent::testing
