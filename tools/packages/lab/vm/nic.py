# SPDX-License-Identifier: BSD-2-Clause
"""The NICs of a virtual machine, and what is at the other end of each one's cable.

Owns QEMU's words for them, and their MACs.  Knows no machine that runs.
"""

SPEED_MBPS = 10000
"""What virtio's NICs say: the kernel's bond runs no LACP on one that says nothing."""

OFFLOADS = (
    *("csum", "guest_csum", "gso", "host_tso4", "host_tso6", "host_ecn", "host_ufo"),
    *("guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo"),
)

KINDS = {
    "virtio": ("virtio-net-pci", "virtio_net"),
    "e1000": ("e1000", "e1000"),
    "e1000e": ("e1000e", "e1000e"),
    "vmxnet3": ("vmxnet3", "vmxnet3"),
    "rtl8139": ("rtl8139", "8139cp"),
}
"""NICs: what QEMU calls them, and the driver."""

SAYS = f"speed={SPEED_MBPS},duplex=full,romfile="


def mac(number: int) -> str:
    """The MAC of NIC {number}."""
    return f"52:54:00:00:53:{number:02x}"


def far_mac(number: int) -> str:
    """The MAC of what its cable ends at, inside the same machine."""
    return f"52:54:00:00:ff:{number:02x}"


def on_tap(number: int, tap: str) -> list[str]:
    """A virtio NIC whose cable ends at a TAP of the host: nic{number}.

    What it sends are finished frames: no offload, as on a wire.
    """
    backend = f"tap,id=net{number},ifname={tap},script=no,downscript=no,vhost=off"
    off = ",".join(f"{offload}=off" for offload in OFFLOADS)
    device = f"virtio-net-pci,id=nic{number},netdev=net{number},mac={mac(number)}"
    return ["-netdev", backend, "-device", f"{device},{SAYS},{off}"]


def on_itself(number: int, kind: str) -> list[str]:
    """A NIC of a kind, nic{number}, and a virtio one far{number} at its cable's end."""
    near = f"hubport,hubid={number},id=net{number}"
    far = f"hubport,hubid={number},id=end{number}"
    device = f"{KINDS[kind][0]},id=nic{number},netdev=net{number},mac={mac(number)}"
    end = f"virtio-net-pci,id=far{number},netdev=end{number},mac={far_mac(number)}"
    return [
        *("-netdev", near, "-device", f"{device},romfile="),
        *("-netdev", far, "-device", f"{end},{SAYS}"),
    ]
