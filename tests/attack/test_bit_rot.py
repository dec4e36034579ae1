"""One bit flipped in every kind of file, files cut, exchanged and replaced: no number is silently wrong.

After damage a reader gives the numbers of the undamaged files, or says in a line what is damaged.
"""

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fused_clip.backbone import OpenClipBackbone
from fused_clip.model.saved import load_model
from fused_clip.predict.journal import Journal
from fused_clip.runner import artifacts, outcomes, reuse, user_files
from fused_clip.runner.config import check
from fused_clip.store import Store
from fused_clip.support import files
from fused_clip.support.errors import InputError
from fused_clip.tracking import MlflowTracker
from fused_clip.tracking.stored_runs import open_runs
from tests.attack import rot
from tests.attack.rot import BAD, Kept, Reader
from tests.attack.scale import record, tries
from tests.conftest import ArrayRows, make_dataset
from tests.databases import with_database
from tests.fakes import FakeBackbone
from tests.loading import csv, embeddings, imagefolder
from tests.models import pictures, save_model
from tests.runner.test_config import composed
from tests.runner.test_readback import finished

JOB = {"format": 4, "model": "m" * 64, "images": ["a"], "threshold": 0.5}
PREDICTED = [
    {"path": f"{row}.png", "state": [row, 5], "target": "cat", "probability": row / 7, "margin": row * 1.37}
    for row in range(40)
]
KEY, EXTRAS = "c" * 64, {"files": "1"}
_UNSEEN = ("mlflow.", "process", "record_checksum", "table_sha256")  # tags that no report shows


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that a run, a sweep, a prediction and a user leave, small."""
    root = tmp_path_factory.mktemp("rot")
    toy = make_dataset([np.repeat(range(3), 40), np.repeat(range(3), 20)])
    for name in ("fused", "keys"):
        result = finished(toy, root / name, name, "prompt=task")
        artifacts.write_checksums(root / name)
    _read_store(root)  # fills it
    for job in range(3):
        (root / "sweep" / str(job)).mkdir(parents=True)
        metrics = {"test/accuracy": 0.8 + job / 30, "train/ari": 0.123456789}
        outcomes.record(root / "sweep" / str(job), [f"seed={job}"], metrics=metrics, run_id="1" * 32)
    Journal(root / "journal", JOB, fresh=False).extend(PREDICTED)
    _tracked(root, dataclasses.replace(result, tags={**result.tags, "data_fingerprint": "f" * 64}))
    reuse.keep(root, KEY, root / "fused", "id1", EXTRAS)
    reuse.keep(root, "d" * 64, root / "keys", "id2", EXTRAS)
    save_model(root / "saved")
    _brought(root)
    return root


def _read_store(root: Path) -> list[Any]:
    store, backbone = Store(root / "many"), FakeBackbone()
    found: list[Any] = [
        store.images(backbone, ArrayRows(name, count), np.arange(count)[::-1])
        for name, count in (("train", 1_400), ("test", 600))
    ]
    found += [store.texts(backbone, ["a cat", "a dog"]), store.texts(backbone, ["a truck"])]
    return [*found, store.cached("partition", {"a": "1"}, lambda: {"result": np.arange(500) % 7})]


def _read_stored(root: Path) -> Any:
    return Store(root / "many").stored("train-1400", "fake-1", np.arange(5, 1_300))


def _tracked(root: Path, result: Any) -> None:
    tracker = MlflowTracker(with_database(root / "out"))
    plan = [{"seed": str(seed)} for seed in range(2)]
    sweep = tracker.start_sweep("s", {"study": "x", "sweep_id": "s1", "swept": "seed"}, plan)
    (root / "fused" / "figures").mkdir()
    Image.new("RGB", (9, 9), "teal").save(root / "fused" / "figures" / "tsne.png")
    artifacts.write_checksums(root / "fused")
    pictured = [root / "fused" / "figures" / "tsne.png"]
    rows = []
    for seed in range(3):
        tags = {"study": "x", "overrides": f"seed={seed}" if seed < 2 else "", "dataset": "toy"}
        parent = sweep if seed < 2 else None
        own = {"sweep_id": "s1"} if seed < 2 else {}
        with tracker.run(f"toy-{seed}", {"seed": seed}, {**tags, **own}, parent_id=parent) as active:
            active.log(result, root / "fused", pictured)
        if seed < 2:
            rows.append({"seed": str(seed), "test/accuracy": 0.9, "error": "", "run_id": active.run_id})
    tracker.end_sweep(sweep, rows, "FINISHED")
    _checkpoint(root / "out" / "mlflow.db")


def _checkpoint(database: Path) -> None:
    """Write what SQLite's log has into the database, as the end of a process does."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _read_report(root: Path) -> Any:
    with open_runs(None, root / "out") as stored:
        records = stored.study("x")
        lost = [one.name for one in records if not one.finished]
        if lost:
            raise InputError("study", "cells are missing", lost)  # as the report says, with exit code 1
        return [
            [one.axes, one.params, one.metrics, one.seconds, one.config, one.predictions()]
            + [{key: value for key, value in one.tags.items() if not key.startswith(_UNSEEN)}]
            + [path.read_bytes() for path in one.figures.values()]
            for one in records
        ]


def _read_model(root: Path) -> Any:
    files._sha256_of.cache_clear()  # another process
    model = load_model(root / "saved", device="cpu")
    return vars(model.predict_embeddings(model.embed(pictures(6, seed=4)[0]))), model.facts.training


def _brought(root: Path) -> None:
    """What a user brings: JPEG images, a table of them, vectors in both formats."""
    images, targets = pictures(24)
    lines = ["path,label"]
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        place = root / "photos" / str(target) / f"{index}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place, quality=90)
        lines.append(f"{target}/{index}.jpg,{target}")
    (root / "photos" / "labels.csv").write_text("\n".join(lines) + "\n")
    rows = np.random.default_rng(0).normal(size=(60, 12)).astype(np.float32)
    labels = np.arange(60) % 3
    (root / "vectors").mkdir()
    np.savez(root / "vectors" / "a.npz", vectors=rows, labels=labels)
    table = pd.DataFrame({"vectors": list(rows), "labels": labels})
    table.to_parquet(root / "vectors" / "a.parquet")
    for read in (_folder, _table, _npz, _parquet):
        _used(root, read)


def _folder(root: Path) -> tuple[Any, list[str]]:
    place = str(root / "photos")
    return imagefolder(root=place), ["dataset=imagefolder", f"dataset.root={place}"]


def _table(root: Path) -> tuple[Any, list[str]]:
    place = str(root / "photos" / "labels.csv")
    return csv(path=place, image_column="path"), ["dataset=csv", f"dataset.path={place}"]


def _npz(root: Path) -> tuple[Any, list[str]]:
    place = str(root / "vectors" / "a.npz")
    return embeddings(path=place), ["dataset=embeddings", f"dataset.path={place}"]


def _parquet(root: Path) -> tuple[Any, list[str]]:
    place = str(root / "vectors" / "a.parquet")
    return embeddings(path=place), ["dataset=embeddings", f"dataset.path={place}"]


def _used(root: Path, load: Callable[[Path], tuple[Any, list[str]]]) -> Any:
    """Load what a user brought as a run does, with a model of the user's own."""
    files._sha256_of.cache_clear()  # another process
    dataset, overrides = load(root)
    backbone = OpenClipBackbone(f"local-dir:{root / 'saved' / 'clip'}", device="cpu")
    backbone.check()
    user_files.check(check(composed(*overrides)), dataset, backbone, root / "seen")
    return dataset.fingerprint, dataset.train.labels, dataset.class_names, backbone.fingerprint


def readers(root: Path) -> Iterator[Reader]:
    yield Reader("store", (root / "many",), lambda: _read_store(root))
    yield Reader("stored rows", (root / "many",), lambda: _read_stored(root))
    for name in ("fused", "keys"):
        yield Reader(
            f"run ({name})", (root / name,), lambda name=name: artifacts.read(root / name, root / "store")
        )
    found = (root / "finished", root / "fused", root / "keys")
    yield Reader("finished cells", found, lambda: _found(root))
    yield Reader("records", (root / "sweep",), lambda: _records(root))
    yield Reader("journal", (root / "journal",), lambda: _journal(root))
    yield Reader("report", (root / "out",), lambda: _read_report(root))
    yield Reader("model", (root / "saved",), lambda: _read_model(root))
    brought = (root / "photos", root / "vectors", root / "saved" / "clip", root / "seen")
    for load in (_folder, _table, _npz, _parquet):
        yield Reader(f"inputs {load.__name__}", brought, lambda load=load: _used(root, load))


def _found(root: Path) -> Any:
    """Both cells; one that is not found runs again, and gives the same."""
    expected = {KEY: (root / "fused", "id1"), "d" * 64: (root / "keys", "id2")}
    answers = []
    for key, (directory, run_id) in expected.items():
        found = reuse.find(root, key, EXTRAS, {"id1", "id2"}.__contains__)
        anew = reuse.Finished(directory, run_id, _METRICS[key])
        answers.append(found or anew)
    return answers


_METRICS: dict[str, dict[str, float]] = {}


def _records(root: Path) -> Any:
    found = outcomes.read_records(root / "sweep")
    errors = [one["error"] for one in found if one["error"]]
    if errors:
        raise InputError("sweep", errors[0])  # as its table says, with exit code 1
    return [[outcomes.table_row(one), one["setting"], one["references"]] for one in found]


def _journal(root: Path) -> Any:
    """Records, of which those that an incomplete end lost are predicted anew."""
    kept = list(Journal(root / "journal", JOB, fresh=False))
    return kept + PREDICTED[len(kept) :]


def _damage(kind: str, path: Path, others: list[Path], rng: random.Random) -> str:
    if kind == "flip":
        return rot.flip(path, rng)
    if kind == "cut":
        return rot.cut(path, rng)
    if kind == "swap":
        return rot.swap(path, others, rng)
    return rot.replace_by(kind, path)


@pytest.mark.slow
def test_no_number_is_silently_wrong(world: Path, tmp_path: Path) -> None:
    _METRICS.update(
        {KEY: artifacts.read_metrics(world / "fused"), "d" * 64: artifacts.read_metrics(world / "keys")}
    )
    rng = random.Random(14)
    counts: Counter[tuple[str, str]] = Counter()
    failures = []
    known = list(readers(world))
    kinds = ["flip"] * tries(150, 3_000) + [
        kind for kind in ("cut", "swap", "folder", "fifo", "loop", "dangling") for _ in range(tries(12, 120))
    ]
    prepared = []
    for number, reader in enumerate(known):
        kept = Kept(reader.files, tmp_path / str(number))
        prepared.append((reader, kept, rot.digest(reader.read())))
        kept.restore()
    for turn, kind in enumerate(kinds):
        reader, kept, expected = prepared[turn % len(prepared)]
        files = kept.listed()
        path = rng.choice(files)
        done = _damage(kind, path, files, rng)
        result, why = rot.outcome(reader, expected)
        counts[kind, result] += 1
        if result in BAD:
            failures.append(f"{reader.name}: {path.relative_to(world)}: {done}: {result} {why}")
            print(failures[-1], flush=True)
        kept.restore()
    flips = sum(count for (kind, _), count in counts.items() if kind == "flip")
    record("bit_rot", flips=flips, others=len(kinds) - flips, **rot.report(counts))
    print(dict(counts))
    assert not failures
