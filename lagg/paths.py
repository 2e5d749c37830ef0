# SPDX-License-Identifier: BSD-2-Clause
"""Where laggd's files are, unless a command line says otherwise.

Constants and one environment variable; touches no file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_CONFIG = "/etc/laggd/laggd.toml"
DEFAULT_STATE_DIR = "/run/laggd"
DEFAULT_SOCKET = f"{DEFAULT_STATE_DIR}/laggd.sock"

FORWARDER_SOCKET = "forwarder.sock"
"""In the state directory, if laggd has started lagg-forwarder."""


def socket_path() -> str:
    """Where laggd listens: LAGGD_SOCKET, else DEFAULT_SOCKET."""
    return os.environ.get("LAGGD_SOCKET") or DEFAULT_SOCKET


def forwarder_program() -> Path:
    """The program lagg-forwarder, which is built beside the C extension."""
    from pathlib import Path  # of no use to laggctl, which starts often

    return Path(__file__).with_name("lagg-forwarder")
