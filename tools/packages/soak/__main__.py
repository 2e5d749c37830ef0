# SPDX-License-Identifier: BSD-2-Clause
"""A laggd under everything at once: clients, kernel, traffic; for a minute or a night.

The same --seed replays every actor's sequence.
"""

import argparse
import secrets
import sys

from lab.lab import Lab
from soak.sanitized import SANITIZERS
from soak.soak import Soak


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="tools/soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="replays a run")
    parser.add_argument("--seconds", type=float, default=60, help="30000: a night")
    parser.add_argument("--rate", type=int, default=20_000, help="frames a second")
    parser.add_argument(
        "--sanitize",
        choices=SANITIZERS,
        help="asan: AddressSanitizer and UBSan; tsan: ThreadSanitizer",
    )
    parser.add_argument("--refusals", action="store_true", help="why what was refused")
    parser.add_argument("--log-level", default="warning")
    found = parser.parse_args()
    seed = secrets.randbits(32) if found.seed is None else found.seed
    print(f"seed {seed}, {found.seconds:g} s", flush=True)
    with Lab("soak") as lab:
        soak = Soak(
            lab,
            seed,
            rate=found.rate,
            sanitizer=found.sanitize,
            log_level=found.log_level,
        )
        report = soak.run(found.seconds)
        if report.faults:
            soak.laggd.show_log()
    print(report)
    if found.refusals:
        for cause, count in report.refusals.most_common():
            print(f"{count:7}  {cause}")
    return 1 if report.faults or report.idle else 0


if __name__ == "__main__":
    sys.exit(main())
