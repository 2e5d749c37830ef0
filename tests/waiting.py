# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for a condition, never for a time: the lab's, for every test."""

from lab.waiting import wait_until

__all__ = ["wait_until"]
