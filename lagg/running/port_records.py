# SPDX-License-Identifier: BSD-2-Clause
"""What is to be seen of a lagg's ports: of its shape, a reading and LACP's view.

Pure.  Each field of records.PortRecord gets its value here, and nowhere else.
"""

from collections.abc import Mapping

from lagg.kernel.native import DeviceCounters
from lagg.lacp.values import PortStatus, View
from lagg.model import PortOptions, Transmit
from lagg.plan.plan import Standing, standings
from lagg.plan.shape import Port, Shape
from lagg.records import PortRecord, drops_record, port_lacp_record


def port_records(
    shape: Shape,
    reading: DeviceCounters,
    openings: Mapping[int, str | None],
    view: View | None,
) -> list[PortRecord]:
    """The ports in the shape's order.

    `openings`: why one is promiscuous, in words, by its ifindex; `view` is None unless
    laggproto is lacp.
    """
    statuses = {} if view is None else {each.number: each for each in view.ports}
    stand = standings(shape)
    return [
        _port_record(
            port,
            stand[port.slot],
            shape.options_of(port.link.name),
            reading,
            openings.get(port.link.ifindex),
            statuses.get(port.number),
        )
        for port in shape.ports
    ]


def _port_record(
    port: Port,
    standing: Standing,
    options: PortOptions,
    reading: DeviceCounters,
    promisc: str | None,
    status: PortStatus | None,
) -> PortRecord:
    counters = reading.ports[port.slot]
    tx = Transmit.XDP if port.slot in reading.xdp else Transmit.PACKET
    return {
        "name": port.link.name,
        "ifindex": port.link.ifindex,
        "slot": port.slot,
        "link": "up" if port.link.active else "down",
        "speed_mbps": port.modes.speed_mbps,
        "flags": [flag.value for flag in standing.flags],
        "reason": standing.reason,
        "warnings": [*port.warnings],
        "tx": tx.value,
        "tx_frames": counters.tx_frames,
        "tx_bytes": counters.tx_bytes,
        "rx_frames": counters.rx_frames,
        "rx_bytes": counters.rx_bytes,
        "rings_reopened": reading.reopened[port.slot],
        "drops": drops_record(counters.drops),
        "promisc": promisc,
        "lacp_port_priority": options.lacp_port_priority,
        "lacp": None if status is None else port_lacp_record(status),
    }
