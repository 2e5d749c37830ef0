# SPDX-License-Identifier: BSD-2-Clause
"""Completions of laggctl for bash, zsh and fish: commands, options, and their values.

Owns what may stand for a value by its name in the help and the command that it is for:
a file for FILE, for IF any interface where a port is to come and the lagg's own ports
elsewhere.  laggd is asked which laggs and ports there are; where none listens, none is
offered.
"""

from dataclasses import dataclass

from lagg.cli.capture import CAPTURED_DROPS
from lagg.cli.flow import FIELDS
from lagg.cli.ifconfig_words import WORDS as IFCONFIG_WORDS
from lagg.cli.sysctl import KNOBS
from lagg.model import Proto
from lagg.paths import DEFAULT_SOCKET
from lagg.watches import WatchKind
from manual.words import Option, Words, commands, globals_of_laggctl

HEAD = "# SPDX-License-Identifier: BSD-2-Clause\n# Made by tools/manual.\n"

_FIELDS = tuple(f"{field}=" for field in FIELDS)

CHOICES = {
    "P": tuple(proto.value for proto in Proto),
    "L": ("l2", "l3", "l4", "l2,l3", "l3,l4", "l2,l3,l4", "l2,l3,l4,inner"),
    "W": tuple(f"{kind.value}," for kind in WatchKind),
    "REASON": CAPTURED_DROPS,
    "NAME[=VALUE]": tuple(KNOBS),
    "WORD": IFCONFIG_WORDS,
    "FLOW": _FIELDS,
}
NEW_PORTS = {"create", "attach"}
"""Where a port is to be one that is none yet."""

_SOCKET = f"${{LAGGD_SOCKET:-{DEFAULT_SOCKET}}}"
_LAGGS = """grep -o '"name": "[^"]*", "counters"' | cut -d '"' -f 4"""
_PORTS = """grep -o '"name": "[^"]*", "tx_frames"' | cut -d '"' -f 4"""


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be written: words, and what is found by "laggs", "ports" and so on."""

    words: tuple[str, ...] = ()
    source: str = "none"

    def __str__(self) -> str:
        """The words of a shell function that has both."""
        return " ".join((self.source, *self.words))


def offer_of(command: str, value: str, choices: tuple[str, ...] = ()) -> Offer:
    """For a value, as "IF", of a command's option or place."""
    words = choices or CHOICES.get(value, ())
    if value == "NAME":
        return Offer(words, "none" if command == "create" else "laggs")
    if value in ("IF", "PORT"):
        return Offer(words, "interfaces" if command in NEW_PORTS else "ports")
    if value in ("FILE", "PATH", "DIR") or (command, value) == ("explain", "FLOW"):
        return Offer(words, "files")
    if value == "WORD":
        return Offer(words, "interfaces")
    return Offer((*words, "bucket=") if value == "FLOW" else words)


def _rest(words: Words) -> Offer:
    """What may stand after the lagg's name, or where there is none."""
    offers = [
        offer_of(words.command, place.value)
        for place in words.places
        if place.value != "NAME"
    ]
    found = tuple(word for each in offers for word in each.words)
    sources = [each.source for each in offers if each.source != "none"]
    return Offer(found, sources[-1] if sources else "none")


def _takes_name(words: Words) -> bool:
    return any(place.value == "NAME" for place in words.places)


def bash() -> str:
    """A function for complete -F."""
    values = "".join(
        f"  '{words.command} {flag}') _laggctl_offer"
        f" {offer_of(words.command, each.value, each.choices)}; return ;;\n"
        for words in commands()
        for flag, each in _flags_with_value(words.options)
    )
    everywhere = "".join(
        f"  *' {flag}') _laggctl_offer {offer_of('', each.value)}; return ;;\n"
        for flag, each in _flags_with_value(globals_of_laggctl())
    )
    rows = "".join(_bash_row(words) for words in commands())
    flags = " ".join([*_flags(globals_of_laggctl()), "--help"])
    return f"""{HEAD}
{_bash_offer()}
_laggctl() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
  local command= name= options= lagg= rest= each
  for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    if [[ -n $command ]]; then
      [[ -z $name && $each != -* ]] && name=$each
      continue
    fi
    case $each in
    {"|".join(words.command for words in commands())}) command=$each ;;
    esac
  done
  COMPREPLY=()
  case "$command $before" in
{values}{everywhere}  esac
  case $command in
{rows}  *) _laggctl_offer none {_command_line_words()}; return ;;
  esac
  if [[ $word == -* ]]; then
    _laggctl_offer none $options {flags}
  elif [[ -n $lagg && -z $name ]]; then
    _laggctl_offer $lagg
  else
    _laggctl_offer $rest
  fi
}}
complete -F _laggctl laggctl
"""


def _bash_offer() -> str:
    """The functions that find what may be written."""
    return f"""_laggctl_names() {{
  [[ -S {_SOCKET} ]] && command laggctl --json stats "$@" 2>/dev/null
}}

_laggctl_offer() {{
  local found=${{*:2}}
  case $1 in
  laggs) found+=" $(_laggctl_names | {_LAGGS})" ;;
  ports) found+=" $(_laggctl_names "$name" | {_PORTS})" ;;
  interfaces) found+=" $(command ls /sys/class/net)" ;;
  esac
  COMPREPLY=($(compgen -W "$found" -- "$word"))
  [[ $1 == files ]] && COMPREPLY+=($(compgen -f -- "$word"))
  [[ ${{COMPREPLY[0]}} == *[=,] ]] && compopt -o nospace 2>/dev/null
  return 0
}}
"""


def _bash_row(words: Words) -> str:
    flags = " ".join(_flags(words.options))
    name = str(offer_of(words.command, "NAME")) if _takes_name(words) else ""
    offers = f"options='{flags}' lagg='{name}' rest='{_rest(words)}'"
    return f"  {words.command}) {offers} ;;\n"


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
        f"    {line}" for each in globals_of_laggctl() for line in _zsh_option("", each)
    )
    return f"""#compdef laggctl
{HEAD}
{_zsh_offer()}
_laggctl() {{
  local line state
  local -a laggctl_commands=(
{purposes}
  )
  _arguments -C \\
    '--help[what may be written]' \\
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


def _zsh_offer() -> str:
    """The functions that find what may be written."""
    return f"""_laggctl_names() {{
  [[ -S {_SOCKET} ]] && command laggctl --json stats "$@" 2>/dev/null
}}

_laggctl_offer() {{
  local name=${{${{words[2,CURRENT-1]:#-*}}[1]}}
  local -a found=("${{@:2}}")
  case $1 in
  laggs) found+=(${{(f)"$(_laggctl_names | {_LAGGS})"}}) ;;
  ports) found+=(${{(f)"$(_laggctl_names "$name" | {_PORTS})"}}) ;;
  interfaces) found+=(${{(f)"$(command ls /sys/class/net)"}}) ;;
  files) _files ;;
  esac
  compadd -S '' -- ${{(M)found:#*[=,]}}
  compadd -- ${{found:#*[=,]}}
}}
"""


def _zsh_lines(words: Words) -> list[str]:
    lines = [
        line for each in words.options for line in _zsh_option(words.command, each)
    ]
    if _takes_name(words):
        lines.append(f"'1:NAME: _laggctl_offer {offer_of(words.command, 'NAME')}'")
    rest = [place for place in words.places if place.value != "NAME"]
    if rest:
        lines.append(f"'*:{_quoted(rest[0].value)}: _laggctl_offer {_rest(words)}'")
    return ["'--help[what may be written]'", *lines]


def _zsh_option(command: str, option: Option) -> list[str]:
    value = ""
    if option.value:
        offer = offer_of(command, option.value, option.choices)
        value = f":{_quoted(option.value)}: _laggctl_offer {offer}"
    return [f"'{flag}[{_quoted(option.help)}]{value}'" for flag in option.flags]


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
        lines += _fish_option("", "", option)
    lines.append("complete -c laggctl -l help -d 'what may be written'")
    for words in commands():
        lines += _fish_lines(words)
    return f"""{HEAD}
function __laggctl_name
  set -l words (string match -v -- '-*' (commandline -opc))
  test (count $words) -ge 3; and echo $words[3]
end

function __laggctl_names
  set -l socket {DEFAULT_SOCKET}
  set -q LAGGD_SOCKET; and set socket $LAGGD_SOCKET
  test -S $socket; and command laggctl --json stats $argv 2>/dev/null
end

function __laggctl_laggs
  __laggctl_names | {_LAGGS}
end

function __laggctl_ports
  __laggctl_names (__laggctl_name) | {_PORTS}
end

{chr(10).join(lines)}
"""


def _fish_lines(words: Words) -> list[str]:
    when = f"__fish_seen_subcommand_from {words.command}"
    lines = [
        line
        for option in words.options
        for line in _fish_option(f" -n '{when}'", words.command, option)
    ]
    before = f"{when}; and not __laggctl_name >/dev/null"
    after = when
    if _takes_name(words):
        name = _fish_offer(offer_of(words.command, "NAME"))
        lines += [f"complete -c laggctl -n '{before}'{name}"] if name else []
        after = f"{when}; and __laggctl_name >/dev/null"
    rest = _fish_offer(_rest(words))
    return lines + ([f"complete -c laggctl -n '{after}'{rest}"] if rest else [])


def _fish_option(when: str, command: str, option: Option) -> list[str]:
    value = ""
    if option.value:
        offer = offer_of(command, option.value, option.choices)
        must = "-r" if offer.source == "files" else "-x"  # without files
        value = f" {must}{_fish_offer(offer)}"
    found = []
    for flag in option.flags:
        word = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
        help_ = _fish_quoted(option.help)
        found.append(f"complete -c laggctl{when} {word}{value} -d '{help_}'")
    return found


_FISH = {
    "laggs": "(__laggctl_laggs)",
    "ports": "(__laggctl_ports)",
    "interfaces": "(command ls /sys/class/net)",
}


def _fish_offer(offer: Offer) -> str:
    words = " ".join((*offer.words, _FISH.get(offer.source, ""))).strip()
    files = " -F" if offer.source == "files" else ""
    return f"{files} -a '{words}'" if words else files


def _fish_quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _flags(options: tuple[Option, ...]) -> list[str]:
    return [flag for option in options for flag in option.flags]


def _flags_with_value(options: tuple[Option, ...]) -> list[tuple[str, Option]]:
    return [(flag, each) for each in options if each.value for flag in each.flags]


def _command_line_words() -> str:
    return " ".join(
        [*(words.command for words in commands()), *_flags(globals_of_laggctl())]
    )
