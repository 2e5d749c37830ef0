# SPDX-License-Identifier: BSD-2-Clause
"""All laggs of a network namespace: what a user may ask for, and what the kernel tells.

Owns the order of effects and the way back of each: an operation is done whole or
undone.  Knows no file of a user's, no client and no process.
"""
