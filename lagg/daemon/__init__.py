# SPDX-License-Identifier: BSD-2-Clause
"""laggd, the process: start and stop, reloads, its supervisor, its metrics.

Owns the manners of a service.  Knows no kernel interface and no protocol.
"""
