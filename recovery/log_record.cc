#include "assent/recovery/log_record.h"

#include <ctime>

#include "assent/recovery/log_bytes.h"
#include "assent/xa/branch.h"

namespace assent::log {
namespace {

// Kept for ever: a number is never given to another type.
enum class Type : std::uint8_t {
  decision = 1,
  finished = 2,
  over = 3,
  begun = 4,
  moved = 5,
  adopted = 6,
  resource = 7,
  person = 8,
  recovered = 9,
  forgotten = 10,
};

constexpr unsigned presumable_bit = 1;
constexpr unsigned adopted_bit = 2;

constexpr std::size_t id_bytes = 1 + 3 * 8;
static_assert(record_head + id_bytes + 8 + (2 + Decision::max_label) + 1 +
                  Decision::max_branches * (2 + max_resource_name + 2 + Branch::max_evidence) <=
              max_record);

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

Type type_of(const Record& record) {
  return std::visit(
      Overloaded{[](const Decision&) { return Type::decision; }, [](const Finished&) { return Type::finished; },
                 [](const Over&) { return Type::over; }, [](const Begun&) { return Type::begun; },
                 [](const Moved&) { return Type::moved; }, [](const Adopted&) { return Type::adopted; },
                 [](const LoggedResource&) { return Type::resource; }, [](const PersonNote&) { return Type::person; },
                 [](const Recovered&) { return Type::recovered; }, [](const Forgotten&) { return Type::forgotten; }},
      record);
}

/// The name only: of a transaction that a last resource decides the log remembers that it is over, not who decided.
void put_id(std::string& out, const TransactionId& id) {
  put(out, static_cast<std::uint8_t>(DeciderKind::log));
  put(out, static_cast<std::uint64_t>(id.log));
  put(out, static_cast<std::uint64_t>(id.incarnation));
  put(out, id.sequence);
}

/// False where the kind of decider is none that this version knows.
bool take_id(Cursor& in, TransactionId& id) {
  if (in.number<std::uint8_t>() != static_cast<std::uint8_t>(DeciderKind::log)) return false;
  id.kind = DeciderKind::log;
  id.log = LogId{in.number<std::uint64_t>()};
  id.incarnation = Incarnation{in.number<std::uint64_t>()};
  id.sequence = in.number<std::uint64_t>();
  return true;
}

void put_identity(std::string& out, const FileIdentity& identity) {
  put_text(out, std::string_view(identity.machine).substr(0, max_machine));
  put(out, identity.device);
  put(out, identity.inode);
  put(out, identity.born_ns);
}

FileIdentity take_identity(Cursor& in) {
  FileIdentity identity;
  identity.machine = in.text(max_machine);
  identity.device = in.number<std::uint64_t>();
  identity.inode = in.number<std::uint64_t>();
  identity.born_ns = in.number<std::int64_t>();
  return identity;
}

void append_contents(std::string& out, const Record& record) {
  std::visit(Overloaded{[&](const Decision& decision) {
                          put_id(out, decision.id);
                          put_body(out, decision);
                        },
                        [&](const Finished& finished) { put_id(out, finished.id); },
                        [&](const Over& over) {
                          put(out, static_cast<std::uint64_t>(over.incarnation));
                          put(out, over.from);
                          put(out, over.to);
                        },
                        [&](const Begun& begun) {
                          put(out, static_cast<std::uint64_t>(begun.incarnation.incarnation));
                          put(out, begun.incarnation.opened_at_ms);
                          put(out, begun.incarnation.pid);
                          put(out, begun.incarnation.mark);
                          put(out, static_cast<std::uint8_t>((begun.incarnation.presumable ? presumable_bit : 0) |
                                                             (begun.incarnation.adopted ? adopted_bit : 0)));
                          put_identity(out, begun.opened_under);
                        },
                        [&](const Moved& moved) {
                          put(out, moved.at_ms);
                          put_identity(out, moved.was);
                        },
                        [&](const Adopted& adopted) { put(out, adopted.at_ms); },
                        [&](const LoggedResource& resource) {
                          put_text(out, resource.name);
                          put_text(out, resource.identity.system);
                          put_text(out, resource.identity.database);
                        },
                        [&](const PersonNote& note) {
                          put(out, note.at_ms);
                          put_id(out, note.id);
                          put_text(out, note.resource);
                          put_text(out, note.what);
                        },
                        [&](const Recovered& recovered) { put_id(out, recovered.id); },
                        [&](const Forgotten& forgotten) { put_id(out, forgotten.id); }},
             record);
}

bool take(Cursor& in, Decision& decision) {
  return take_id(in, decision.id) && take_body(in, decision);
}

/// Finished, Recovered, Forgotten.
template <class OfOneTransaction>
bool take(Cursor& in, OfOneTransaction& record) {
  return take_id(in, record.id);
}

bool take(Cursor& in, PersonNote& note) {
  note.at_ms = in.number<std::int64_t>();
  if (!take_id(in, note.id)) return false;
  note.resource = in.text(max_resource_name);
  note.what = in.text(PersonNote::max_what);
  return true;
}

/// In place: a log of millions is read record by record.
template <class Kind>
void decode_as(Cursor& in, std::optional<Record>& out) {
  if (!take(in, std::get<Kind>(out.emplace(std::in_place_type<Kind>)))) out.reset();
}

std::optional<Record> decode_begun(Cursor& in) {
  Begun begun;
  begun.incarnation.incarnation = Incarnation{in.number<std::uint64_t>()};
  begun.incarnation.opened_at_ms = in.number<std::int64_t>();
  begun.incarnation.pid = in.number<std::int64_t>();
  begun.incarnation.mark = in.number<std::uint64_t>();
  const auto bits = in.number<std::uint8_t>();
  if (bits > (presumable_bit | adopted_bit)) return std::nullopt;
  begun.incarnation.presumable = (bits & presumable_bit) != 0;
  begun.incarnation.adopted = (bits & adopted_bit) != 0;
  begun.opened_under = take_identity(in);
  return begun;
}

std::string time_text(std::int64_t ms) {
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm parts{};
  char text[32];
  // Never: milliseconds of 64 bits stay far below the years that gmtime_r() refuses.
  if (::gmtime_r(&seconds, &parts) == nullptr) return "?";
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

/// Names and words come from outside; on a terminal control characters would act.
std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  }
  return text;
}

std::string place_text(const FileIdentity& identity) {
  return "machine " + (identity.machine.empty() ? "?" : printable(identity.machine)) + ", device " +
         std::to_string(identity.device) + ", inode " + std::to_string(identity.inode) + ", born " +
         time_text(identity.born_ns / 1'000'000);
}

}  // namespace

void put_body(std::string& out, const Decision& decision) {
  put(out, decision.decided_at_ms);
  put_text(out, decision.label);
  put(out, static_cast<std::uint8_t>(decision.branches.size()));
  for (const DecidedBranch& branch : decision.branches) {
    put_text(out, branch.resource);
    put_text(out, branch.evidence);
  }
}

bool take_body(Cursor& in, Decision& decision) {
  decision.decided_at_ms = in.number<std::int64_t>();
  decision.label = in.text(Decision::max_label);
  const auto count = in.number<std::uint8_t>();
  if (count > Decision::max_branches) return false;
  decision.branches.reserve(count);
  for (std::uint8_t i = 0; i < count && !in.broken(); ++i) {
    DecidedBranch branch;
    branch.resource = in.text(max_resource_name);
    branch.evidence = in.text(Branch::max_evidence);
    decision.branches.push_back(std::move(branch));
  }
  return true;
}

std::string unfit(const Record& record) {
  if (const auto* decision = std::get_if<Decision>(&record)) {
    if (decision->label.size() > Decision::max_label) return "its label is longer than 256 bytes";
    if (decision->branches.size() > Decision::max_branches) return "it has more than 64 branches";
    for (const DecidedBranch& branch : decision->branches) {
      if (!is_resource_name(branch.resource)) return "a branch's resource has no usable name";
      if (branch.evidence.size() > Branch::max_evidence) return "the evidence of a branch is longer than 128 bytes";
    }
  } else if (const auto* resource = std::get_if<LoggedResource>(&record)) {
    if (!is_resource_name(resource->name)) return "the resource has no usable name";
    if (resource->identity.system.size() > max_identity_part ||
        resource->identity.database.size() > max_identity_part) {
      return "a part of the resource's identity is longer than 512 bytes";
    }
  } else if (const auto* note = std::get_if<PersonNote>(&record)) {
    if (note->resource.size() > max_resource_name) return "the resource's name is longer than 64 bytes";
    if (note->what.size() > PersonNote::max_what) return "the note is longer than 1024 bytes";
  }
  return {};
}

void append(std::string& out, const Record& record) {
  const std::size_t head = out.size();
  out.append(record_head, '\0');
  append_contents(out, record);
  put(out.data() + head, static_cast<std::uint32_t>(out.size() - head - record_head));
  put(out.data() + head + 4, static_cast<std::uint8_t>(type_of(record)));
}

std::size_t whole_records(std::string_view records, std::size_t limit) {
  std::size_t at = 0;
  while (at < records.size()) {
    const std::size_t next = at + record_head + get<std::uint32_t>(records.data() + at);
    if (next > limit) break;
    at = next;
  }
  return at;
}

std::optional<Record> decode(std::uint8_t type, std::string_view contents) {
  Cursor in(contents);
  std::optional<Record> record;
  switch (static_cast<Type>(type)) {
    case Type::decision:
      decode_as<Decision>(in, record);
      break;
    case Type::finished:
      decode_as<Finished>(in, record);
      break;
    case Type::over: {
      Over over;
      over.incarnation = Incarnation{in.number<std::uint64_t>()};
      over.from = in.number<std::uint64_t>();
      over.to = in.number<std::uint64_t>();
      if (over.from < over.to) record = over;
      break;
    }
    case Type::begun:
      record = decode_begun(in);
      break;
    case Type::moved: {
      Moved moved;
      moved.at_ms = in.number<std::int64_t>();
      moved.was = take_identity(in);
      record = std::move(moved);
      break;
    }
    case Type::adopted:
      record = Adopted{in.number<std::int64_t>()};
      break;
    case Type::resource: {
      LoggedResource resource;
      resource.name = in.text(max_resource_name);
      resource.identity.system = in.text(max_identity_part);
      resource.identity.database = in.text(max_identity_part);
      record = std::move(resource);
      break;
    }
    case Type::person:
      decode_as<PersonNote>(in, record);
      break;
    case Type::recovered:
      decode_as<Recovered>(in, record);
      break;
    case Type::forgotten:
      decode_as<Forgotten>(in, record);
      break;
  }
  if (!in.complete()) record.reset();
  return record;
}

std::string_view name_of(const Record& record) {
  switch (type_of(record)) {
    case Type::decision:
      return "decision";
    case Type::finished:
      return "finished";
    case Type::over:
      return "over";
    case Type::begun:
      return "incarnation";
    case Type::moved:
      return "moved";
    case Type::adopted:
      return "adopted";
    case Type::resource:
      return "resource";
    case Type::person:
      return "person";
    case Type::recovered:
      return "recovered";
    case Type::forgotten:
      return "forgotten";
  }
  return "unknown";
}

std::string text_of(const Record& record) {
  return std::visit(
      Overloaded{
          [](const Decision& decision) {
            std::string text = decision.id.text() + " commit, " + time_text(decision.decided_at_ms);
            if (!decision.label.empty()) text += ", \"" + printable(decision.label) + '"';
            for (const DecidedBranch& branch : decision.branches) {
              text += ", " + printable(branch.resource);
              if (!branch.evidence.empty()) text += " (evidence " + to_hex(branch.evidence) + ')';
            }
            return text;
          },
          [](const Finished& finished) { return finished.id.text(); },
          [](const Over& over) {
            return to_hex64(static_cast<std::uint64_t>(over.incarnation)) + ", over from " + std::to_string(over.from) +
                   " to before " + std::to_string(over.to);
          },
          [](const Begun& begun) {
            const IncarnationRecord& known = begun.incarnation;
            return to_hex64(static_cast<std::uint64_t>(known.incarnation)) + ", opened " +
                   time_text(known.opened_at_ms) + " by process " + std::to_string(known.pid) + ", over below " +
                   std::to_string(known.mark) + (known.presumable ? ", abort may be presumed" : ", presumes nothing") +
                   (known.adopted ? ", adopted" : "") + "; " + place_text(begun.opened_under);
          },
          [](const Moved& moved) {
            return "found copied or restored, " + time_text(moved.at_ms) + "; was " + place_text(moved.was);
          },
          [](const Adopted& adopted) { return "adopted by a person, " + time_text(adopted.at_ms); },
          [](const LoggedResource& resource) { return printable(resource.name + " is " + resource.identity.text()); },
          [](const PersonNote& note) {
            return printable(note.id.text() + '/' + note.resource + ", " + time_text(note.at_ms) + ": " + note.what);
          },
          [](const Recovered& recovered) { return recovered.id.text() + " committed by recovery"; },
          [](const Forgotten& forgotten) { return forgotten.id.text() + " given up by a person"; }},
      record);
}

}  // namespace assent::log
