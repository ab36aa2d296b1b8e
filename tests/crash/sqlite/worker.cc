// The process that is killed: `sqlite_crash_worker <database> <deed> <sequence> <kill before call n, 0: never>`.
// Prints `acknowledged` when the deed was answered ok, then the file calls of the deed.

#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "assent/tests/crash/sqlite/worker.h"

namespace {

void watch(long kill_at) {
  const auto start = reinterpret_cast<void (*)(long)>(::dlsym(RTLD_DEFAULT, "assent_watch"));
  if (start != nullptr) start(kill_at);
}

int fail(const assent::Reply& reply) {
  std::printf("%s\n", assent::describe(reply).c_str());
  return 3;
}

int finish(const assent::Reply& reply) {
  const auto stop = reinterpret_cast<const char* (*)()>(::dlsym(RTLD_DEFAULT, "assent_watched"));
  const std::string calls = stop != nullptr ? stop() : "";
  if (!reply.is_ok() && reply.code != assent::Code::read_only) return fail(reply);
  std::printf("acknowledged\n%s", calls.c_str());
  std::fflush(stdout);
  ::_exit(0);
}

}  // namespace

int main(int count, char** argument) {
  using namespace assent;
  if (count != 5) return 2;
  const std::string deed = argument[2];
  const Xid xid = test::crash_xid(std::strtoull(argument[3], nullptr, 10));
  const long kill_at = std::strtol(argument[4], nullptr, 10);

  auto resource = test::crash_resource(argument[1]);
  if (deed == "recover-commit" || deed == "recover-rollback") {
    watch(kill_at);
    return finish(deed == "recover-commit" ? resource->commit(xid, {}) : resource->rollback(xid, {}));
  }
  StartOptions options;
  options.read_only = deed == "read-only";
  if (deed == "start") watch(kill_at);
  if (deed == "read-only" && !resource->start(test::crash_xid(1), options)) return 2;  // tables, file system trial
  if (deed == "read-only") watch(kill_at);
  auto started = resource->start(xid, options);
  if (!started) return fail(started.failure());
  auto branch = std::move(started).value();
  const char* const work = deed == "read-only"                                    ? "SELECT sum(balance) FROM account"
                           : deed == "plain-prepare" || deed == "plain-one-phase" ? test::plain_work
                                                                                  : test::crash_work;
  if (sqlite3_exec(&Sqlite::session(*branch), work, nullptr, nullptr, nullptr) != SQLITE_OK) {
    std::printf("%s\n", sqlite3_errmsg(&Sqlite::session(*branch)));
    return 4;
  }
  if (deed == "prepare" || deed == "plain-prepare" || deed == "one-phase" || deed == "plain-one-phase") watch(kill_at);
  if (deed == "one-phase" || deed == "plain-one-phase") return finish(branch->commit_one_phase());
  const Reply prepared = branch->prepare();
  if (deed == "prepare" || deed == "plain-prepare" || deed == "read-only" || deed == "start") return finish(prepared);
  if (!prepared.is_ok()) return fail(prepared);
  watch(kill_at);
  return finish(deed == "commit" ? branch->commit() : branch->rollback());
}
