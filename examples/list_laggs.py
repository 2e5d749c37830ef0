#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every lagg with its ports, asked of laggd without any library: varlink is JSON."""

import json
import socket

with socket.socket(socket.AF_UNIX) as laggd:
    laggd.connect("/run/laggd/laggd.sock")
    laggd.sendall(json.dumps({"method": "org.laggd.Lagg.List"}).encode() + b"\0")
    with laggd.makefile("rb") as replies:
        reply = b"".join(iter(lambda: replies.read(1), b"\0"))
for lagg in json.loads(reply)["parameters"]["laggs"]:
    print(lagg["name"], lagg["link"], [port["name"] for port in lagg["ports"]])
