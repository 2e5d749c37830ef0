# SPDX-License-Identifier: BSD-2-Clause
"""`python -m lagg` is laggctl.  Knows nothing else."""

import sys

from lagg.cli import main

sys.exit(main())
