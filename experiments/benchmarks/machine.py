"""The machine and the versions that a number belongs to."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fused_clip.support import threads

LIBRARIES = (
    "faiss-cpu",
    "numpy",
    "openTSNE",
    "open_clip_torch",
    "pillow",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "torch",
    "torchvision",
)


def environment() -> dict[str, Any]:
    """Processor, cores, threads that libraries may use, memory, system, versions of Python and libraries."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads.count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def slug(facts: Mapping[str, Any]) -> str:
    """Name of a machine in files: processor, cores, and threads where libraries use fewer.

    Parameters
    ----------
    facts : from `environment`.
    """
    processor = facts["processor"].replace("(R)", "").replace("cpu family", "").replace("model", "")
    threads = "" if facts["threads"] == facts["cores"] else f", {facts['threads']} threads"
    return "-".join(re.findall(r"[a-z0-9.]+", f"{processor}, {facts['cores']} cores{threads}".lower()))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    facts = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    named = {key.strip(): value.strip() for key, value in facts.items()}
    if "model name" not in named:
        return platform.processor() or platform.machine()
    generation = ", ".join(f"{key} {named[key]}" for key in ("cpu family", "model") if key in named)
    return f"{named['model name']} ({generation})"
