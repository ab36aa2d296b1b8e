// Preloaded into a worker: notes every call that changes a file, a name, a lock or what is durable, and, asked to, ends
// the process with SIGKILL before the n-th of them. Watching begins with assent_watch().

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string>

namespace {

bool watching = false;
long kill_before = 0;
long calls = 0;
std::string& log() {
  static std::string text;
  return text;
}

std::string base(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

std::string base(int descriptor) {
  char path[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const ssize_t size = ::readlink(link.c_str(), path, sizeof path - 1);
  if (size <= 0) return "?";
  path[size] = '\0';
  return base(path);
}

void note(const std::string& what) {
  if (!watching) return;
  log() += what + '\n';
  if (++calls == kill_before) ::raise(SIGKILL);
}

template <class Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

void assent_watch(long kill_at) {
  log().clear();
  calls = 0;
  kill_before = kill_at;
  watching = true;
}
const char* assent_watched() {
  watching = false;
  return log().c_str();
}

int fsync(int fd) {
  note("sync " + base(fd));
  return next<int (*)(int)>("fsync")(fd);
}
int fdatasync(int fd) {
  note("sync " + base(fd));
  return next<int (*)(int)>("fdatasync")(fd);
}
ssize_t pwrite64(int fd, const void* from, size_t size, off64_t offset) {
  note("write " + base(fd));
  return next<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64")(fd, from, size, offset);
}
ssize_t pwrite(int fd, const void* from, size_t size, off_t offset) {
  note("write " + base(fd));
  return next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite")(fd, from, size, offset);
}
int ftruncate64(int fd, off64_t size) noexcept {
  note("truncate " + base(fd));
  return next<int (*)(int, off64_t)>("ftruncate64")(fd, size);
}
int ftruncate(int fd, off_t size) noexcept {
  note("truncate " + base(fd));
  return next<int (*)(int, off_t)>("ftruncate")(fd, size);
}
int unlink(const char* path) noexcept {
  note("unlink " + base(path));
  return next<int (*)(const char*)>("unlink")(path);
}
int rmdir(const char* path) noexcept {
  note("rmdir " + base(path));
  return next<int (*)(const char*)>("rmdir")(path);
}
int mkdir(const char* path, mode_t mode) noexcept {
  note("mkdir " + base(path));
  return next<int (*)(const char*, mode_t)>("mkdir")(path, mode);
}
int renameat2(int from_directory, const char* from, int to_directory, const char* to, unsigned flags) noexcept {
  note("exchange " + base(from) + ' ' + base(to));
  return next<int (*)(int, const char*, int, const char*, unsigned)>("renameat2")(from_directory, from, to_directory,
                                                                                  to, flags);
}
int open64(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if ((flags & O_CREAT) != 0) note("create " + base(path));
  return next<int (*)(const char*, int, ...)>("open64")(path, flags, mode);
}
int fcntl64(int fd, int command, ...) {
  std::va_list arguments;
  va_start(arguments, command);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  if (command == F_SETLK) {
    note((static_cast<struct flock*>(argument)->l_type == F_UNLCK ? "unlock " : "lock ") + base(fd));
  }
  return next<int (*)(int, int, ...)>("fcntl64")(fd, command, argument);
}
}
