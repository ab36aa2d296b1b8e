#include <algorithm>
#include <filesystem>
#include <iterator>

#include <nlohmann/json.hpp>

#include "assent/recovery/log_reader.h"
#include "assent/tools/assent/command.h"
#include "assent/tools/assent/disk.h"
#include "assent/tools/assent/json.h"
#include "assent/tools/assent/listing.h"
#include "assent/tools/assent/survey.h"
#include "assent/tools/assent/text.h"

namespace assent::tool {
namespace {

using Severity = Finding::Severity;

struct Section {
  std::string title;
  std::string address;
  std::vector<Finding> findings;
};

Section examine_log(const Setup& setup, const Survey& survey) {
  const std::string& directory = setup.config.log_directory;
  Section section{"log", directory, {}};
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    section.findings.push_back({Severity::advice, directory + " is not there yet: no application has opened it",
                                "an application makes it when it starts; nothing is to be done"});
    std::filesystem::path above = directory;
    while (above.has_relative_path() && !std::filesystem::is_directory(above, error)) above = above.parent_path();
    std::ranges::move(examine_disk(above.string()), std::back_inserter(section.findings));
    return section;
  }
  section.findings = examine_disk(directory);
  for (const SlotSurvey& slot : survey.slots) {
    const std::string name = "slot " + std::to_string(slot.state.number);
    if (slot.fault) section.findings.push_back({Severity::problem, slot.fault->what(), slot.fault->hint()});
    if (slot.log == nullptr) continue;
    if (slot.log->moved()) {
      section.findings.push_back({Severity::problem,
                                  name + " was copied or restored: it finishes its commits, and presumes no abort",
                                  "if the original will never be used again: assent log adopt"});
    }
    section.findings.push_back(
        {Severity::good,
         name + " is sound, " +
             (slot.state.holder_pid ? "held by process " + std::to_string(*slot.state.holder_pid) : "held by nobody") +
             ", " + counted(slot.log->unfinished().size(), "decision", "decisions") + " not finished",
         ""});
  }
  for (const LoggedResource& logged : unnamed_resources(survey, setup)) {
    section.findings.push_back({Severity::advice,
                                "the log knows resource '" + logged.name + "' (" + logged.identity.text() +
                                    "), which the configuration names no more",
                                "put it back if anything of it is in doubt; if it was renamed, formerly = [\"" +
                                    logged.name + "\"] with its new name"});
  }
  return section;
}

Section examine_resource(const RecoverableResource& resource, const Survey& survey) {
  Section section{resource.manager->name(), resource.manager->address(), resource.manager->examine()};
  const ResourceReport* report = survey.report.resource(section.title);
  if (report == nullptr) return section;
  const bool told =
      std::ranges::any_of(section.findings, [](auto& each) { return each.severity == Severity::problem; });
  const bool unreachable = report->problem == ResourceReport::Problem::unreachable;
  if (!report->usable() && !(unreachable && told)) {
    section.findings.push_back({Severity::problem, report->text, report->hint});
  }
  if (report->identity) section.findings.push_back({Severity::good, "its identity is " + report->identity->text(), ""});
  return section;
}

std::string_view word(Severity severity) {
  switch (severity) {
    case Severity::good:
      return "good";
    case Severity::advice:
      return "advice";
    case Severity::problem:
      return "problem";
  }
  return "?";
}

Style style_of(Severity severity) {
  return severity == Severity::good ? Style::good : severity == Severity::advice ? Style::warning : Style::bad;
}

void print(const std::vector<Section>& sections, Terminal& terminal) {
  constexpr std::size_t indent = 11;
  std::size_t problems = 0;
  std::size_t advices = 0;
  for (const Section& section : sections) {
    terminal.line(terminal.styled(Style::bold, section.title) + "  " + printable(section.address));
    for (const Finding& each : section.findings) {
      problems += each.severity == Severity::problem ? 1 : 0;
      advices += each.severity == Severity::advice ? 1 : 0;
      terminal.paragraph(printable(each.what), indent,
                         "  " + terminal.styled(style_of(each.severity), word(each.severity)));
      // Not wrapped: a statement or a line of configuration, to be copied.
      if (!each.mend.empty()) terminal.line(std::string(indent, ' ') + "-> " + printable(each.mend));
    }
    terminal.line();
  }
  if (problems == 0) {
    terminal.line(terminal.styled(Style::good, "No problems.") +
                  (advices == 0 ? "" : " " + counted(advices, "piece", "pieces") + " of advice."));
  } else {
    terminal.line(terminal.styled(Style::bad, counted(problems, "problem", "problems") + '.') +
                  " Each would break atomic commit, or keep it from working.");
  }
}

}  // namespace

Exit doctor(const Context& context, Terminal& terminal) {
  const Setup setup = Setup::load(context.config_path);
  const Survey survey = take_survey(setup);
  std::vector<Section> sections{examine_log(setup, survey)};
  for (const RecoverableResource& each : setup.resources) sections.push_back(examine_resource(each, survey));
  Exit exit = Exit::done;
  Json json = Json::array();
  for (const Section& section : sections) {
    Json findings = Json::array();
    for (const Finding& each : section.findings) {
      if (each.severity == Severity::problem) exit = Exit::unhealthy;
      findings.push_back({{"severity", word(each.severity)}, {"what", each.what}, {"mend", each.mend}});
    }
    json.push_back({{"name", section.title}, {"address", section.address}, {"findings", std::move(findings)}});
  }
  if (context.json) {
    Json out = envelope(exit);
    out["sections"] = std::move(json);
    print_json(out, terminal);
  } else {
    print(sections, terminal);
  }
  return exit;
}

}  // namespace assent::tool
