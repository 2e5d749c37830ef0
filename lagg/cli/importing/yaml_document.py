# SPDX-License-Identifier: BSD-2-Clause
"""A YAML document as words, lists and mappings.

Owns PyYAML, which only who imports YAML needs, and how large a document may be once its
aliases are followed.  Every scalar stays the text that was written: what is a number or
a yes is its reader's to say.  Knows no key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from lagg.cli.importing.text import Source
from lagg.cli.output import UsageError

if TYPE_CHECKING:
    import yaml

Value: TypeAlias = "str | list[Value] | Table"
Table: TypeAlias = "dict[str, Value]"

_CHARS_MAX = 1 << 17
"""PyYAML takes some seconds for as many; hundreds of bonds have less."""

_SIZE_MAX = 10_000
"""Values and keys of a file, a long one once more for each _CHARS_OF_ONE."""

_CHARS_OF_ONE = 100
_NULLS = ("", "~", "null", "Null", "NULL")


def document(source: Source) -> Value:
    """The one document of a file.

    UsageError without PyYAML.  ValueError, with the line, for what is no YAML, for a
    key that comes twice, and for more than is read.
    """
    try:
        import yaml
    except ImportError as error:
        remedy = "pip install 'laggd[netplan]', or Debian's python3-yaml"
        raise UsageError(f"{source.name}: YAML needs PyYAML: {remedy}") from error
    if len(source.text) > _CHARS_MAX:
        raise ValueError(f"{source.base}: more than {_CHARS_MAX} characters")
    try:
        root = yaml.compose(source.text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        raise ValueError(f"{source.base} {_cause(error, source.text)}") from error
    except (yaml.YAMLError, OverflowError) as error:  # a character that is none
        cause = str(error).partition("\n")[0]
        raise ValueError(f"{source.base}: no YAML: {cause}") from error
    return "" if root is None else _Nodes(source.base).value(root)


def _cause(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    line, at = (mark.line + 1, mark.index) if mark else (1, 0)
    if text[at : at + 1] == "\t":
        return f"line {line}: a tab: YAML is indented with blanks alone"
    said = ", ".join(filter(None, (error.context, error.problem)))
    return f"line {line}: no YAML: {said}"


class _Nodes:
    """Nodes as values, until there are too many."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._room = _SIZE_MAX

    def value(self, node: yaml.Node) -> Value:
        from yaml import MappingNode, SequenceNode  # which made it, so it is there

        if isinstance(node, MappingNode):
            return self._table(node)
        if isinstance(node, SequenceNode):
            self._take(1)
            return [self.value(each) for each in node.value]
        text = str(node.value)
        self._take(1 + len(text) // _CHARS_OF_ONE)
        return text

    def _table(self, node: yaml.MappingNode) -> Table:
        self._take(1)
        found: Table = {}
        for key, value in node.value:
            line = f"{self._name} line {key.start_mark.line + 1}"
            word = self.value(key)
            if not isinstance(word, str) or word == "<<":
                raise ValueError(f"{line}: a key is one word here")
            if word in found:
                raise ValueError(f"{line}: the key {word} comes twice")
            found[word] = self.value(value)
        return found

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise ValueError(f"{self._name}: more than {_SIZE_MAX} values")


# ---- values ------------------------------------------------------------------------


def table(value: Value, path: str) -> Table:
    """A mapping, which may be left empty.  ValueError names the path of another."""
    if value in _NULLS:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {said(value)} is no mapping")
    return value


def words(value: Value, path: str) -> list[str]:
    """A list of words, which may be left empty.  ValueError as table()."""
    found = [] if value in _NULLS else value
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError(f"{path}: {said(value)} is no list of words")
    return [str(each) for each in found]


def said(value: Value) -> str:
    """In YAML's flow style, without quotes."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{', '.join(map(said, value))}]"
    return f"{{{', '.join(f'{key}: {said(each)}' for key, each in value.items())}}}"
