#include <algorithm>

#include <nlohmann/json.hpp>

#include "assent/recovery/log_reader.h"
#include "assent/tools/assent/command.h"
#include "assent/tools/assent/json.h"
#include "assent/tools/assent/stop.h"
#include "assent/tools/assent/survey.h"
#include "assent/tools/assent/text.h"
#include "assent/tools/assent/wording.h"

namespace assent::tool {
namespace {

std::vector<SlotState> chosen_slots(const NodeDirectory& directory, const std::string& chosen) {
  std::vector<SlotState> slots = directory.slots();
  if (chosen.empty()) return slots;
  std::erase_if(slots, [&](const SlotState& slot) { return std::to_string(slot.number) != chosen; });
  if (slots.empty()) {
    throw Stop(Exit::usage, "there is no slot " + printable(chosen) + " in " + directory.path(),
               "leave --slot out to see them all");
  }
  return slots;
}

std::unique_ptr<NodeDirectory> existing_directory(const Setup& setup) {
  auto directory = setup.node_directory();
  if (directory != nullptr) return directory;
  throw Stop(Exit::usage, "there is no log yet in " + setup.config.log_directory,
             "an application makes it when it starts; check `log` in " + setup.config_path);
}

bool has_log(const SlotState& slot) {
  const auto segments = log::list_segments(FileSystem::real(), slot.directory);
  return !segments || !segments.value.empty();
}

std::string_view kind_text(LogFinding::Kind kind) {
  switch (kind) {
    case LogFinding::Kind::note:
      return "note";
    case LogFinding::Kind::torn_tail:
      return "torn tail";
    case LogFinding::Kind::damage:
      return "damage";
  }
  return "?";
}

Style style_of(LogFinding::Kind kind) {
  return kind == LogFinding::Kind::damage      ? Style::bad
         : kind == LogFinding::Kind::torn_tail ? Style::warning
                                               : Style::faint;
}

Json findings_json(const std::vector<LogFinding>& findings) {
  Json out = Json::array();
  for (const LogFinding& each : findings) {
    out.push_back({{"kind", kind_text(each.kind)}, {"file", each.file}, {"offset", each.offset}, {"what", each.what}});
  }
  return out;
}

void print_findings(const std::vector<LogFinding>& findings, Terminal& terminal) {
  for (const LogFinding& each : findings) {
    terminal.paragraph(printable(each.what) + " (" + each.file + ", byte " + std::to_string(each.offset) + ')', 12,
                       "  " + terminal.styled(style_of(each.kind), kind_text(each.kind)));
  }
}

Exit exit_of(const std::vector<LogFinding>& findings) {
  const bool damaged = std::ranges::any_of(findings, [](auto& each) { return each.kind == LogFinding::Kind::damage; });
  return damaged ? Exit::log_damaged : Exit::done;
}

std::string slot_title(const SlotState& slot) {
  return "slot " + std::to_string(slot.number) + "  " + slot.directory +
         (!slot.holder_pid        ? "  held by nobody"
          : *slot.holder_pid == 0 ? "  held by a live process"
                                  : "  held by process " + std::to_string(*slot.holder_pid));
}

}  // namespace

Exit dump_log(const Context& context, const LogCommandOptions& options, Terminal& terminal) {
  const Setup setup = Setup::load(context.config_path);
  const auto directory = existing_directory(setup);
  Exit exit = Exit::done;
  Json slots = Json::array();
  for (const SlotState& slot : chosen_slots(*directory, options.slot)) {
    if (!has_log(slot)) continue;
    Json records = Json::array();
    if (!context.json) terminal.line(terminal.styled(Style::bold, slot_title(slot)));
    const auto findings = log_dump(FileSystem::real(), slot.directory, [&](const DumpedRecord& record) {
      if (context.json) {
        records.push_back({{"file", record.file},
                           {"offset", record.offset},
                           {"lsn", record.lsn},
                           {"type", record.type},
                           {"text", record.text}});
        return;
      }
      const std::string lsn = std::to_string(record.lsn);
      terminal.line("  " + std::string(lsn.size() < 8 ? 8 - lsn.size() : 0, ' ') + lsn + "  " +
                    terminal.styled(Style::bold, record.type) +
                    std::string(record.type.size() < 11 ? 11 - record.type.size() : 0, ' ') + "  " +
                    printable(record.text));
    });
    exit = graver(exit, exit_of(findings));
    if (context.json) {
      slots.push_back({{"slot", slot.number}, {"records", std::move(records)}, {"findings", findings_json(findings)}});
    } else {
      print_findings(findings, terminal);
    }
  }
  if (context.json) {
    Json out = envelope(exit);
    out["slots"] = std::move(slots);
    print_json(out, terminal);
  }
  return exit;
}

Exit verify_log(const Context& context, const LogCommandOptions& options, Terminal& terminal) {
  const Setup setup = Setup::load(context.config_path);
  const auto directory = existing_directory(setup);
  Exit exit = Exit::done;
  Json slots = Json::array();
  for (const SlotState& slot : chosen_slots(*directory, options.slot)) {
    if (!has_log(slot)) continue;
    const auto findings = log_verify(FileSystem::real(), slot.directory);
    exit = graver(exit, exit_of(findings));
    if (context.json) {
      slots.push_back({{"slot", slot.number}, {"directory", slot.directory}, {"findings", findings_json(findings)}});
      continue;
    }
    const bool sound = exit_of(findings) == Exit::done;
    terminal.line((sound ? terminal.styled(Style::good, "sound") : terminal.styled(Style::bad, "DAMAGED")) + "  " +
                  slot_title(slot));
    print_findings(findings, terminal);
  }
  if (context.json) {
    Json out = envelope(exit);
    out["slots"] = std::move(slots);
    print_json(out, terminal);
  } else if (exit == Exit::log_damaged) {
    terminal.paragraph(
        "Nothing was skipped and nothing changed. Assent refuses this log, because a skipped decision "
        "would turn a commit into an abort. What to do: docs/operations.md, \"A damaged log\".");
  }
  return exit;
}

Exit adopt_log(const Context& context, const LogCommandOptions& options, Terminal& terminal) {
  const Setup setup = Setup::load(context.config_path);
  const auto directory = existing_directory(setup);
  std::size_t adopted = 0;
  for (const SlotState& state : chosen_slots(*directory, options.slot)) {
    if (!has_log(state) || !LogView::read(FileSystem::real(), state.directory)->moved()) continue;
    const auto slot = state.holder_pid ? nullptr : directory->adopt(state.number);
    if (slot == nullptr) {
      throw Stop(Exit::log_held,
                 "slot " + std::to_string(state.number) + " is held by a live process" +
                     (state.holder_pid.value_or(0) == 0 ? "" : " (" + std::to_string(*state.holder_pid) + ')'),
                 "stop it, adopt, and start it again");
    }
    confirm("The log in " + state.directory +
                " was copied or restored. If the original, or any other copy, is ever "
                "used again, both will decide the same transactions, and money can be lost.",
            "the original is gone", options.yes);
    slot->log().adopt();
    ++adopted;
    terminal.line(terminal.styled(Style::good, "adopted  ") + state.directory);
  }
  if (adopted == 0) terminal.line("No log was copied or restored; there is nothing to adopt.");
  if (adopted != 0) terminal.paragraph("Now `" + context.program() + " resolve`.");
  return Exit::done;
}

}  // namespace assent::tool
