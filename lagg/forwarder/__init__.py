# SPDX-License-Identifier: BSD-2-Clause
"""lagg-forwarder as laggd sees it: a process that it starts, and a client of it.

The forwarder keeps descriptors and carries frames (native/forwarder/).  Its memory and
what it says are the less trusted side: all that comes from it is looked at.
"""
