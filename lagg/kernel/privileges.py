# SPDX-License-Identifier: BSD-2-Clause
"""What laggd may do: two capabilities for the process, none for a worker.

Owns capget(2), capset(2) and no_new_privs.  Capabilities are a thread's own; a new
thread has those of its maker.  Knows no lagg.
"""

import ctypes
import errno
import os
import resource
import socket
from contextlib import suppress

from lagg.errors import LaggError

NEEDED = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
"""For TAPs, links and nftables; for packet sockets.  linux/capability.h's numbers."""

TUN = "/dev/net/tun"

_VERSION_3 = 0x20080522
_PR_SET_NO_NEW_PRIVS = 38

_REMEDY = (
    "start laggd as root, by its systemd unit, or by"
    " setpriv --inh-caps +net_admin,+net_raw --ambient-caps +net_admin,+net_raw"
)
_TUN_REMEDIES = {
    errno.EACCES: "make it mode 0666, as udev does: it gives nothing by itself",
    errno.EPERM: "allow this device to the service or container",
    errno.ENOENT: "load the kernel module: modprobe tun",
    errno.ENODEV: "load the kernel module: modprobe tun",
}

_libc = ctypes.CDLL(None, use_errno=True)


class MissingError(LaggError):
    """laggd may not do what it is for; says which right is missing and the remedy."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Bits(ctypes.Structure):
    """32 of the capabilities; capset(2) takes two of these."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def require() -> None:
    """MissingError unless both capabilities are effective, here, and TAPs can be made.

    Asks only; nothing is changed.
    """
    held = effective()
    missing = [name for name, bit in NEEDED.items() if not held >> bit & 1]
    if missing:
        cause = f"{' and '.join(missing)} missing: {_REMEDY}"
        raise MissingError("laggd", cause, errno.EPERM)
    _require_packets()
    _require_tun()


def _require_packets() -> None:
    """Capabilities count only where their user namespace owns the network's."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError as error:
        cause = (
            "CAP_NET_RAW counts for nothing in this network namespace, which belongs"
            " to another user namespace: enter that one, or make a network namespace"
        )
        raise MissingError("laggd", cause, error.errno or errno.EPERM) from error


def _require_tun() -> None:
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        code = error.errno or errno.EIO
        remedy = _TUN_REMEDIES.get(code, "no TAP can be made")
        cause = f"uid {os.geteuid()} cannot open it: {error.strerror}; {remedy}"
        raise MissingError(TUN, cause, code) from error


def confine() -> None:
    """Gives up every capability but those NEEDED, and the way to new ones, for good.

    For the first thread, while it is the only one.  OSError if the kernel refuses.
    """
    # A port that transmits by AF_XDP locks 128 KiB, and 8 MiB are usual.
    with suppress(ValueError, OSError):
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise _last_error("prctl")
    # A port has a handful of descriptors, and 1024 are usual.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    kept = sum(1 << bit for bit in NEEDED.values())
    _set(kept & effective())


def drop_all() -> None:
    """The calling thread has no capability from now on.  OSError if refused."""
    _set(0)


def effective() -> int:
    """The calling thread's effective capabilities, as the kernel's bit mask."""
    header, halves = _Header(_VERSION_3, 0), (_Bits * 2)()
    if _libc.capget(ctypes.byref(header), halves) != 0:
        raise _last_error("capget")
    return int(halves[0].effective) | int(halves[1].effective) << 32


def _set(capabilities: int) -> None:
    """Effective and permitted; nothing is inherited, so no child has any."""
    header = _Header(_VERSION_3, 0)
    halves = (_Bits * 2)(_Bits(capabilities, capabilities, 0))
    if _libc.capset(ctypes.byref(header), halves) != 0:
        raise _last_error("capset")


def _last_error(call: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{call}: {os.strerror(code)}")
