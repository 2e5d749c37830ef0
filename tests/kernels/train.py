# SPDX-License-Identifier: BSD-2-Clause
"""Inside a machine: trains of datagrams to an address, and whether it still hears.

    python tests/kernels/train.py ADDRESS ROUNDS     prints after which it was deaf

Each train is one buffer that the kernel is to cut (UDP_SEGMENT), as QUIC's senders use.
"""

import socket
import struct
import sys
import time

UDP_SEGMENT = 103
SEGMENT, SEGMENTS, TRAINS = 1000, 8, 4
DISCARD = 9
ECHO_REQUEST, ECHO_REPLY = 8, 0
PATIENCE_S, RETRY_S = 5.0, 0.2


def send_trains(to: socket.socket) -> None:
    """Some, one after the other."""
    for _ in range(TRAINS):
        try:
            to.send(bytes(SEGMENT * SEGMENTS))
        except ConnectionRefusedError:
            continue  # nobody receives them there, and it says so


def answers(echo: socket.socket, number: int) -> bool:
    """Whether an echo comes back, at once or somewhat later."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        echo.send(struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, 0, number))
        try:
            reply = struct.unpack_from("!BBHHH", echo.recv(64))
        except TimeoutError:
            continue
        if (reply[0], reply[4]) == (ECHO_REPLY, number):
            return True
    return False


def main() -> None:
    """The rounds."""
    address, rounds = sys.argv[1], int(sys.argv[2])
    to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    to.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SEGMENT)
    to.connect((address, DISCARD))
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    echo.settimeout(RETRY_S)
    echo.connect((address, 0))
    deaf = []
    for number in range(rounds):
        send_trains(to)
        if not answers(echo, number):
            deaf.append(number)
    print(*deaf)


if __name__ == "__main__":
    main()
