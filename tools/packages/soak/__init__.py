# SPDX-License-Identifier: BSD-2-Clause
"""Everything at once against one laggd, from a seed that replays it.

Run as `tools/soak`.  __main__ has the command line, soak the run, traces what must be
as before at its end, report what it shows.
"""
