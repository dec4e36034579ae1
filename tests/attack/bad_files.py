"""The files that the wrong command lines name."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_files(data: Path) -> None:
    """Write every file that a case names.

    Parameters
    ----------
    data : an empty folder.
    """
    _photos(data)
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(40, 8)).astype(np.float32), np.array(["cat", "dog"] * 20)
    np.savez(data / "vectors.npz", vectors=vectors, labels=labels)
    (data / "texts.json").write_text(json.dumps({str(digit): f"digit {digit}" for digit in range(10)}))


def _photos(data: Path) -> None:
    rows = ["path,label"]
    for name in ("cat", "dog"):
        (data / "photos" / name).mkdir(parents=True)
        for index in range(10):
            pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(data / "photos" / name / f"{index}.png")
            rows.append(f"photos/{name}/{index}.png,{name}")
    (data / "photos.csv").write_text("\n".join(rows) + "\n")
