# SPDX-License-Identifier: BSD-2-Clause
"""As much of sh's grammar as configurations are written in: text in, commands out.

Owns quoting, lines that go on, variables that the text itself sets, and loops over
words.  What only a shell can know, as the output of a command, stays as it is written.
All is taken as run: conditions are not asked.  Pure; knows no command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

COMMANDS_MAX = 100_000
WORD_CHARS_MAX = 1 << 16
HERE_CHARS_MAX = 1 << 20
"""A few lines could ask for more of each than there is memory or time."""

KEYWORDS = frozenset(
    ("if", "then", "else", "elif", "fi", "while", "until", "do", "done", "!", "{", "}")
)
"""What may stand before a command, and says only when it runs."""


class ShellCommand(NamedTuple):
    """A simple command, its words as the shell would pass them."""

    words: list[str]
    target: str | None  # where its output goes: > FILE
    line: int
    here: str | None = None  # the lines of its here-document, its input

    def __str__(self) -> str:
        """As it might be typed."""
        into = [] if self.target is None else [">", self.target]
        return " ".join([*self.words, *into])


class _Piece(NamedTuple):
    """A part of a word."""

    text: str
    name: str | None = None  # of a variable; then `text` is how it was written
    default: str | None = None
    quoted: bool = False


_Word = list[_Piece]


class _Raw(NamedTuple):
    """A command before its variables have values."""

    words: list[_Word]
    target: _Word | None
    line: int
    here: _Word | None = None


def commands(text: str, known: dict[str, str] | None = None) -> list[ShellCommand]:
    """The commands in the order in which they run; `known` are variables beforehand.

    ValueError where the text is no shell's, as when a quote is not closed.
    """
    run = _Expansion(dict(known or {}))
    run.all(_scanned(text))
    return run.found


def assignment(word: str) -> tuple[str, str, str] | None:
    """`name=value` or `name+=value` as its three parts."""
    found = re.fullmatch(r"([A-Za-z_]\w*)([+-]?=)(.*)", word, re.DOTALL | re.ASCII)
    return (found[1], found[2], found[3]) if found else None


# ---- running -----------------------------------------------------------------------


class _Expansion:
    """Variables, and the commands so far."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables
        self._run = 0
        self.found: list[ShellCommand] = []

    def all(self, raw: list[_Raw]) -> None:
        """In order, each loop as often as it has words."""
        at, ends = 0, _ends_of_loops(raw)
        while at < len(raw):
            if at in ends:
                self._loop(raw[at], raw[at + 1 : ends[at]])
            else:
                self._one(raw[at])
            at = ends.get(at, at) + 1

    def _loop(self, head: _Raw, body: list[_Raw]) -> None:
        """`for NAME in WORDS`: its body once for each word."""
        _, name, *rest = self._words(head.words)
        for value in rest[1:]:
            self._count()
            self._variables[name] = value
            self.all(body)

    def _count(self) -> None:
        """Another command, or turn of a loop.  ValueError when they are too many."""
        self._run += 1
        if self._run > COMMANDS_MAX:
            raise ValueError(f"more than {COMMANDS_MAX} commands")

    def _one(self, raw: _Raw) -> None:
        self._count()
        words = self._words(raw.words)
        while words and words[0] in KEYWORDS:
            words = words[1:]
        if not words and raw.target is None:
            return
        target = None if raw.target is None else "".join(self._fields(raw.target))
        self._remember(words)
        here = None if raw.here is None else self._text(raw.here)
        self.found.append(ShellCommand(words, target, raw.line, here))

    def _remember(self, words: list[str]) -> None:
        """Variables of a line that only sets them."""
        plain = words[1:] if words[:1] in (["export"], ["local"]) else words
        parts = [assignment(word) for word in plain]
        for part in parts if all(parts) else ():
            assert part is not None
            name, sign, value = part
            before = self._variables.get(name, "") if sign == "+=" else ""
            self._variables[name] = before + value

    def _words(self, words: list[_Word]) -> list[str]:
        return [field for word in words for field in self._fields(word)]

    def _fields(self, word: _Word) -> list[str]:
        """The word with its variables; where these are not quoted, maybe several."""
        own = _variable_set(word)
        fields, is_word = [""], any(piece.name is None for piece in word)
        for piece in word:
            value = self._value(piece, own)
            if own or piece.name is None or piece.quoted:
                fields[-1] += value
                is_word = True
            else:
                first, *others = value.split() or [""]
                fields[-1] += first
                fields += others
            if len(fields[-1]) > WORD_CHARS_MAX:
                raise ValueError(f"a word of more than {WORD_CHARS_MAX} characters")
        return fields if is_word or fields != [""] else []

    def _text(self, pieces: _Word) -> str:
        """The text of a here-document with its variables."""
        text, chars = list[str](), 0
        for piece in pieces:
            text.append(self._value(piece, None))
            chars += len(text[-1])
            if chars > HERE_CHARS_MAX:
                raise ValueError(f"a here-document of more than {HERE_CHARS_MAX}")
        return "".join(text)

    def _value(self, piece: _Piece, own: str | None) -> str:
        """`own` is the variable that is being set: it begins empty."""
        if piece.name is None:
            return piece.text
        if piece.name in self._variables:
            return self._variables[piece.name]
        if piece.name == own and piece.default is None:
            return ""
        return piece.text if piece.default is None else piece.default


def _variable_set(word: _Word) -> str | None:
    """NAME of NAME=..., whose value is one word whatever is in it."""
    parts = None if word[0].quoted else assignment(word[0].text)
    return parts[0] if parts else None


def _ends_of_loops(raw: list[_Raw]) -> dict[int, int]:
    """Where each outer `for NAME in ...` begins, and its `done`."""
    ends: dict[int, int] = {}
    begun: list[int] = []
    for index, each in enumerate(raw):
        head = [_literal(each, at) for at in (0, 1)]
        if {"for", "while", "until"}.intersection(head):
            begun.append(index)
        elif head[0] == "done" and begun:
            start = begun.pop()
            if not begun and _literal(raw[start], 2) == "in":
                ends[start] = index
    return ends


def _literal(raw: _Raw, at: int) -> str | None:
    """A word that has no quote and no variable, as keywords are."""
    if at >= len(raw.words) or len(raw.words[at]) != 1:
        return None
    (piece,) = raw.words[at]
    return None if piece.quoted or piece.name is not None else piece.text


# ---- scanning ----------------------------------------------------------------------

_TOKEN = re.compile(
    r"""
    (?P<gap>      [ \t\r\f\v]+ | \\\n )
  | (?P<comment>  (?<![^\s;&|()]) \# [^\n]* )
  | (?P<twin>     (?<![^\s;&|()]) \d? >& [\d-]+ )
  | (?P<aside>    (?<![^\s;&|()]) [2-9] >[>|]? )
  | (?P<into>     (?<![^\s;&|()]) [1&]? >[>|]? )
  | (?P<here>     <<-? [ \t]* (?P<quote>["']?) (?P<end>\w+) (?P=quote) )
  | (?P<from>     \d?(?: <[<&>]? | >& ) )
  | (?P<stop>     \n | ;;? | &&? | \|\|? | [()] )
  | (?P<single>   '[^']*' )
  | (?P<double>   "(?: [^"\\] | \\. )*" )
  | (?P<escaped>  \\. )
  | (?P<variable> \$\{ [^}]* \} | \$\w+ )
  | (?P<output>   \$\( (?: [^()] | \( [^()]* \) )* \) | ` [^`]* ` )
  | (?P<plain>    [^\s;&|<>()'"\\$`\#>]+ | [\#$>] )
    """,
    re.VERBOSE | re.DOTALL,
)
_EXPANSION = re.compile(
    r"\$(?:\{(?P<name>\w+)(?P<default>:?-[^}]*)?\}|(?P<short>[A-Za-z_]\w*|\d))"
)
_QUOTED = re.compile(
    r"\\(?P<escaped>.)|(?P<expansion>\$\{[^}]*\}|\$[A-Za-z_]\w*)|[^\\$]+|.", re.DOTALL
)
_UNESCAPED = {"\n": "", '"': '"', "\\": "\\", "$": "$", "`": "`"}


class _Scan:
    """Words and commands as they come together."""

    def __init__(self) -> None:
        self.found: list[_Raw] = []
        self._words: list[_Word] = []
        self._word: _Word | None = None
        self._target: _Word | None = None
        self._redirects: str | None = None  # the kind of the token before this word
        self._line = 0  # where the command begins

    def add(self, pieces: Iterable[_Piece], line: int) -> None:
        """A part of the word that has begun, or of a new one."""
        if not self._words and self._word is None:
            self._line = line
        if self._word is None:
            self._word = []
        self._word += pieces

    def end_word(self) -> None:
        """Ends a word: one of the command's, or the file for its output."""
        if self._word is None:
            return
        if self._redirects == "into":
            self._target = self._word
        elif self._redirects is None:
            self._words.append(self._word)
        self._word = self._redirects = None

    def redirect(self, kind: str) -> None:
        """What comes next is no word of the command."""
        self.end_word()
        self._redirects = kind

    def end_command(self) -> None:
        """The next word is another's."""
        self.end_word()
        if self._words or self._target:
            self.found.append(_Raw(self._words, self._target, self._line))
        self._words, self._target, self._redirects = [], None, None


def _scanned(text: str) -> list[_Raw]:
    scan, at, line, here = _Scan(), 0, 1, list[_Here]()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"line {line}: a quote is not closed")
        if found["end"]:
            here.append(_Here(len(scan.found), found["end"], bool(found["quote"])))
        _take(scan, found, line)
        after = found.end()
        if found[0] == "\n" and here:
            after, here = _read_here(scan.found, here, text, after), []
        line += text.count("\n", at, after)
        at = after
    scan.end_command()
    return scan.found


def _take(scan: _Scan, found: re.Match[str], line: int) -> None:
    token = found[0]
    match found.lastgroup:
        case "gap":
            if token != "\\\n":
                scan.end_word()
        case "comment" | "here" | "twin":
            scan.end_word()
        case "into" | "aside" | "from":
            scan.redirect(found.lastgroup)
        case "stop":
            scan.end_command()
        case "double":
            scan.add(_in_quotes(token[1:-1]), line)
        case "single":
            scan.add([_Piece(token[1:-1], quoted=True)], line)
        case "escaped":
            scan.add([_Piece(token[1:], quoted=True)], line)
        case "variable":
            scan.add([_variable(token, quoted=False)], line)
        case _:
            scan.add([_Piece(token)], line)


def _in_quotes(text: str) -> Iterator[_Piece]:
    """The pieces of "..." without its quotes; an empty one is a word, too."""
    yield _Piece("", quoted=True)
    for found in _QUOTED.finditer(text):
        if found["expansion"]:
            yield _variable(found[0], quoted=True)
        else:
            escaped = found["escaped"]
            plain = found[0] if escaped is None else _UNESCAPED.get(escaped, found[0])
            yield _Piece(plain, quoted=True)


def _variable(token: str, *, quoted: bool) -> _Piece:
    found = _EXPANSION.fullmatch(token)
    if found is None:  # ${x#y} and the like
        return _Piece(token, quoted=True)
    default = found["default"]
    value = default.lstrip(":").removeprefix("-") if default is not None else None
    return _Piece(token, found["name"] or found["short"], value, quoted)


class _Here(NamedTuple):
    """A here-document whose lines are still to come."""

    command: int  # which of those found it belongs to
    end: str
    is_quoted: bool  # then nothing in it is expanded


def _read_here(found: list[_Raw], heres: list[_Here], text: str, at: int) -> int:
    """Gives each command its lines; answers where the text goes on."""
    for here in heres:
        end = re.compile(rf"^\t*{re.escape(here.end)}[ \t]*$", re.MULTILINE)
        last = end.search(text, at)
        body = text[at : len(text) if last is None else last.start()]
        plain = [_Piece(body, quoted=True)]
        if here.command < len(found):
            pieces = plain if here.is_quoted else list(_in_quotes(body))
            found[here.command] = found[here.command]._replace(here=pieces)
        at = len(text) if last is None else last.end()
    return at
