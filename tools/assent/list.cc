#include <nlohmann/json.hpp>

#include "assent/tools/assent/command.h"
#include "assent/tools/assent/json.h"
#include "assent/tools/assent/listing.h"
#include "assent/tools/assent/text.h"
#include "assent/tools/assent/wording.h"

namespace assent::tool {

Exit list(const Context& context, const ListOptions& options, Terminal& terminal) {
  const Setup setup = Setup::load(context.config_path);
  const Survey survey = take_survey(setup);
  const Exit exit = survey.exit();
  if (context.json) {
    print_json(survey_json(survey, setup, exit), terminal);
    return exit;
  }
  const std::string program = context.program();
  print_listing(survey.report, {options.all, program}, terminal);
  print_resource_troubles(survey.report, terminal);
  print_slot_troubles(survey.slots, program, terminal);
  for (const LoggedResource& logged : unnamed_resources(survey, setup)) {
    terminal.line();
    terminal.paragraph(terminal.styled(Style::warning, "not configured") + "  " + printable(logged.name) + "  " +
                       printable(logged.identity.text()));
    terminal.paragraph(
        "the log knows this resource, and the configuration names it no more; put it back while "
        "anything of it is in doubt, or give formerly = [\"" +
            printable(logged.name) + "\"] to the resource that it became",
        4, "->");
  }
  return exit;
}

}  // namespace assent::tool
