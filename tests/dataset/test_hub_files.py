import shutil
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fused_clip.dataset import hub_files
from fused_clip.dataset.hub_files import hugging_face, mirror
from fused_clip.support.errors import InputError

COMMIT, OLDER = "a" * 40, "b" * 40
SPLITS = ("train", "test")


@pytest.fixture
def caches(tmp_path, monkeypatch) -> SimpleNamespace:
    """Empty caches of Hugging Face's two libraries, and a hub that refuses connections at once."""
    import datasets
    import huggingface_hub

    found = SimpleNamespace(arrow=tmp_path / "datasets", hub=tmp_path / "hub")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", found.arrow)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(found.hub))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    return found


def prepare(caches, data: Path, commit: str, config: str = "default", parts: int = 1) -> Path:
    """Lay out arrow files as ``datasets`` does for owner/Pets."""
    folder = caches.arrow / "owner___pets" / config / "0.0.0" / commit
    folder.mkdir(parents=True)
    for split in SPLITS:
        table = pq.read_table(data / "pets" / f"{split}-00000-of-00001.parquet")
        names = (
            [f"pets-{split}-{part:05d}-of-{parts:05d}" for part in range(parts)]
            if parts > 1
            else [f"pets-{split}"]
        )
        for name in names:
            with pa.ipc.new_stream(folder / f"{name}.arrow", table.schema) as stream:
                stream.write_table(table)
    return folder


def download(caches, data: Path, commit: str, folder: str = "data", ref: str | None = "main") -> Path:
    """Lay out Parquet files as the hub's client does for owner/Pets."""
    root = caches.hub / "datasets--owner--Pets"
    shutil.copytree(data / "pets", root / "snapshots" / commit / folder)
    if ref:
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / ref).write_text(commit)
    return root / "snapshots" / commit / folder


def find(revision: str = "main", config_name: str | None = None):
    return hugging_face("owner/Pets", revision, config_name, SPLITS)


def test_a_mirror_gives_its_files(mirror: Path):
    found = hub_files.mirror(str(mirror), "pets", SPLITS)
    assert found.files["test"] == [mirror / "pets" / "test-00000-of-00001.parquet"]
    assert found.description == f"mirror {mirror / 'pets'}"


def test_a_mirror_that_is_missing_or_lacks_the_set_says_what_is_expected(tmp_path, request):
    data = request.getfixturevalue("mirror")
    with pytest.raises(InputError, match=r"^data_dir: must be an existing directory, got .*FUSED_CLIP_DATA"):
        mirror(str(tmp_path / "nowhere"), "pets", SPLITS)
    with pytest.raises(
        InputError, match=r"^data_dir: the mirror must contain cifar10/train-\*\.parquet.*has: pets"
    ):
        mirror(str(data), "cifar10", SPLITS)
    with pytest.raises(InputError, match=r"must contain pets/validation-\*\.parquet"):
        mirror(str(data), "pets", ("train", "validation"))


def test_a_mirror_with_a_part_missing_is_refused(mirror: Path):
    whole = mirror / "pets" / "train-00000-of-00001.parquet"
    whole.rename(whole.with_name("train-00000-of-00002.parquet"))
    with pytest.raises(InputError, match=r"must contain pets/train-\*\.parquet, all parts of it"):
        hub_files.mirror(str(mirror), "pets", SPLITS)


def test_what_datasets_prepared_is_used_without_the_hub(caches, mirror: Path):
    folder = prepare(caches, mirror, COMMIT, parts=2)
    found = find()
    assert found.description == f"Hugging Face cache of owner/Pets@{COMMIT}"
    assert [file.name for file in found.files["train"]] == [
        "pets-train-00000-of-00002.arrow",
        "pets-train-00001-of-00002.arrow",
    ]
    assert found.files["test"][0].parent == folder
    assert find(COMMIT).files == found.files


def test_main_is_the_newest_that_is_cached_and_a_commit_is_itself(caches, mirror: Path):
    import os

    for age, commit in enumerate((COMMIT, OLDER)):
        os.utime(prepare(caches, mirror, commit), (1e9 - age, 1e9 - age))
    assert COMMIT in find("main").description
    assert OLDER in find(OLDER).description
    with pytest.raises(InputError, match="can't be reached"):
        find("c" * 40)


def test_a_half_made_cache_is_not_used(caches, mirror: Path):
    folder = prepare(caches, mirror, COMMIT)
    (folder / "pets-test.arrow").unlink()
    prepare(caches, mirror, f"{OLDER}.incomplete")
    with pytest.raises(InputError, match="can't be reached"):
        find()


def test_one_of_several_cached_configurations_must_be_named(caches, mirror: Path):
    for config in ("small", "large"):
        prepare(caches, mirror, COMMIT, config)
    with pytest.raises(InputError, match=r"dataset\.config_name: .*choose from: large, small"):
        find()
    assert find(config_name="small").files["train"][0].parts[-4] == "small"


def test_what_the_hub_s_client_downloaded_is_used(caches, mirror: Path):
    folder = download(caches, mirror, COMMIT)
    download(caches, mirror, OLDER, ref="v1.0")
    assert find().description == f"Hugging Face cache of owner/Pets@{COMMIT}"
    assert find().files["train"] == [folder / "train-00000-of-00001.parquet"]
    assert OLDER in find("v1.0").description


def test_a_download_with_several_configurations_or_without_a_split(caches, mirror: Path):
    download(caches, mirror, COMMIT, "small")
    folder = download(caches, mirror, COMMIT, "large", ref=None)
    with pytest.raises(InputError, match=r"dataset\.config_name: .*choose from: large, small"):
        find()
    assert find(config_name="large").files["test"][0].parent == folder
    (folder / "test-00000-of-00001.parquet").unlink()
    assert find().files["test"][0].parent.name == "small"


@pytest.mark.parametrize("offline", [False, True])
def test_a_hub_out_of_reach_is_told_at_once_with_what_to_do(caches, monkeypatch, offline):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    start = time.perf_counter()
    with pytest.raises(InputError) as caught:
        find()
    assert time.perf_counter() - start < 10
    message = str(caught.value)
    assert message.startswith("dataset.path: the hub can't be reached (")
    assert "FUSED_CLIP_DATA" in message
    assert "Pets/<split>-*.parquet" in message


def test_a_hub_that_does_not_answer_is_given_up(caches, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(hub_files, "_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(
            huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        start = time.perf_counter()
        with pytest.raises(InputError, match=r"can't be reached \(.*Timeout"):
            find()
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("path", ["a/b/c", "./pets", "no spaces/here"])
def test_a_path_that_is_no_hub_id_is_refused(caches, path):
    with pytest.raises(InputError, match=r"dataset\.path: must be the id of a set on the hub"):
        hugging_face(path, "main", None, SPLITS)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "RepositoryNotFoundError",
            r"dataset\.path: must be a set on the hub that you may read, got 'owner/Pets'",
        ),
        (
            "RevisionNotFoundError",
            r"dataset\.revision: must be a branch, tag or commit of owner/Pets, got 'v9'",
        ),
    ],
)
def test_what_the_hub_does_not_have_is_told(caches, monkeypatch, error, message):
    import huggingface_hub
    from huggingface_hub import errors

    kind = getattr(errors, error)

    def refuse(*_args: object, **_options: object) -> None:
        raise kind.__new__(kind)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    with pytest.raises(InputError, match=message):
        find("v9")


def test_the_hub_s_commit_is_fetched_by_datasets_and_recorded(caches, mirror: Path, monkeypatch):
    import datasets
    import huggingface_hub

    asked: list[tuple[object, ...]] = []

    def answer(_self: object, path: str, *, revision: str, timeout: float) -> SimpleNamespace:
        asked.append((path, revision, timeout <= 5))
        return SimpleNamespace(sha=COMMIT)

    def builder(path: str, config: str | None, *, revision: str) -> SimpleNamespace:
        asked.append((path, config, revision))
        folder = caches.arrow / "owner___pets" / "default" / "0.0.0" / revision
        return SimpleNamespace(
            cache_dir=str(folder),
            download_and_prepare=lambda: prepare(caches, mirror, revision),
            info=SimpleNamespace(splits={"train": 1, "test": 1}),
        )

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", answer)
    monkeypatch.setattr(datasets, "load_dataset_builder", builder)
    with pytest.raises(
        InputError, match=r"must have a split 'val', got 'owner/Pets'; choose from: test, train"
    ):
        hugging_face("owner/Pets", "v1.0", None, ("train", "val"))
    assert asked == [("owner/Pets", "v1.0", True), ("owner/Pets", None, COMMIT)]
    shutil.rmtree(caches.arrow)
    found = find("v1.0")
    assert found.description == f"Hugging Face hub owner/Pets@{COMMIT}"
    assert found.files["train"][0].name == "pets-train.arrow"
