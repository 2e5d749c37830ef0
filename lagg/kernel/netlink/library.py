# SPDX-License-Identifier: BSD-2-Clause
"""pyroute2, of which laggd uses the classes of messages, and none of its sockets.

Owns that no more of it is loaded: its package imports all it has, iproute, ndb and
conntrack, which is a quarter of laggd's start.  Knows no message.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType

NAME = "pyroute2"


class _Package(ModuleType):
    """The package without what its own file makes, until somebody asks for that.

    So its parts can be imported by themselves; and who wants the whole, as tests do in
    our process, has it.
    """

    def __getattr__(self, name: str) -> object:
        """A part of it, or else the whole; not what is looked for in any module."""
        if name.startswith("__"):
            raise AttributeError(name)
        if find_spec(f"{NAME}.{name}") is not None:
            return import_module(f"{NAME}.{name}")
        _load(self)
        return getattr(self, name)


def _load(package: ModuleType) -> None:
    package.__class__ = ModuleType
    assert package.__spec__ is not None
    assert package.__spec__.loader is not None
    package.__spec__.loader.exec_module(package)


def use_parts() -> None:
    """To be called before the first import of a part of it."""
    if NAME in sys.modules:
        return
    spec = find_spec(NAME)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {NAME!r}", name=NAME)
    package = module_from_spec(spec)
    package.__class__ = _Package
    sys.modules[NAME] = package
