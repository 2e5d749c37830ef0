# SPDX-License-Identifier: BSD-2-Clause
"""What a lagg's ports are to do, decided: shapes, the plans made of them, and why.

Owns lagg(4)'s rules for who carries a frame, and which flows wait when that changes.
Pure: values in, values out; knows no kernel, no device and no clock.
"""
