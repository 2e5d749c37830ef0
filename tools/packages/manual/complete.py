# SPDX-License-Identifier: BSD-2-Clause
"""Completions of laggctl for bash, zsh and fish: commands, options, and their values.

Owns what may stand for a value by its name in the help: an interface for IF, a file for
FILE.  A lagg is an interface too, so no daemon is asked.
"""

from lagg.cli.ifconfig_words import WORDS as IFCONFIG_WORDS
from lagg.cli.sysctl import KNOBS
from lagg.model import Proto
from manual.words import Option, Words, commands, globals_of_laggctl

HEAD = "# SPDX-License-Identifier: BSD-2-Clause\n# Made by tools/manual.\n"

CHOICES = {
    "P": tuple(proto.value for proto in Proto),
    "L": ("l2", "l3", "l4", "l2,l3", "l3,l4", "l2,l3,l4"),
    "NAME[=VALUE]": tuple(KNOBS),
    "WORD": IFCONFIG_WORDS,
}
INTERFACES = {"IF", "NAME", "WORD"}
FILES = {"FILE", "PATH", "FLOW"}


def bash() -> str:
    """A function for complete -F."""
    values = "".join(
        f"    {flag}) {_bash_values(option.value, option.choices)} ;;\n"
        for flag, option in _flags_with_value().items()
    )
    rows = "".join(
        f"    {words.command}) options='{' '.join(_flags(words.options))}';"
        f" places='{' '.join(place.value for place in words.places)}' ;;\n"
        for words in commands()
    )
    everywhere = " ".join(_flags(globals_of_laggctl()))
    return f"""{HEAD}
_laggctl() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
  local command= options= places= each
  for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case $each in
    {"|".join(words.command for words in commands())}) command=$each; break ;;
    esac
  done
  COMPREPLY=()
  case $before in
{values}  esac
  ((${{#COMPREPLY[@]}})) && return
  case $command in
{rows}  *) COMPREPLY=($(compgen -W '{_command_line_words()}' -- "$word")); return ;;
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$options {everywhere}" -- "$word"))
    return
  fi
  for each in $places; do
    case $each in
{_bash_places()}    esac
  done
}}
complete -F _laggctl laggctl
"""


def _bash_places() -> str:
    places = {place.value for words in commands() for place in words.places}
    return "".join(
        f"    '{value}') {_bash_values(value, (), adds=True)} ;;\n"
        for value in sorted(places)
    )


def _bash_values(value: str, choices: tuple[str, ...], *, adds: bool = False) -> str:
    words = " ".join(choices or CHOICES.get(value, ()))
    if value in INTERFACES:
        words = f"{words} $(command ls /sys/class/net)".strip()
    generated = "-f" if value in FILES else f'-W "{words}"'
    return f'COMPREPLY{"+" if adds else ""}=($(compgen {generated} -- "$word"))'


def zsh() -> str:
    """A function for compinit."""
    cases = "".join(
        f"    {words.command})\n      _arguments \\\n"
        + " \\\n".join(f"        {line}" for line in _zsh_lines(words))
        + " ;;\n"
        for words in commands()
    )
    purposes = "\n".join(
        f"    '{words.command}:{_quoted(words.purpose)}'" for words in commands()
    )
    everywhere = " \\\n".join(
        f"    {line}" for each in globals_of_laggctl() for line in _zsh_option(each)
    )
    return f"""#compdef laggctl
{HEAD}
_laggctl_interfaces() {{
  compadd -- ${{(f)"$(command ls /sys/class/net)"}}
}}

_laggctl() {{
  local line state
  local -a laggctl_commands=(
{purposes}
  )
  _arguments -C \\
{everywhere} \\
    '1:command:->command' \\
    '*::word:->words'
  case $state in
  command) _describe command laggctl_commands ;;
  words)
    case $line[1] in
{cases}    esac ;;
  esac
}}

_laggctl "$@"
"""


def _zsh_lines(words: Words) -> list[str]:
    lines = [line for each in words.options for line in _zsh_option(each)]
    for place in words.places:
        many = "*" if place.repeated else ""
        lines.append(f"'{many}:{_quoted(place.value)}:{_zsh_values(place.value)}'")
    return lines or ["'*:'"]


def _zsh_option(option: Option) -> list[str]:
    value = ""
    if option.value:
        values = _zsh_values(option.value, option.choices)
        value = f":{_quoted(option.value)}:{values}"
    return [f"'{flag}[{_quoted(option.help)}]{value}'" for flag in option.flags]


def _zsh_values(value: str, choices: tuple[str, ...] = ()) -> str:
    chosen = choices or CHOICES.get(value, ())
    if value in FILES:
        return "_files"
    if value in INTERFACES and not chosen:
        return "_laggctl_interfaces"
    return f"({' '.join(chosen)})" if chosen else ""


def _quoted(text: str) -> str:
    for bad in "[]:":
        text = text.replace(bad, f"\\{bad}")
    return text.replace("'", "'\\''")


def fish() -> str:
    """Lines of complete."""
    lines = ["complete -c laggctl -f"]
    for words in commands():
        lines.append(
            "complete -c laggctl -n __fish_use_subcommand"
            f" -a {words.command} -d '{_fish_quoted(words.purpose)}'"
        )
    for option in globals_of_laggctl():
        lines += _fish_option("", option)
    for words in commands():
        when = f" -n '__fish_seen_subcommand_from {words.command}'"
        for option in words.options:
            lines += _fish_option(when, option)
        for place in words.places:
            lines.append(f"complete -c laggctl{when}{_fish_values(place.value)}")
    return HEAD + "\n" + "\n".join(lines) + "\n"


def _fish_option(when: str, option: Option) -> list[str]:
    value = f" -r{_fish_values(option.value, option.choices)}" if option.value else ""
    found = []
    for flag in option.flags:
        word = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
        help_ = _fish_quoted(option.help)
        found.append(f"complete -c laggctl{when} {word}{value} -d '{help_}'")
    return found


def _fish_values(value: str, choices: tuple[str, ...] = ()) -> str:
    if value in FILES:
        return " -F"
    words = " ".join(choices or CHOICES.get(value, ()))
    if value in INTERFACES:
        words = f"{words} (command ls /sys/class/net)".strip()
    return f" -a '{words}'" if words else ""


def _fish_quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _flags(options: tuple[Option, ...]) -> list[str]:
    return [flag for option in options for flag in option.flags]


def _flags_with_value() -> dict[str, Option]:
    options = [*globals_of_laggctl()]
    for words in commands():
        options += words.options
    return {flag: each for each in options if each.value for flag in each.flags}


def _command_line_words() -> str:
    return " ".join(
        [words.command for words in commands()] + _flags(globals_of_laggctl())
    )
