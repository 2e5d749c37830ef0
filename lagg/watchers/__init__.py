# SPDX-License-Identifier: BSD-2-Clause
"""Link watchers as machines on an integer clock: is the path behind a port alive?

No socket, no asyncio, no lagg: frames and time go in, frames and a verdict come out.
"""
