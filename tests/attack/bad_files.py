"""The files that the wrong command lines name."""

import gzip
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.dataset.tars import pack
from tests.models import save_model, save_pictures

_TABLES = {
    "twice.csv": "path,label,label\nphotos/cat/0.png,cat,cat\n",
    "empty.csv": "",
    "header.csv": "path,label\n",
    "ragged.csv": "path,label\nphotos/cat/0.png\n",
    "quote.csv": 'path,label\n"photos/cat/0.png,cat\n',
    "repeated.csv": "path,label\nphotos/cat/0.png,cat\nphotos/cat/0.png,dog\n",
    "one_class.csv": "path,label\nphotos/cat/0.png,cat\nphotos/cat/1.png,cat\n",
    "blank.csv": "path,label\nphotos/cat/0.png,cat\nphotos/dog/0.png,\n",
    "gone.csv": "path,label\nphotos/cat/0.png,cat\nphotos/dog/none.png,dog\n",
    "folders.csv": "path,label\nphotos/cat/0.png,cat\nphotos/dog,dog\n",
    "few.csv": "path,label\nphotos/cat/0.png,cat\nphotos/dog/0.png,dog\n",
    "splits.csv": "path,label,fold\nphotos/cat/0.png,cat,train\nphotos/dog/0.png,dog,train\n",
    "disjoint.csv": "path,label,fold\nphotos/cat/0.png,cat,train\nphotos/dog/0.png,dog,test\n",
}
_MAPS = {
    "empty.yaml": "",
    "none.yaml": "warm: []\n",
    "null.yaml": "warm:\n",
    "word.yaml": "warm: red\n",
    "list.yaml": "[red, green]\n",
    "number.yaml": "7\n",
    "open.yaml": "warm: [red\n",
    "twice.yaml": "warm: [red]\nwarm: [green]\n",
    "two.yaml": "warm: [red]\ncold: [red]\n",
    "unknown.yaml": "warm: [orange]\n",
    "taken.yaml": "red: [green]\n",
    "boolean.yaml": "yes: [red]\n",
    "tag.yaml": "!!python/object/apply:os.system ['true']\n",
    "loop.yaml": "warm: &a [*a]\n",
    "nested.yaml": "warm: " + "[" * 5_000 + "]" * 5_000 + "\n",
    "tab.yaml": "warm:\n\t- red\n",
}
_TEXTS = {
    "list.json": "[1, 2]",
    "open.json": '{"cat": ["a"]',
    "lacking.json": '{"0": ["zero"]}',
    "empty.json": json.dumps({str(digit): [] for digit in range(10)}),
    "blank.json": json.dumps({str(digit): [""] for digit in range(10)}),
    "numbers.json": json.dumps({str(digit): [digit] for digit in range(10)}),
    "same.json": json.dumps({str(digit): ["a digit"] for digit in range(10)}),
}
_EXPERIMENTS = {
    "unknown_key.yaml": "# @package _global_\nnonsense: 1\n",
    "wrong_value.yaml": "# @package _global_\nseed: -1\n",
    "open.yaml": "# @package _global_\nseed: [1\n",
    "list.yaml": "# @package _global_\n- seed\n",
    "twice.yaml": "# @package _global_\nseed: 1\nseed: 2\n",
    "no_option.yaml": "# @package _global_\ndefaults:\n  - override /prompt: nonsense\n",
    "no_group.yaml": "# @package _global_\ndefaults:\n  - override /nonsense: task\n",
    "interpolated.yaml": "# @package _global_\nseed: ${nonsense}\n",
    "resolver.yaml": "# @package _global_\nseed: ${nonsense:1}\n",
    "itself.yaml": "# @package _global_\nseed: ${seed}\n",
}


def bomb() -> str:
    """YAML of 400 bytes whose aliases stand for 10 billion values."""
    lines = ["a0: &a0 [red, red, red, red, red, red, red, red, red, red]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 10)]
    return "\n".join(lines) + "\n"


def write_files(data: Path) -> None:
    """Write every file that a case names.

    Parameters
    ----------
    data : an empty folder.
    """
    _write_images(data)
    _write_vectors(data / "vectors")
    for folder, contents in (
        ("tables", _TABLES),
        ("maps", _MAPS),
        ("texts", _TEXTS),
        ("own/experiment", _EXPERIMENTS),
    ):
        (data / folder).mkdir(parents=True)
        for name, text in contents.items():
            (data / folder / name).write_text(text)
    tables = data / "tables"
    for name, text in _TABLES.items():  # paths start in the folder of the table
        (tables / name).write_text(text.replace("photos/", "../photos/"))
    (tables / "utf16.csv").write_text("path,label\n../photos/cat/0.png,cat\n", encoding="utf-16")
    (tables / "latin.csv").write_bytes("path,label\n../photos/cat/0.png,Käse\n".encode("latin-1"))
    (tables / "bytes.csv").write_bytes(bytes(range(256)) * 8)
    (tables / "bytes.parquet").write_bytes(bytes(range(256)) * 8)
    (tables / "folder.csv").mkdir()
    (data / "maps" / "bomb.yaml").write_text(bomb())
    (data / "maps" / "latin.yaml").write_bytes("wärm: [red]\n".encode("latin-1"))
    os.mkfifo(data / "maps" / "pipe.yaml")
    os.mkfifo(data / "texts" / "pipe.json")
    os.mkfifo(tables / "pipe.csv")
    (data / "texts" / "texts.json").write_text(
        json.dumps({str(digit): [f"digit {digit}"] for digit in range(10)})
    )
    (data / "bomb" / "experiment").mkdir(parents=True)
    (data / "bomb" / "experiment" / "bomb.yaml").write_text("# @package _global_\n" + bomb())
    (data / "own" / "experiment" / "latin.yaml").write_bytes(b"# @package _global_\nstudy: \xe4\n")
    (data / "note.txt").write_text("This is a text, and no database.\n")
    save_model(data / "run")
    save_pictures(data / "pictures", 6)
    (data / "pictures.csv").write_text("path\npictures/a/01.png\npictures/a/02.png\n")


def _write_images(data: Path) -> None:
    rows = ["path,label"]
    for name in ("cat", "dog"):
        for folder in ("photos", "broken", "pipes", "bombs", "text"):
            (data / folder / name).mkdir(parents=True)
            for index in range(10):
                pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(data / folder / name / f"{index}.png")
        rows += [f"photos/{name}/{index}.png,{name}" for index in range(10)]
    (data / "photos.csv").write_text("\n".join(rows) + "\n")
    _write_tars(data)
    (data / "broken" / "cat" / "0.png").write_bytes((data / "photos" / "cat" / "0.png").read_bytes()[:60])
    (data / "text" / "cat" / "0.png").write_text("This is no image.\n")
    (data / "bombs" / "cat" / "0.png").write_bytes(_large_png(60_000))
    os.mkfifo(data / "pipes" / "cat" / "x.png")
    os.mkfifo(data / "x.png")
    (data / "nothing").mkdir()
    (data / "empty" / "cat").mkdir(parents=True)
    (data / "empty" / "dog").mkdir()
    (data / "single" / "cat").mkdir(parents=True)
    (data / "single" / "cat" / "0.png").write_bytes((data / "photos" / "cat" / "0.png").read_bytes())
    (data / "half" / "train").mkdir(parents=True)
    for name in ("cat", "dog"):
        (data / "half" / "train" / name).symlink_to(data / "photos" / name)


def _write_tars(data: Path) -> None:
    """Tar files of the photos; others without a piece, with one more, or of another kind."""
    files: dict[str, bytes] = {}
    for name in ("cat", "dog"):
        for index in range(10):
            files[f"{name}{index}.png"] = (data / "photos" / name / f"{index}.png").read_bytes()
            files[f"{name}{index}.cls"] = name.encode()
    whole = pack(data / "shards" / "000.tar", files).read_bytes()
    tars = data / "tars"
    pack(tars / "none.tar", {})
    pack(tars / "imageless.tar", {"cat0.cls": b"cat"})
    pack(tars / "two.tar", {**files, "dog9.jpg": b""})
    pack(tars / "unlabelled.tar", {name: content for name, content in files.items() if "png" in name})
    pack(tars / "again.tar", [*files.items(), *list(files.items())[:2]])
    pack(tars / "one.tar", {name: content for name, content in files.items() if "cat" in name})
    (tars / "cut.tar").write_bytes(whole[: len(whole) // 2])
    (tars / "gzip.tar").write_bytes(gzip.compress(whole))
    (tars / "zero.tar").write_bytes(b"")


def _large_png(side: int) -> bytes:
    """A file of 100 bytes that says it has `side` squared pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        sums = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + sums

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def _write_vectors(folder: Path) -> None:
    folder.mkdir()
    vectors = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    labels = np.array(["cat", "dog"] * 20)
    spoilt, zero = vectors.copy(), vectors.copy()
    spoilt[3, 5], zero[7] = np.nan, 0
    contents: dict[str, dict[str, object]] = {
        "right": {"vectors": vectors, "labels": labels},
        "nan": {"vectors": spoilt, "labels": labels},
        "zero": {"vectors": zero, "labels": labels},
        "short": {"vectors": vectors, "labels": labels[:30]},
        "flat": {"vectors": vectors[:, 0], "labels": labels},
        "no_labels": {"vectors": vectors},
        "no_vectors": {"labels": labels},
        "words": {"vectors": vectors.astype(str), "labels": labels},
        "objects": {"vectors": vectors.astype(object), "labels": labels},
        "no_rows": {"vectors": vectors[:0], "labels": labels[:0]},
        "one_class": {"vectors": vectors, "labels": np.array(["cat"] * 40)},
    }
    for name, arrays in contents.items():
        np.savez(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    (folder / "text.npz").write_text("This is a text.\n")
