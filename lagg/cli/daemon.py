# SPDX-License-Identifier: BSD-2-Clause
"""The laggd that a command line means.

Owns how long a command waits for one that is still starting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lagg.control.client import START_S, Client

if TYPE_CHECKING:
    import argparse


def laggd_of(arguments: argparse.Namespace) -> Client:
    """The one at --socket.  NoDaemonError where none answers, or starts to."""
    return Client(arguments.socket, START_S)
