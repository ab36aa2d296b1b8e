#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "assent/recovery/file_system.h"
#include "assent/recovery/log_format.h"
#include "assent/recovery/log_record.h"

/// Reading a log: the one judgement of what is sound, what is a torn last batch and what is damage (rule 10), shared by
/// DecisionLog::open() and the tool. Reads only; takes no lock.
namespace assent::log {

struct ReadRecord {
  std::uint64_t offset = 0;  ///< in the file, bytes
  std::uint64_t lsn = 0;     ///< of its batch
  Record record;
};
using RecordSink = std::function<void(ReadRecord&&)>;

struct Fault {
  std::uint64_t offset = 0;  ///< in the file, bytes
  std::string what;          ///< one sentence
};

/// What a segment file says. Records went to the sink up to `damage` or the end.
struct SegmentReading {
  Header header;
  FileIdentity identity;  ///< of the file as it is now
  std::uint64_t next_lsn = 0;
  std::optional<Fault> torn;    ///< the last batch is there in part; it was never acknowledged
  std::optional<Fault> damage;  ///< nothing behind it is told
  bool newer_format = false;    ///< the damage is only that this version cannot read it
};

/// `error`: it could not be read at all.
Io<SegmentReading> read_segment(FileSystem& files, const std::string& path, std::uint64_t number,
                                const RecordSink& sink);

/// The segments in a log's directory by number. The last is the log; those before it are leftovers of a crash between
/// the naming of a segment and the removal of the one before.
Io<std::vector<std::uint64_t>> list_segments(FileSystem& files, const std::string& directory);

/// The log's identity from its newest segment's header. Nothing where there is no segment.
Io<std::optional<LogId>> read_log_id(FileSystem& files, const std::string& directory);

}  // namespace assent::log

namespace assent {

/// A record as the tool shows it.
struct DumpedRecord {
  std::string file;
  std::uint64_t offset = 0;
  std::uint64_t lsn = 0;
  std::string type;  ///< "decision", "finished", "mark", "incarnation", "moved", "adopted", "resource", "person"
  std::string text;  ///< one line
  log::Record record;
};

/// What log_verify() has to say of a place in a log.
struct LogFinding {
  enum class Kind {
    note,       ///< harmless leftovers
    torn_tail,  ///< a last batch that was cut off, or is being written just now; opening drops it
    damage,     ///< opening would refuse the log here
  };
  Kind kind = Kind::note;
  std::string file;
  std::uint64_t offset = 0;
  std::string what;
};

/// Every record of the log in `directory` in its order, then the findings of log_verify(). Works beside a process that
/// has the log open, and sees some moment of it. Throws Error{environment} when there is no log or it cannot be read.
std::vector<LogFinding> log_dump(FileSystem& files, const std::string& directory,
                                 const std::function<void(const DumpedRecord&)>& sink);

/// The same judgement as DecisionLog::open(), changing nothing. No finding of kind damage: it would open.
std::vector<LogFinding> log_verify(FileSystem& files, const std::string& directory);

}  // namespace assent
