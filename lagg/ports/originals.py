# SPDX-License-Identifier: BSD-2-Clause
"""How ports were before they were ports, and the file that outlives a killed daemon.

Owns what is remembered of a port, the order of putting it back, and the state file with
its lock.  Knows no lagg.  The file holds nothing but originals.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import asdict, replace
from ipaddress import ip_interface
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any, cast

from lagg.errors import LaggError
from lagg.frozen import dataclass
from lagg.kernel.netlink import Netlink
from lagg.kernel.proc import boot_id
from lagg.link import IFA_F_NODAD, Address, AddrGenMode, Link, Offload

log = logging.getLogger(__name__)

VERSION = 1

S32_MAX = 2**31 - 1
U32_MAX = 2**32 - 1
U8_MAX = 2**8 - 1

_LOCK_TURN_S = 0.002
"""Between two looks whether a lock is free: who has it is about to end."""

_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Original:
    """A port as it was found.  On a rename `name` must follow: it is the identity."""

    ifindex: int
    name: str
    kind: str
    permanent_mac: str
    mac: str
    mtu: int  # bytes
    up: bool
    addr_gen_mode: AddrGenMode | None
    addresses: tuple[Address, ...]  # those of its own, which attach takes away
    found_s: int = 0  # when that was, by the clock of this boot: addresses grow old
    offloads: tuple[Offload, ...] = ()  # those that were on


async def remember(netlink: Netlink, ifindex: int) -> Original:
    """The port as it is now.  LaggError(ENODEV) if it is gone."""
    link = await netlink.link(ifindex)
    addresses = await netlink.addresses(ifindex)
    return Original(
        ifindex=ifindex,
        name=link.name,
        kind=link.kind,
        permanent_mac=link.permanent_mac,
        mac=link.mac,
        mtu=link.mtu,
        up=link.up,
        addr_gen_mode=link.addr_gen_mode,
        addresses=tuple(
            each for each in addresses if each.self_made and not each.temporary
        ),
        found_s=_now_s(),
        offloads=await netlink.offloads(ifindex),
    )


def _now_s() -> int:
    return int(time.clock_gettime(time.CLOCK_BOOTTIME))


async def put_back(
    netlink: Netlink, original: Original, *, same: Callable[[], bool] = lambda: False
) -> bool:
    """Makes the port be as it was, every item that can be; logs what cannot.

    `same` may attest that it is the interface remembered; else it is told by its name.

    False when something could not.  An interface that is gone, or another one by now,
    is left alone, and that is success.
    """
    complaints: list[str] = []
    try:
        link = await netlink.link(original.ifindex)
    except LaggError as error:
        if error.code != errno.ENODEV:
            complaints.append(str(error))
    else:
        if same() or _is_same(link, original):
            complaints = await _put_back_all(netlink, link, original)
    if complaints:
        log.warning("%s: not put back: %s", original.name, "; ".join(complaints))
    return not complaints


def _is_same(link: Link, original: Original) -> bool:
    """Whether `link`, of the same ifindex, is the interface we remember (H-56)."""
    if (link.kind, link.permanent_mac) != (original.kind, original.permanent_mac):
        return False
    # A burnt-in address tells a renamed NIC; a virtual one has only its name.
    return bool(link.permanent_mac) or link.name == original.name


async def _put_back_all(netlink: Netlink, link: Link, original: Original) -> list[str]:
    complaints: list[str] = []
    for step in _steps(netlink, link, original):
        try:
            await step
        except LaggError as error:
            # An address that is there already is what was wanted.
            if error.code != errno.EEXIST:
                complaints.append(str(error))
    return complaints


def _steps(
    netlink: Netlink, link: Link, original: Original
) -> Iterator[Awaitable[None]]:
    """What to set, in an order in which no step undoes an earlier one."""
    ifindex = original.ifindex
    if link.mtu != original.mtu:  # first: below 1280 bytes there is no IPv6
        yield netlink.set_mtu(ifindex, original.mtu)
    if link.mac != original.mac:
        yield netlink.set_mac(ifindex, original.mac)
    for offload in original.offloads:  # before up: some drivers begin anew for it
        yield _switch_on(netlink, ifindex, offload)
    if original.addr_gen_mode is not None:  # before up, which makes addresses by it
        yield netlink.set_addr_gen_mode(ifindex, original.addr_gen_mode)
    if link.up != original.up:
        yield netlink.set_up(ifindex, original.up)
    elapsed_s = _now_s() - original.found_s
    for address in original.addresses:  # last: down takes them away
        lasting = address.later(elapsed_s)
        if lasting is not None:
            # It was this host's until a moment ago; a probe could only delay it.
            flags = lasting.flags | IFA_F_NODAD
            yield netlink.add_address(ifindex, replace(lasting, flags=flags))


async def _switch_on(netlink: Netlink, ifindex: int, offload: Offload) -> None:
    if offload not in await netlink.offloads(ifindex):
        await netlink.set_offload(ifindex, offload, on=True)


class StateFile:
    """The originals on disk, and the lock that keeps a second daemon out."""

    def __init__(
        self, directory: Path, kept: int | None = None, *, locked: bool = True
    ) -> None:
        """Takes the lock in `directory`.  LaggError names the daemon that holds it.

        `kept`: the lock as a predecessor has it, or had; it is ours from now on.  Not
        `locked`: lock() is to be called before anything is written.
        """
        self._directory = directory
        self._path = directory / "ports.json"
        # What is written of each, made once: with thousands of ports a save must not
        # keep the event loop longer than it takes to write.
        self._rows: dict[int, tuple[Original, str]] = {}
        try:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            path, flags = directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._lock = os.open(path, flags, 0o600) if kept is None else kept
        except OSError as error:
            raise LaggError.of_os(str(directory), "open the lock", error) from error
        try:
            _check_is_in(self._lock, directory)
            if locked:
                self.lock()
        except LaggError:
            os.close(self._lock)
            raise

    def lock(self, patience_s: float = 0) -> None:
        """Takes the lock, and waits so long for who has it.  LaggError (EBUSY)."""
        deadline_s = time.monotonic() + patience_s
        while True:
            try:
                return _take(self._lock, self._directory)
            except LaggError as error:
                if error.code != errno.EBUSY or time.monotonic() >= deadline_s:
                    raise
            time.sleep(_LOCK_TURN_S)

    def fileno(self) -> int:
        """The lock, to be kept for a successor."""
        return self._lock

    def close(self) -> None:
        """Gives the lock back.  The file stays as it is."""
        os.close(self._lock)

    def save(self, originals: Iterable[Original]) -> None:
        """Replaces the file, whole or not at all.  LaggError if the disk refuses."""
        text = self._encode(originals)
        aside = self._path.with_suffix(".tmp")
        try:
            with open(aside, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self._path)
        except OSError as error:
            raise LaggError.of_os(str(self._path), "save", error) from error

    def _encode(self, originals: Iterable[Original]) -> str:
        before, self._rows = self._rows, {}
        for each in originals:
            known = before.get(each.ifindex)
            if known is None or known[0] is not each:
                known = (each, _canonical(asdict(each)))
            self._rows[each.ifindex] = known
        rows = ",".join(row for _, row in self._rows.values())
        # As _canonical() of the whole: keys in order, no blanks.
        where = _canonical(_where())
        body = f'{{"originals":[{rows}],"version":{VERSION},"where":{where}}}'
        return f'{{"sha256":"{_sha256(body)}","body":{body}}}\n'

    def load(self) -> tuple[Original, ...]:
        """What a dead predecessor of this boot and namespace left to be put back.

        A file of another one is ignored, a damaged one is set aside; both are logged.
        """
        try:
            body = _checked(self._path.read_bytes())
            if body["where"] != _where():
                log.info("%s: of another boot or namespace, ignored", self._path)
                return ()
            return tuple(_original_of(row) for row in body["originals"])
        except FileNotFoundError:
            return ()
        except OSError as error:
            log.warning("%s: cannot be read: %s", self._path, error.strerror)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self._set_aside(error)
        return ()

    def _set_aside(self, error: Exception) -> None:
        aside = self._path.with_suffix(".damaged")
        log.warning("%s: damaged (%s), kept as %s", self._path, error, aside.name)
        with contextlib.suppress(OSError):
            os.replace(self._path, aside)

    def clear(self) -> None:
        """Empties the file: nothing is left to be put back."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise LaggError.of_os(str(self._path), "remove", error) from error


def _check_is_in(lock: int, directory: Path) -> None:
    """LaggError (EINVAL) unless this is the lock of that directory."""
    try:
        same = os.path.samestat(os.fstat(lock), os.stat(directory / "lock"))
    except OSError as error:
        raise LaggError.of_os(str(directory), "look at the lock", error) from error
    if not same:
        cause = "what was kept as its lock is another file"
        raise LaggError(str(directory), cause, errno.EINVAL)


def _take(lock: int, directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        cause = f"in use by another laggd (pid {holder}); give this one --state-dir"
        raise LaggError(str(directory), cause, errno.EBUSY) from error
    except OSError as error:
        raise LaggError.of_os(str(directory), "take the lock", error) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _where() -> dict[str, object]:
    """Names this boot and network namespace: an ifindex means nothing in another."""
    return {"boot": boot_id(), "netns": os.stat("/proc/thread-self/ns/net").st_ino}


def _digest(body: object) -> str:
    return _sha256(_canonical(body))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _checked(text: bytes) -> dict[str, Any]:
    """The body of the file, or one of the errors that load() takes for damage."""
    file = json.loads(text)
    body = file["body"]
    if file["sha256"] != _digest(body):
        raise ValueError("the checksum is wrong")
    if body["version"] != VERSION:
        raise ValueError(f"version {body['version']}, not {VERSION}")
    return dict(body)


def _original_of(row: dict[str, Any]) -> Original:
    """What a row says, or one of the errors that load() takes for damage."""
    mode = row["addr_gen_mode"]
    found = Original(
        **row
        | {
            "addr_gen_mode": None if mode is None else AddrGenMode(mode),
            "addresses": tuple(Address(**each) for each in row["addresses"]),
            "offloads": tuple(map(Offload, row.get("offloads", ()))),
        }
    )
    if not _is_sound(found) or not all(map(_is_sound_address, found.addresses)):
        raise ValueError(f"no port was as {found.name!r} is said to have been")
    return found


def _is_sound(found: Original) -> bool:
    """Whether the kernel can have had these values, for it is given them again."""
    words = (found.name, found.kind, found.permanent_mac, found.mac)
    return (
        all(isinstance(word, str) for word in words)
        and _MAC.fullmatch(found.mac) is not None
        and isinstance(found.up, bool)
        and _is_whole(found.ifindex, 1, S32_MAX)
        and _is_whole(found.mtu, 0, U32_MAX)
        and _is_whole(found.addr_gen_mode or 0, 0, U8_MAX)
        and _is_whole(found.found_s, 0, S32_MAX)
    )


def _is_sound_address(found: Address) -> bool:
    network = ip_interface(f"{found.address}/{found.prefixlen}")  # or ValueError
    family = AF_INET if network.version == 4 else AF_INET6
    return (
        found.family == family
        and _is_whole(found.prefixlen, 0, network.max_prefixlen)
        and _is_whole(found.scope, 0, U8_MAX)
        and _is_whole(found.proto, 0, U8_MAX)
        and _is_whole(found.flags, 0, U32_MAX)
        and _is_whole(found.valid_s, 0, U32_MAX)
        and _is_whole(found.preferred_s, 0, U32_MAX)
    )


def _is_whole(value: object, least: int, most: int) -> bool:
    """Whether it is a number in this range; a bool is none."""
    number = isinstance(value, int) and not isinstance(value, bool)
    return number and least <= cast(int, value) <= most
