# SPDX-License-Identifier: BSD-2-Clause
"""Virtual machines: a kernel of its own for a partner, or for the tree under test.

`machine` runs one, whatever it boots; `nic` is how its NICs are cabled.  What it boots
is an `image`: a small one of this machine's programs, or a `system`, a whole Debian
with systemd and udev; both with a `kernel` package, unpacked and never installed.
"""
