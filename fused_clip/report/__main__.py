"""Make a report of runs: ``python -m fused_clip.report --study NAME``."""

import sys

from fused_clip.report.command import main

sys.exit(main())
