"""Memory and disk of one run, told before it starts."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from numpy.lib.format import open_memmap

from fused_clip.runner import resources as module
from fused_clip.runner.build import Prepared, prepare
from fused_clip.runner.config import Options, check
from fused_clip.runner.resources import check_disk, check_memory, held_bytes, memory_bytes
from fused_clip.support import memory
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from tests.forks import ROOT, Commands

LABELS = np.arange(600) % 3


@pytest.fixture(autouse=True)
def hydra_running() -> Iterator[None]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """The same 600 rows of 8 numbers in a ``.npz`` and in a ``.npy`` file."""
    vectors = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    texts = {"text_vectors": vectors[:3], "text_labels": ["0", "1", "2"]}
    np.savez(tmp_path / "rows.npz", vectors=vectors, labels=LABELS, **texts)
    np.save(tmp_path / "rows.npy", vectors)
    np.savez(tmp_path / "labels.npz", labels=LABELS, **texts)
    return tmp_path


def made(folder: Path, *words: str, name: str = "rows.npz") -> tuple[Options, Prepared]:
    path = [f"dataset.path={folder / name}"]
    path += [f"dataset.labels_path={folder / 'labels.npz'}"] if name.endswith(".npy") else []
    common = ["study=test", "dataset=embeddings", 'dataset.captions.task="{}"', "clusterer=kmeans"]
    options = check(compose("config", overrides=[*common, *path, *words]))
    return options, prepare(options)


def test_rows_that_stay_on_disk_are_not_held(rows: Path) -> None:
    (_, whole), (_, mapped) = made(rows), made(rows, name="rows.npy")
    assert held_bytes(whole) == 4 * 600 * 8
    assert held_bytes(mapped) == 0
    difference = memory_bytes(whole)[0] - memory_bytes(mapped)[0]
    assert difference == pytest.approx(1.1 * 4 * 600 * 8, abs=2)


def test_wider_fused_rows_and_classifiers_that_learn_take_more(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXACT_ROWS", 100)
    plain, wide, learnt = (
        memory_bytes(made(rows, *words)[1])[0]
        for words in ((), ("fusion=concatenation",), ("classifier=linear_probe",))
    )
    assert wide - plain == pytest.approx(1.1 * (4 * 8 * 600 + 24 * 8 * 100), abs=2)
    assert learnt - plain == pytest.approx(1.1 * 24 * 8 * (480 - 100), abs=2)


def test_images_without_text_are_not_copied(rows: Path) -> None:
    fused, alone = (memory_bytes(made(rows, *words)[1])[0] for words in ((), ("prompt=none",)))
    assert fused - alone == pytest.approx(1.1 * 4 * 8 * 600, abs=2)


def test_a_run_that_memory_can_not_take_is_refused(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, prepared = made(rows, name="rows.npy")
    need = check_memory(prepared)
    monkeypatch.setattr(module, "available_memory", lambda: need - 1)
    message = r"memory: the run takes about 0 MB \(0 MB for embeddings of 600 rows\), and 0 MB are free"
    with pytest.raises(InputError, match=message):
        check_memory(prepared)
    monkeypatch.setattr(module, "available_memory", lambda: need)
    assert check_memory(prepared) == need


def test_vectors_that_were_read_already_are_not_counted_twice(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, prepared = made(rows)
    need = check_memory(prepared)
    monkeypatch.setattr(module, "available_memory", lambda: need - held_bytes(prepared))
    assert check_memory(prepared) == need


def test_a_run_that_the_disk_can_not_take_is_refused(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options, prepared = made(rows)
    need = check_disk(options, prepared, rows, copied=False)
    assert check_disk(options, prepared, rows, copied=True) > need
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=need - 1))
    with pytest.raises(InputError, match=rf"output_dir: the run writes about 2 MB and 2 MB are free.*{rows}"):
        check_disk(options, prepared, rows, copied=False)


@pytest.mark.slow
def test_ten_million_rows_without_the_memory_for_them_are_refused_in_a_sentence(
    commands: Commands, tmp_path: Path
) -> None:
    open_memmap(tmp_path / "many.npy", mode="w+", dtype=np.float32, shape=(10_000_000, 4096)).flush()
    np.save(tmp_path / "labels.npy", np.zeros(3))
    words = [f"dataset.path={tmp_path / 'many.npy'}", f"dataset.labels_path={tmp_path / 'labels.npy'}"]
    done = commands(
        "run", "dataset=embeddings", *words, "prompt=none", f"output_dir={tmp_path}", "tracking=none"
    )
    assert done.code == 1
    assert done.err.startswith("Error: memory: 10,000,000 rows of dataset.path take at least 327.7 GB, and ")
    assert len(done.err.splitlines()) == 1
    assert memory.available_memory() < 327_700_000_000


_MEASURED = """
import re
from fused_clip.runner import resources
import fused_clip.pipeline, fused_clip.runner.artifacts
from sklearn.cluster import KMeans

def status(name):  # ru_maxrss is at least the size of the process that started this one
    return 1024 * int(re.search(rf"{name}:\\s+(\\d+) kB", open("/proc/self/status").read())[1])

check, found = resources.check_memory, []
resources.check_memory = lambda prepared: found.append(check(prepared))
before = status("VmRSS")
from fused_clip.run import main
main()
print("took", found[0], status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_takes_about_the_memory_that_it_said(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(30_000, 512)).astype(np.float32)
    texts = {"text_vectors": vectors[:2], "text_labels": ["0", "1"]}
    np.savez(tmp_path / "rows.npz", vectors=vectors, labels=np.arange(30_000) % 2, **texts)
    words = [f"dataset.path={tmp_path / 'rows.npz'}", f"output_dir={tmp_path}", "tracking=none"]
    words += ["dataset=embeddings", 'dataset.captions.task="{}"', "clusterer=kmeans", "+clusterer.max_iter=2"]
    words += ["figures.enabled=false", "references.enabled=false"]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *words, f"hydra.run.dir={tmp_path / 'run'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, took = map(int, re.findall(r"took (\d+) (\d+)", done.stdout)[0])
    assert 0.6 < took / said < 1.1
