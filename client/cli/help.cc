#include "client/cli/help.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "client/terminal/printable.h"

namespace quire::cli {
namespace {

constexpr size_t kLineColumns = 80;
constexpr size_t kNameColumns = 28;

// The line that an option or a verb begins with; more than one if it names more
// values, "a|b|c", than fit.
std::string LinesOf(std::string_view name) {
  const size_t indent = 2 + name.rfind(' ') + 1;
  std::string lines = "  ";
  size_t column = 2;
  while (column + name.size() > kLineColumns) {
    const size_t end = name.rfind('|', kLineColumns - column - 1) + 1;
    if (end == 0) {
      break;
    }
    lines.append(name.substr(0, end)).append("\n").append(indent, ' ');
    name.remove_prefix(end);
    column = indent;
  }
  return lines.append(name);
}

// `name`, and beside it the words of `text` in lines that fit.
std::string Beside(std::string_view name, std::string_view text) {
  std::string result = LinesOf(name);
  size_t column = result.size() - (result.rfind('\n') + 1);
  bool is_first = true;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    const size_t width = terminal::DisplayWidth(word);
    const bool breaks = is_first ? column + 2 > kNameColumns
                                 : column + 1 + width > kLineColumns;
    if (breaks) {
      result += '\n';
      column = 0;
    }
    const size_t padding = column < kNameColumns ? kNameColumns - column : 1;
    result.append(padding, ' ');
    result += word;
    column += padding + width;
    is_first = false;
  }
  return result + "\n";
}

std::string ReplaceAll(std::string text, std::string_view from,
                       std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace

HelpFormatter::HelpFormatter() {
  column_width(kNameColumns);
  label("SUBCOMMAND", "VERB");
  label("REQUIRED", "");
}

std::string HelpFormatter::make_option(const CLI::Option* option,
                                       bool is_positional) const {
  std::string name = make_option_name(option, is_positional);
  if (!is_positional && option->get_type_size() != 0) {
    name += " " + option->get_type_name();
  }
  std::string text = option->get_description();
  if (!option->get_default_str().empty()) {
    text += "; default " + option->get_default_str();
  }
  return Beside(ReplaceAll(std::move(name), ",", ", "), text);
}

std::string HelpFormatter::make_subcommand(const CLI::App* verb) const {
  return Beside(verb->get_name(), verb->get_description());
}

std::string HelpFormatter::make_help(const CLI::App* verb, std::string name,
                                     CLI::AppFormatMode mode) const {
  // CLI11 leaves two empty lines between groups.
  return ReplaceAll(CLI::Formatter::make_help(verb, std::move(name), mode),
                    "\n\n\n", "\n\n");
}

CLI::Validator Between(double min, double max) {
  const auto check = [min, max](const std::string& typed) -> std::string {
    double value = 0;
    const char* const last = typed.data() + typed.size();
    const auto [end, error] = std::from_chars(typed.data(), last, value);
    const bool fits =
        error == std::errc() && end == last && value >= min && value <= max;
    return fits ? ""
                : fmt::format("'{}' is no number in [{}, {}]", typed, min, max);
  };
  return {check, ""};
}

CLI::Validator OneOf(std::vector<std::string> names) {
  const auto check =
      [names = std::move(names)](const std::string& typed) -> std::string {
    return std::ranges::find(names, typed) != names.end()
               ? ""
               : fmt::format("'{}' is none of {}", typed,
                             fmt::join(names, ", "));
  };
  return {check, ""};
}

std::string SentenceOf(const CLI::ParseError& error) {
  const std::string text = error.what();
  // "Could not convert: --rows = x"
  constexpr std::string_view kConvert = "Could not convert: ";
  const size_t equals = text.find(" = ");
  if (text.starts_with(kConvert) && equals != std::string::npos) {
    return fmt::format("{} cannot be '{}'",
                       text.substr(kConvert.size(), equals - kConvert.size()),
                       text.substr(equals + 3));
  }
  // "--rows: 1 required N missing"
  constexpr std::string_view kRequired = ": 1 required ";
  constexpr std::string_view kMissing = " missing";
  const size_t required = text.find(kRequired);
  if (required != std::string::npos && text.ends_with(kMissing)) {
    const size_t begin = required + kRequired.size();
    return fmt::format(
        "{0} needs a value: {0} {1}", text.substr(0, required),
        text.substr(begin, text.size() - kMissing.size() - begin));
  }
  return text;
}

}  // namespace quire::cli
