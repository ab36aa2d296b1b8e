// Preloaded into a worker: fails the n-th call that it makes on files below one directory, or the n-th allocation. All
// other calls, before and after, are the system's own. Counting begins with assent_fail_call().

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstring>

extern "C" {
void* __libc_malloc(std::size_t size);                     // NOLINT(bugprone-reserved-identifier)
void* __libc_calloc(std::size_t count, std::size_t size);  // NOLINT(bugprone-reserved-identifier)
void* __libc_realloc(void* at, std::size_t size);          // NOLINT(bugprone-reserved-identifier)
}

namespace {

enum class Watched { nothing, files, memory };

std::atomic<Watched> watched{Watched::nothing};
std::atomic<long> fail_at{0};
std::atomic<long> calls{0};
std::atomic<int> error{0};
char below[4096];
std::size_t below_size = 0;

/// The call is the one that fails; errno is set.
bool strikes(Watched kind) {
  if (watched.load() != kind || ++calls != fail_at.load()) return false;
  errno = error.load();
  return true;
}

// No allocation in here: it would be counted.
bool ours(const char* path) {
  return std::strncmp(path, below, below_size) == 0;
}

bool ours(int descriptor) {
  char link[64];
  char path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t size = ::readlink(link, path, sizeof path - 1);
  if (size <= 0) return false;
  path[size] = '\0';
  return ours(path);
}

template <class Where>
bool fails(Where where) {
  const int before = errno;
  const bool mine = watched.load() == Watched::files && ours(where);
  errno = before;
  return mine && strikes(Watched::files);
}

template <class Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

mode_t mode_of(int flags, std::va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

extern "C" {

/// `directory` empty: allocations are counted. Else calls on files below it.
void assent_fail_call(const char* directory, long number, int with) {
  below_size = std::strlen(directory);
  std::strncpy(below, directory, sizeof below - 1);
  calls = 0;
  fail_at = number;
  error = with;
  watched = below_size == 0 ? Watched::memory : Watched::files;
}

/// Ends the counting; how many calls there were.
long assent_failed_calls() {
  watched = Watched::nothing;
  return calls;
}

int open(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return fails(path) ? -1 : next<int (*)(const char*, int, ...)>("open")(path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return fails(path) ? -1 : next<int (*)(const char*, int, ...)>("open64")(path, flags, mode);
}
ssize_t pwrite(int fd, const void* from, size_t size, off_t offset) {
  return fails(fd) ? -1 : next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite")(fd, from, size, offset);
}
ssize_t pwrite64(int fd, const void* from, size_t size, off64_t offset) {
  return fails(fd) ? -1 : next<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64")(fd, from, size, offset);
}
ssize_t pread(int fd, void* to, size_t size, off_t offset) {
  return fails(fd) ? -1 : next<ssize_t (*)(int, void*, size_t, off_t)>("pread")(fd, to, size, offset);
}
ssize_t pread64(int fd, void* to, size_t size, off64_t offset) {
  return fails(fd) ? -1 : next<ssize_t (*)(int, void*, size_t, off64_t)>("pread64")(fd, to, size, offset);
}
int fsync(int fd) {
  return fails(fd) ? -1 : next<int (*)(int)>("fsync")(fd);
}
int fdatasync(int fd) {
  return fails(fd) ? -1 : next<int (*)(int)>("fdatasync")(fd);
}
int ftruncate(int fd, off_t size) noexcept {
  return fails(fd) ? -1 : next<int (*)(int, off_t)>("ftruncate")(fd, size);
}
int ftruncate64(int fd, off64_t size) noexcept {
  return fails(fd) ? -1 : next<int (*)(int, off64_t)>("ftruncate64")(fd, size);
}
int fallocate(int fd, int mode, off_t offset, off_t size) {
  return fails(fd) ? -1 : next<int (*)(int, int, off_t, off_t)>("fallocate")(fd, mode, offset, size);
}
int rename(const char* from, const char* to) noexcept {
  return fails(to) ? -1 : next<int (*)(const char*, const char*)>("rename")(from, to);
}
int renameat2(int from_directory, const char* from, int to_directory, const char* to, unsigned flags) noexcept {
  using Renameat2 = int (*)(int, const char*, int, const char*, unsigned);
  return fails(to) ? -1 : next<Renameat2>("renameat2")(from_directory, from, to_directory, to, flags);
}
int link(const char* from, const char* to) noexcept {
  return fails(to) ? -1 : next<int (*)(const char*, const char*)>("link")(from, to);
}
int unlink(const char* path) noexcept {
  return fails(path) ? -1 : next<int (*)(const char*)>("unlink")(path);
}
int mkdir(const char* path, mode_t mode) noexcept {
  return fails(path) ? -1 : next<int (*)(const char*, mode_t)>("mkdir")(path, mode);
}
int rmdir(const char* path) noexcept {
  return fails(path) ? -1 : next<int (*)(const char*)>("rmdir")(path);
}

void* malloc(std::size_t size) {
  return strikes(Watched::memory) ? nullptr : __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  return strikes(Watched::memory) ? nullptr : __libc_calloc(count, size);
}
void* realloc(void* at, std::size_t size) {
  return strikes(Watched::memory) ? nullptr : __libc_realloc(at, size);
}
}
