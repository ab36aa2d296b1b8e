#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "assent/adapters/scripted/scripted_resource.h"
#include "assent/tests/support/bare.h"
#include "assent/tm/transaction_manager.h"

namespace assent {

/// The typed handle's view of a scripted resource.
struct Scripted {
  using Session = Branch;
  using Connection = int;
  static constexpr const char* kind = "scripted";
  static Session& session(Branch& branch) { return branch; }
  static bool owns(const ResourceManager& manager) {
    return dynamic_cast<const ScriptedResource*>(&manager) != nullptr;
  }
};

class RecordingObserver : public Observer {
 public:
  void decided(const TransactionId& id) override { add("decided " + std::to_string(id.sequence)); }
  void in_doubt(const Outcome& outcome) override { add("in doubt " + std::to_string(outcome.id().sequence)); }
  void heuristic(const Outcome& outcome) override { add("heuristic " + std::to_string(outcome.id().sequence)); }
  void resolved(const TransactionId& id, const std::string& resource, const Reply& reply) override {
    add("resolved " + std::to_string(id.sequence) + "/" + resource + " " + std::string(xopen_name(reply.code)));
  }
  void needs_person(const TransactionId& id, const std::string& resource, const std::string& why) override {
    add("person " + std::to_string(id.sequence) + "/" + resource + " " + why);
  }
  void log_stalled(const std::string&) override { add("log stalled"); }

  std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  void add(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
  }
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

/// A transaction manager over scripted resources a and b, with a real log in a directory of its own. Recovery runs when
/// asked only.
class EngineFixture : public testing::Test {
 public:
  ~EngineFixture() override { std::filesystem::remove_all(directory_); }

 protected:
  EngineFixture() {
    std::string pattern = (std::filesystem::temp_directory_path() / "assent-engine-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    a_ = std::make_shared<ScriptedResource>("a", Identity{"scripted:a", ""});
    b_ = std::make_shared<ScriptedResource>("b", Identity{"scripted:b", ""});
    scripted_["a"] = a_;
    scripted_["b"] = b_;
  }

  Config config() const {
    Config config;
    config.node = "test";
    config.log_directory = directory_ + "/log";
    config.recovery_interval = std::chrono::hours(24);
    config.threads = 4;
    for (const auto& [name, resource] : scripted_) {
      ResourceSpec spec;
      spec.name = name;
      spec.url = ResourceUrl::parse("scripted://" + name + "/");
      config.resources.push_back(spec);
    }
    return config;
  }
  Registry registry() const {
    Registry registry;
    registry.add("scripted", [scripted = scripted_](const ResourceSpec& spec) { return scripted.at(spec.name); });
    return registry;
  }
  TransactionManager open() { return TransactionManager::open(config(), registry(), observer_); }

  std::string directory_;
  std::shared_ptr<ScriptedResource> a_;
  std::shared_ptr<ScriptedResource> b_;
  std::map<std::string, std::shared_ptr<ResourceManager>> scripted_;
  std::shared_ptr<RecordingObserver> observer_ = std::make_shared<RecordingObserver>();
};

}  // namespace assent
