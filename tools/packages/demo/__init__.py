# SPDX-License-Identifier: BSD-2-Clause
"""The main job on two hosts inside this machine, step by step.  Run as `tools/demo`."""
