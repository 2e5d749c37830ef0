# SPDX-License-Identifier: BSD-2-Clause
"""The manual pages and the completions, made from the parsers and the options' rows.

text.py has what those do not say; everything that a program reads is never written a
second time.  Pure but for __main__.py, which writes files.
"""
