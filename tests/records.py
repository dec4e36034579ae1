"""Records of runs made up for the tests of reports."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fused_clip.tracking.records import RunRecord

SCRIPT = "<script>alert(1)</script>"


@dataclass(frozen=True)
class Folder:
    """Artifacts that are files of a directory."""

    path: Path

    def fetch(self, name: str) -> Path | None:
        found = self.path / name
        return found if found.exists() else None


def make_record(prompt: str = "task", seed: int = 0, **changes: Any) -> RunRecord:
    """A finished run on the dataset ``toy``; accuracy .9 for seed 0, .8 for seed 1 and so on."""
    axes = {"prompt": prompt, "seed": str(seed)}
    accuracy = 0.9 - 0.1 * seed
    parts: dict[str, Any] = {
        "run_id": f"{prompt}{seed}",
        "parent_id": "parent",
        "name": f"toy-{prompt}-kmeans-s{seed}",
        "status": "FINISHED",
        "axes": axes,
        "params": {"dataset": "toy", **axes},
        "metrics": {"test/accuracy": accuracy, "train/ari": 0.5, "words_in_fusion": -0.00001},
        "tags": {"study": "s", "commit": "c" * 40, "data_fingerprint": "d" * 64, "uses_labels": "true"},
        "seconds": 12.5,
    }
    return RunRecord(**{**parts, **changes})


def missing_record(prompt: str, seed: int, status: str = "MISSING", **changes: Any) -> RunRecord:
    """A cell without a number."""
    empty = {"run_id": "", "params": {}, "metrics": {}, "tags": {"study": "s"}, "seconds": float("nan")}
    return make_record(prompt, seed, status=status, **{**empty, **changes})


def png(colour: str = "teal", size: tuple[int, int] = (30, 20)) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()
