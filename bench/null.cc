#include "assent/bench/null.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <filesystem>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <system_error>

#include "assent/adapters/scripted/null_resource.h"
#include "assent/recovery/file_system.h"
#include "assent/recovery/node_directory.h"
#include "assent/tm/async.h"

namespace assent::bench {
namespace {

constexpr const char* first_name = "first";
constexpr const char* second_name = "second";

TransactionManager open_manager(const std::string& log_directory, const std::string& last_resource) {
  Config config;
  config.node = "bench";
  config.log_directory = log_directory;
  config.last_resource = last_resource;
  for (const char* name : {first_name, second_name}) {
    ResourceSpec spec;
    spec.name = name;
    spec.url = ResourceUrl::parse(std::string("null://") + name + "/");
    config.resources.push_back(std::move(spec));
  }
  Registry registry;
  registry.add("null", [](const ResourceSpec& spec) { return std::make_shared<NullResource>(spec.name); });
  return TransactionManager::open(config, registry);
}

/// The system's own files, noting what is written between two syncs.
class RecordingFiles final : public FileSystem {
 public:
  std::vector<Batch> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(batches_, {});
  }

  Io<std::unique_ptr<File>> open(const std::string& path, Open how) override {
    auto inner = FileSystem::real().open(path, how);
    if (!inner) return {nullptr, inner.error};
    return {std::make_unique<Recorded>(std::move(inner.value), *this), {}};
  }
  std::error_code make_directory(const std::string& path) override { return real().make_directory(path); }
  std::error_code sync_directory(const std::string& path) override { return real().sync_directory(path); }
  std::error_code rename(const std::string& from, const std::string& to) override { return real().rename(from, to); }
  std::error_code rename_new(const std::string& from, const std::string& to) override {
    return real().rename_new(from, to);
  }
  std::error_code remove(const std::string& path) override { return real().remove(path); }
  Io<std::vector<std::string>> list(const std::string& path) override { return real().list(path); }
  Io<std::unique_ptr<FileLock>> lock(const std::string& path) override { return real().lock(path); }
  Io<std::optional<std::int64_t>> lock_holder(const std::string& path) override { return real().lock_holder(path); }
  Io<Volume> volume(const std::string& path) override { return real().volume(path); }

 private:
  class Recorded final : public File {
   public:
    Recorded(std::unique_ptr<File> inner, RecordingFiles& files) : inner_(std::move(inner)), files_(files) {}
    Written write(std::uint64_t offset, std::string_view bytes) override {
      const std::lock_guard lock(files_.mutex_);
      files_.batches_.push_back({offset, bytes.size()});
      return inner_->write(offset, bytes);
    }
    Io<std::string> read(std::uint64_t offset, std::size_t size) override { return inner_->read(offset, size); }
    std::error_code sync_data() override { return inner_->sync_data(); }
    std::error_code reserve(std::uint64_t size) override { return inner_->reserve(size); }
    Io<std::uint64_t> size() override { return inner_->size(); }
    Io<FileIdentity> identity() override { return inner_->identity(); }

   private:
    const std::unique_ptr<File> inner_;
    RecordingFiles& files_;
  };

  std::mutex mutex_;
  std::vector<Batch> batches_;
};

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

struct NullTransactions::Null {
  using Session = Branch;
  using Connection = int;
  static constexpr const char* kind = "null";
  static Session& session(Branch& branch) { return branch; }
  static bool owns(const ResourceManager&) { return true; }
};

NullTransactions::NullTransactions(const std::string& log_directory, Decider decider)
    : manager_(open_manager(log_directory, decider == Decider::first_resource ? first_name : "")),
      first_(manager_.resource<Null>(first_name)),
      second_(manager_.resource<Null>(second_name)) {}

void NullTransactions::run_one(int) {
  const Outcome outcome = manager_.run([&](Transaction& transaction) {
    transaction.on(first_, [](Branch&) {});
    transaction.on(second_, [](Branch&) {});
  });
  count(outcome);
}

void NullTransactions::count(const Outcome& outcome) {
  if (!outcome.committed()) throw std::runtime_error("a transaction did not commit: " + outcome.text());
  committed_.fetch_add(1, std::memory_order_relaxed);
}

struct AsyncNullTransactions::Flight {
  boost::asio::io_context context{1};
  int in_flight = 0;
  bool landing = false;
  std::uint64_t seen = 0;
};

AsyncNullTransactions::AsyncNullTransactions(const std::string& log_directory, int in_flight)
    : NullTransactions(log_directory, Decider::log), flight_(std::make_unique<Flight>()) {
  flight_->in_flight = in_flight;
  const auto fly = [this]() -> boost::asio::awaitable<void> {
    while (!flight_->landing) {
      Transaction transaction = manager_.begin();
      co_await transaction.async_on(
          first_, [](Branch&) {}, boost::asio::use_awaitable);
      co_await transaction.async_on(
          second_, [](Branch&) {}, boost::asio::use_awaitable);
      count(co_await transaction.async_commit(boost::asio::use_awaitable));
    }
  };
  for (int i = 0; i < in_flight; ++i) {
    boost::asio::co_spawn(flight_->context, fly, [](const std::exception_ptr& failure) {
      if (failure) std::rethrow_exception(failure);
    });
  }
}

AsyncNullTransactions::~AsyncNullTransactions() {
  settle();
}

void AsyncNullTransactions::run_one(int) {
  while (committed() == flight_->seen) flight_->context.run_one();
  ++flight_->seen;
}

void AsyncNullTransactions::settle() {
  flight_->landing = true;
  flight_->context.run();
}

std::vector<Batch> record_log_writes(const std::string& directory, int decisions) {
  RecordingFiles files;
  std::vector<Batch> out;
  {
    const auto node = NodeDirectory::open(files, directory, "record");
    const auto slot = node->claim();
    DecisionLog& log = slot->log();
    Decision decision;
    decision.id = {DeciderKind::log, log.id(), log.begin_incarnation(), 0};
    decision.branches = {{first_name, ""}, {second_name, ""}};
    static_cast<void>(files.take());
    for (int i = 0; i < decisions; ++i) {
      decision.id.sequence = static_cast<std::uint64_t>(i) + 1;
      if (log.force(decision) != Forced::durable) throw std::runtime_error("the log in " + directory + " failed");
      log.finish(decision.id);
    }
    out = files.take();
  }
  std::filesystem::remove_all(directory);
  return out;
}

RawDisk::RawDisk(const std::string& directory, std::vector<Batch> batches)
    : path_(directory + "/raw"), batches_(std::move(batches)) {
  std::uint64_t size = 0;
  std::size_t largest = 0;
  for (const Batch& batch : batches_) {
    size = std::max(size, batch.offset + batch.bytes);
    largest = std::max(largest, batch.bytes);
  }
  bytes_.assign(largest, 'x');
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (descriptor_ < 0) fail("opening " + path_);
  const std::string zeros(1 << 20, '\0');
  for (std::uint64_t offset = 0; offset < size;) {
    const ssize_t written = ::pwrite(descriptor_, zeros.data(), std::min<std::uint64_t>(zeros.size(), size - offset),
                                     static_cast<off_t>(offset));
    if (written < 0) fail("writing " + path_);
    offset += static_cast<std::uint64_t>(written);
  }
  if (::fsync(descriptor_) != 0) fail("syncing " + path_);
}

RawDisk::~RawDisk() {
  ::close(descriptor_);
  ::unlink(path_.c_str());
}

void RawDisk::run_one(int) {
  const Batch& batch = batches_[next_++ % batches_.size()];
  if (::pwrite(descriptor_, bytes_.data(), batch.bytes, static_cast<off_t>(batch.offset)) !=
      static_cast<ssize_t>(batch.bytes)) {
    fail("writing " + path_);
  }
  if (::fdatasync(descriptor_) != 0) fail("syncing " + path_);
}

}  // namespace assent::bench
