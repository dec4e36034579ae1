"""``fused-clip-embed`` as a user meets it: small pictures, pixels as embeddings."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.forks import ROOT, Commands, Done

N = 1_300  # in blocks of 512
PARTS = ("backbone._target_=tests.fakes.PixelBackbone", "allow=[tests]")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir()
    for number in range(N):
        pixels = random.integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(
            folder / ("cat", "dog")[number % 2] / f"{number:04d}.png", compress_level=0
        )
    return folder


@pytest.fixture
def embed(commands: Commands, tmp_path: Path, pictures: Path) -> Callable[..., Done]:
    def run(*words: object, root: Path = pictures, **options: Any) -> Done:
        given = (f"dataset.root={root}", f"output_dir={tmp_path / 'out'}", *PARTS)
        return commands("embed", "dataset=imagefolder", *given, *words, cwd=tmp_path, **options)

    return run


def stored(output_dir: Path, kind: str = "images") -> dict[str, Any]:
    """Files of the entries of a kind, their manifests without the time."""
    found: dict[str, Any] = {}
    for file in sorted((output_dir / "store").glob(f"{kind}-*/*")):
        found[f"{file.parent.name}/{file.name}"] = file.read_bytes()
        if file.name == "manifest.json":
            found[f"{file.parent.name}/{file.name}"] = {**json.loads(file.read_text()), "created": ""}
    return found


@pytest.fixture(scope="module")
def alone(commands: Commands, tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> dict[str, Any]:
    """What a run on one machine stores."""
    out = tmp_path_factory.mktemp("alone")
    words = ("dataset=imagefolder", f"dataset.root={pictures}", f"output_dir={out}", *PARTS, "tracking=none")
    quick = ("clusterer=kmeans", "references.enabled=false", "figures.enabled=false")
    done = commands("run", *words, *quick)
    assert done.code == 0, done.said
    return stored(out)


def test_shards_one_by_one_give_what_a_run_stores(
    embed: Callable[..., Done], tmp_path: Path, alone: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    for number in (3, 1):
        done = embed(f"shard={number}/3")
        assert done.code == 0, done.said
    status = embed("--status")
    assert status.code == 1
    assert "3 shards: 2 finished, 0 running, 1 missing; 788 of 1,300 images embedded" in status.out
    assert "shard 2/3: missing, 0 of 512 images" in status.out
    gap = embed("shards=3", "--merge")
    assert (gap.code, stored(out)) == (1, {})
    assert "shards: 512 of 1,300 rows are missing, of shards 2/3" in gap.err
    done = embed("shards=3")
    assert done.code == 0, done.said
    assert "shard 2/3: 512 images embedded" in done.err
    assert "shard 1/3" not in done.err
    assert stored(out) == alone
    assert "merged into the store" in embed("--status").out
    assert stored(out, "shards") == {}


def test_a_finished_command_does_nothing_again(
    embed: Callable[..., Done], tmp_path: Path, alone: dict[str, Any]
) -> None:
    log = tmp_path / "log"
    assert embed("shards=2", f"+backbone.log={log}").code == 0
    assert len(log.read_text().splitlines()) == N
    assert embed("shards=2", f"+backbone.log={log}").code == 0
    assert embed("shard=1/2", f"+backbone.log={log}").code == 0
    assert len(log.read_text().splitlines()) == N
    assert stored(tmp_path / "out") == alone


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("module", "call", "listed"),
    [("entry", 1, 0), ("entry", 2, 0), ("entry", 4, 1), ("entry", 6, 2), ("entry", 8, 2), ("shards", 2, 1)],
)
def test_a_kill_at_any_write_changes_no_byte(
    embed: Callable[..., Done],
    tmp_path: Path,
    alone: dict[str, Any],
    module: str,
    call: int,
    listed: int,
    when: str,
) -> None:
    """An entry writes its manifest, then rows and digests of a block; shards a list after each block."""
    armed = [("tests.forks:arm", [f"fused_clip.store.{module}.write_atomic", call, when])]
    assert embed("shards=2", before=armed).code == -signal.SIGKILL
    log = tmp_path / "log"
    assert embed("shards=2", f"+backbone.log={log}").code == 0
    assert stored(tmp_path / "out") == alone
    again = len(log.read_text().splitlines()) if log.exists() else 0
    assert again <= N - 512 * listed


@pytest.mark.slow
def test_several_processes_at_once_embed_each_image_once(
    embed: Callable[..., Done], tmp_path: Path, pictures: Path, alone: dict[str, Any]
) -> None:
    log = tmp_path / "log"
    words = ["dataset=imagefolder", f"dataset.root={pictures}", f"output_dir={tmp_path / 'out'}", *PARTS]
    command = [sys.executable, "-m", "fused_clip.embed", *words, "shards=3", f"+backbone.log={log}"]
    running = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert len(log.read_text().splitlines()) == N
    assert stored(tmp_path / "out") == alone


_SHARD = "shard: must be a shard and their number, from 1/1 to 99999/99999, such as 3/64"
REFUSED: dict[str, tuple[str, ...]] = {
    "shard: must be a shard and their number, from 1/1 to 99999/99999, such as 3/64, got '0/4'": (
        "shard=0/4",
    ),
    "shard: must be a shard and their number, from 1/1 to 99999/99999, such as 3/64, got '5/4'": (
        "shard=5/4",
    ),
    "shards: must be a number from 1 to 99999, got '0'": ("shards=0",),
    "shards: must be 4 with shard=1/4, or left out, got 5": ("shard=1/4", "shards=5"),
    "shards: must be at most 3: 1,300 images in blocks of 512, got 9": ("shards=9",),
    "backbone: must have one value to embed images, got 'compact,open'": ("backbone=compact,open",),
    "dataset: needs no shards, got 'digits'; choose from:": ("dataset=digits",),
    "backbone: must": ("backbone=nothing",),
    "dataset.root: must be an existing folder, got 'nowhere'": ("dataset.root=nowhere",),
    "hydra/launcher: must be basic, slurm or ray to embed shards, got 'JoblibLauncher'": (
        "shards=2",
        "hydra/launcher=joblib",
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_bad_words_are_refused_in_a_line(embed: Callable[..., Done], tmp_path: Path, message: str) -> None:
    done = embed(*REFUSED[message])
    assert done.code == 1, done.said
    assert not done.traceback
    if message != "backbone: must":
        assert done.err.startswith(f"Error: {message}"), done.err
        assert len(done.err.splitlines()) == 1
    assert not list((tmp_path / "out" / "store").glob("[a-z]*"))


def test_an_unreadable_image_is_named_and_the_rest_is_kept(
    embed: Callable[..., Done], tmp_path: Path, pictures: Path, alone: dict[str, Any]
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for folder in pictures.iterdir():
        (copy / folder.name).mkdir()
        for file in folder.iterdir():
            (copy / folder.name / file.name).hardlink_to(file)
    bad = copy / "dog" / "1299.png"  # the last row
    whole = bad.read_bytes()
    bad.unlink()
    bad.write_bytes(whole[:40] + bytes(len(whole) - 40))
    done = embed("shards=3", root=copy)
    assert done.code == 1
    assert "dog/1299.png" in done.err
    assert "2 finished, 0 running, 1 missing; 1,024 of" in embed("--status", root=copy).out
    bad.write_bytes(whole)
    log = tmp_path / "log"
    assert embed("shards=3", f"+backbone.log={log}", root=copy).code == 0
    assert len(log.read_text().splitlines()) == N - 1_024
    assert stored(tmp_path / "out") == alone


def test_another_encoder_or_number_of_shards_is_refused(embed: Callable[..., Done], tmp_path: Path) -> None:
    assert embed("shard=1/3").code == 0
    before = stored(tmp_path / "out", "shards")
    other = embed("shard=2/3", "+backbone.fingerprint=fake-2")
    assert other.code == 1
    assert other.err.startswith(
        "Error: backbone: must be the encoder of the shards in the store; these differ"
    )
    number = embed("shard=2/2")
    assert number.err.startswith(
        "Error: shards: the store has shards of 3, so their number must be that, got 2"
    )
    assert stored(tmp_path / "out", "shards") == before


def test_a_machine_without_the_data_changes_nothing(
    embed: Callable[..., Done], tmp_path: Path, pictures: Path
) -> None:
    place = tmp_path / "mounted"
    place.symlink_to(pictures)
    words = ("dataset.outside_root=true",)
    assert embed("shard=1/3", *words, root=place).code == 0
    before = stored(tmp_path / "out", "shards")
    place.unlink()
    gone = embed("shard=2/3", *words, root=place)
    assert (gone.code, "Error: dataset.root: must be an existing folder" in gone.err) == (1, True)
    place.mkdir()
    empty = embed("shard=2/3", *words, root=place)
    assert (empty.code, "dataset.root: must contain" in empty.err) == (1, True)
    place.rmdir()
    place.symlink_to(pictures)
    assert embed("shard=2/3", *words, root=place).code == 0
    assert before.keys() < stored(tmp_path / "out", "shards").keys()


def test_an_image_more_is_noticed(embed: Callable[..., Done], tmp_path: Path, pictures: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("cat", "dog"):
        (copy / name).mkdir()
        for file in sorted((pictures / name).iterdir())[:10]:
            (copy / name / file.name).hardlink_to(file)
    assert "20 images" in embed("shards=1", root=copy).out
    (copy / "cat" / "more.png").hardlink_to(pictures / "dog" / "0021.png")
    done = embed("shards=1", root=copy)
    assert "21 images" in done.out
    assert "Listing the images anew" in done.err


def test_a_store_that_can_not_be_written_is_named(embed: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    done = embed("shards=2")
    assert (done.code, done.traceback) == (1, False)
    assert str(tmp_path / "out") in done.err


def test_an_interruption_says_how_to_go_on(embed: Callable[..., Done], tmp_path: Path) -> None:
    done = embed("shards=2", before=[("tests.embed.interrupting:interrupt_at_write", [])])
    assert done.code == 130
    assert done.err.strip().endswith(
        "Stopped. Finished blocks are kept: the same command goes on from there."
    )


@pytest.mark.slow
def test_the_plan_states_rates_and_costs(embed: Callable[..., Done], tmp_path: Path) -> None:
    words = ("--plan", "--images", "5000", "--images", "1000000000", "--workers", "3", "shards=2")
    done = embed(*words, timeout=300, env={"PYTHONPATH": str(ROOT)})
    assert done.code == 0, done.said
    assert "images a second" in done.out
    assert "          5,000        3" in done.out
    assert "  1,000,000,000        3" in done.out
    assert not list((tmp_path / "out" / "store").glob("[a-z]*"))


def test_a_folder_of_options_is_read(embed: Callable[..., Done], tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "dataset"
    mine.mkdir(parents=True)
    (mine / "own.yaml").write_text("_target_: fused_clip.dataset.imagefolder\nname: own\n")
    done = embed("dataset=own", "--config-dir", mine.parent, "--plan")
    assert done.code == 0, done.said
