# SPDX-License-Identifier: BSD-2-Clause
"""What a user may ask of laggd, in files and in requests, and what is wrong with it.

Owns keys, their rules and the wording of complaints, and what a reload would change.
Pure but for reading files; knows no kernel and no running lagg.
"""
