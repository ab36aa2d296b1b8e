#include "assent/tests/crash/script.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iostream>

namespace assent::testing {

void say(const std::string& line) {
  const std::string text = line + '\n';
  static_cast<void>(!::write(STDOUT_FILENO, text.data(), text.size()));
}

void Script::at(const Point& point, std::size_t others, Deed deed) {
  const std::lock_guard lock(mutex_);
  point_ = point;
  others_ = others;
  others_done_ = 0;
  reached_ = false;
  deed_ = deed;
}

void Script::trace(bool on) {
  const std::lock_guard lock(mutex_);
  tracing_ = on;
}

void Script::step(const Step& step) {
  std::unique_lock lock(mutex_);
  Point here{std::string(step.verb), step.resource.empty() ? "-" : std::string(step.resource), step.executed,
             Point::Others::any};
  std::ranges::replace(here.verb, ' ', '_');
  if (tracing_) say("step " + here.step());
  if (!point_ || here.verb != point_->verb) return;
  if (here.resource != point_->resource) {
    if (here.executed) ++others_done_;
    changed_.notify_all();
    if (!here.executed && point_->others == Point::Others::first && !is_sent_ahead(here)) {
      changed_.wait(lock, [&] { return !point_; });
    }
    return;
  }
  if (here.executed != point_->executed || reached_) return;
  reached_ = true;
  if (point_->others == Point::Others::last) {
    changed_.wait(lock, [&] { return others_done_ >= others_; });
  }
  if (deed_ == Deed::die) {
    static_cast<void>(::kill(::getpid(), SIGKILL));
    while (true) ::pause();
  }
  lock.unlock();
  say("at point");
  // The main thread is in the commit, so nobody else reads.
  std::string line;
  std::getline(std::cin, line);
  lock.lock();
  point_.reset();
  changed_.notify_all();
}

void Script::needs_person(const TransactionId& id, const std::string& resource, const std::string& why) {
  const std::lock_guard lock(mutex_);
  // Once: every pass finds it again, and nobody may be reading.
  if (persons_.insert(id.text() + ' ' + resource).second) say("person " + id.text() + ' ' + resource + ' ' + why);
}

}  // namespace assent::testing
