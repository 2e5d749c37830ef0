# SPDX-License-Identifier: BSD-2-Clause
"""laggd: FreeBSD's lagg(4) for Linux, in user space.  The package is an application."""

__version__ = "0.1.0"
