// The system's own files, where the log's tests use a simulated disk.

#include "assent/recovery/file_system.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "assent/recovery/decision_log.h"
#include "assent/recovery/log_format.h"

namespace assent {
namespace {

class RealFiles : public ::testing::Test {
 protected:
  RealFiles() {
    std::string pattern = (std::filesystem::temp_directory_path() / "assent-files-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    path_ = directory_ + "/file";
    file_ = FileSystem::real().open(path_, FileSystem::Open::create_new).value;
  }
  ~RealFiles() override { std::filesystem::remove_all(directory_); }

  std::string contents() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  bool goes_past_the_cache() const { return goes_past_the_cache(path_); }
  /// Whether some descriptor of this process has the file open past the cache.
  static bool goes_past_the_cache(const std::string& path) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      if (std::filesystem::read_symlink(entry, gone) != path) continue;
      if ((fcntl(std::stoi(entry.path().filename()), F_GETFL) & O_DIRECT) != 0) return true;
    }
    return false;
  }
  bool system_can() const {
    const int fd = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    const bool can = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_DIRECT) == 0;
    close(fd);
    return can;
  }

  std::string directory_;
  std::string path_;
  std::unique_ptr<File> file_;
};

TEST_F(RealFiles, past_the_cache_are_what_was_written) {
  std::string expected(1 << 20, '\0');
  ASSERT_FALSE(file_->write(0, expected).error);
  ASSERT_FALSE(file_->sync_data());
  EXPECT_FALSE(goes_past_the_cache());
  file_->bypass_cache();
  EXPECT_EQ(goes_past_the_cache(), system_can());
  std::size_t at = 512;
  for (const std::size_t sectors : {1U, 1U, 2U, 7U, 512U, 1U, 9U}) {
    const std::string bytes(sectors * 512, static_cast<char>('a' + sectors % 26));
    const File::Written written = file_->write(at, bytes);
    EXPECT_FALSE(written.error) << written.error.message();
    EXPECT_EQ(written.bytes, bytes.size());
    expected.replace(at, bytes.size(), bytes);
    at += bytes.size();
    // A megabyte says nothing to a reader of the failure.
    EXPECT_TRUE(contents() == expected);
    EXPECT_TRUE(file_->read(0, expected.size()).value == expected);
    EXPECT_EQ(goes_past_the_cache(), system_can()) << "after a read, too";
  }
  EXPECT_FALSE(file_->sync_data());
}

TEST_F(RealFiles, take_parts_of_sectors_through_the_cache_all_the_same) {
  file_->bypass_cache();
  EXPECT_FALSE(file_->write(0, std::string(1024, 'a')).error);
  EXPECT_FALSE(file_->write(7, "part").error);
  EXPECT_FALSE(file_->write(512, std::string(512, 'b')).error);
  EXPECT_FALSE(file_->write(1024, "end").error);
  EXPECT_EQ(contents(), std::string(7, 'a') + "part" + std::string(501, 'a') + std::string(512, 'b') + "end");
}

TEST_F(RealFiles, do_not_claim_to_be_as_they_were_when_a_write_past_the_cache_fails) {
  const rlimit small{1024, RLIM_INFINITY};
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const File::Written cached = file_->write(4096, std::string(512, 'a'));
  file_->bypass_cache();
  const File::Written past = file_->write(4096, std::string(512, 'a'));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(cached.error, std::errc::file_too_large);
  EXPECT_EQ(cached.bytes, 0U);
  EXPECT_EQ(past.error, std::errc::file_too_large);
  EXPECT_EQ(past.bytes, system_can() ? 512U : 0U);
}

TEST_F(RealFiles, of_the_log_go_past_the_cache) {
  const auto log = DecisionLog::open(FileSystem::real(), directory_, {});
  static_cast<void>(log->begin_incarnation());
  EXPECT_EQ(goes_past_the_cache(directory_ + '/' + log::segment_name(1)), system_can());
}

TEST(Room, is_out_on_a_full_disk_and_over_quota) {
  for (const auto* category : {&std::system_category(), &std::generic_category()}) {
    EXPECT_TRUE(is_out_of_room({ENOSPC, *category}));
    EXPECT_TRUE(is_out_of_room({EDQUOT, *category}));
    EXPECT_FALSE(is_out_of_room({EIO, *category}));
  }
  EXPECT_FALSE(is_out_of_room({}));
}

}  // namespace
}  // namespace assent
