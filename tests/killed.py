"""What processes that were killed leave."""

import os
import subprocess
import sys
from pathlib import Path

from tests.forks import ROOT


def draft_of_a_killed_process(path: Path) -> Path:
    """Name of a draft of a file by a process that has ended; nothing is there yet."""
    script = "import sys; from pathlib import Path; from fused_clip.support.drafts import draft_of\n"
    script += "print(draft_of(Path(sys.argv[1])))"
    words = [sys.executable, "-c", script, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return Path(
        subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    )
