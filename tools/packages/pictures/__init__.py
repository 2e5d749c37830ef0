# SPDX-License-Identifier: BSD-2-Clause
"""What the documents show: a terminal's text, LACP's machines, the rooms of lagg/.

Run as `tools/pictures` and `tools/diagrams`.
"""
