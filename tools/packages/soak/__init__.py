# SPDX-License-Identifier: BSD-2-Clause
"""Everything at once against one laggd, from a seed that replays it.

Run as `tools/soak`.  __main__ has the command line, soak the run and its verdict.
"""
