# SPDX-License-Identifier: BSD-2-Clause
"""The three standard descriptors, of whoever starts our programs.  Knows no program."""

import os


def fill_closed() -> None:
    """Opens those the caller has closed, so that no socket gets the number of one.

    To be called before anything else is opened.
    """
    opened = os.open(os.devnull, os.O_RDWR)
    while opened <= 2:
        os.set_inheritable(opened, True)
        opened = os.open(os.devnull, os.O_RDWR)
    os.close(opened)
