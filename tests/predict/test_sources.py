import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fused_clip.predict.sources import find_source
from fused_clip.support.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images at several depths, and what is none."""
    root = tmp_path / "photos [1] = a"
    for name in ("b.png", "a.JPG", "deep/er/c.webp", "deep/d.gif", ".hidden.png", ".dir/e.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (root / "notes.txt").write_text("no image")
    return root


def names(source: object) -> list[str]:
    return [item.path for item in source]  # type: ignore[attr-defined]


def test_a_folder_is_searched_in_order(folder: Path) -> None:
    source = find_source(str(folder))
    wanted = ["a.JPG", "b.png", "deep/d.gif", "deep/er/c.webp"]
    assert names(source) == [str(folder / name) for name in wanted]
    assert len(source) == 4
    assert [item.read().decode() for item in source] == wanted


def test_links_that_lead_back_up_are_not_followed(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "other").symlink_to("../b")
    (tmp_path / "b" / "other").symlink_to("../a")
    found = [name.removeprefix(f"{tmp_path}/") for name in names(find_source(str(tmp_path)))]
    assert found == ["a/1.png", "a/other/2.png", "b/2.png", "b/other/1.png"]


@pytest.mark.parametrize("link", ["out.png", "out"])
def test_links_out_of_the_folder_are_refused(tmp_path: Path, link: str) -> None:
    for name in ("root/1.png", "elsewhere/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "root" / "same.png").symlink_to("1.png")
    (tmp_path / "root" / link).symlink_to(tmp_path / "elsewhere" / ("2.png" if "." in link else ""))
    with pytest.raises(InputError, match=rf"^images: must be inside .*{link}'\. --outside-root follows"):
        find_source(str(tmp_path / "root"))
    assert len(find_source(str(tmp_path / "root"), outside=True)) == 3


@pytest.mark.parametrize(
    "name", ["../secret.png", "{}/secret.png", "a/../../secret.png", "link.png", "up/secret.png"]
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_paths_of_a_table_stay_in_its_folder(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "root" / "link.png").symlink_to("../secret.png")
    (tmp_path / "root" / "up").symlink_to("..")
    (tmp_path / "root" / "1.png").write_bytes(b"x")
    table = tmp_path / "root" / f"list.{kind}"
    rows = pd.DataFrame({"path": ["1.png", "a/../1.png", f"{tmp_path}/root/1.png", name.format(tmp_path)]})
    rows.to_csv(table) if kind == "csv" else rows.to_parquet(table)
    with pytest.raises(InputError, match=r"^images: must be inside .*png'\. --outside-root reads images of"):
        list(find_source(str(table)))
    *_, last = find_source(str(table), outside=True)
    assert last.read() == b"secret"


def test_a_folder_that_can_not_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("er"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"images: .*/deep/er can't be read \(Permission denied\)"):
        find_source(str(folder))


def test_videos_and_arrays_are_no_images(tmp_path: Path) -> None:
    for name in ("a.mpg", "b.h5", "c.png"):
        (tmp_path / name).write_bytes(b"x")
    assert names(find_source(str(tmp_path))) == [str(tmp_path / "c.png")]


def test_a_glob_takes_what_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert names(find_source("**/*.[gw]*")) == ["deep/d.gif", "deep/er/c.webp"]
    assert names(find_source("*")) == ["a.JPG", "b.png"]
    assert names(find_source("a.JPG")) == ["a.JPG"]


@pytest.mark.parametrize(("suffix", "mark"), [("csv", ","), ("csv", ";"), ("tsv", "\t")])
def test_a_table_lists_paths_from_its_folder(suffix: str, mark: str, folder: Path) -> None:
    table = folder / f"list.{suffix}"
    table.write_text(
        f"\ufeffid{mark}path\n1{mark}deep/d.gif\n2{mark}{folder}/b.png\n3{mark}gone.png\n", "utf-8"
    )
    source = find_source(str(table))
    assert len(source) == 3
    assert names(source) == ["deep/d.gif", f"{folder}/b.png", "gone.png"]
    items = list(source)
    assert [item.read() for item in items[:2]] == [b"deep/d.gif", b"b.png"]
    with pytest.raises(OSError, match="gone"):
        items[2].read()
    assert names(find_source(str(table), "id")) == ["1", "2", "3"]


def test_several_places_give_each_file_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "deep" / "list.csv").write_text("path\n../b.png\nd.gif\n")
    (folder / "list.csv").write_text("path\ngone.png\nb.png\n")
    source = find_source(["a.JPG", "deep/list.csv", "./a.JPG", "list.csv", "deep"], outside=True)
    assert names(source) == ["a.JPG", "deep/../b.png", "deep/d.gif", "gone.png", "deep/er/c.webp"]
    assert len(source) >= 5
    assert names(source) == names(source)
    assert names(find_source(["deep", str(folder / "deep")])) == ["deep/d.gif", "deep/er/c.webp"]


def test_rows_of_several_tables_are_named_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"image": [b"1", b"2"]}), tmp_path / name / "t.parquet")
    source = find_source([str(tmp_path / name / "t.parquet") for name in "ab"])
    assert len(source) == 4
    assert names(source) == [f"{tmp_path}/{name}/t.parquet/{row}" for name in "ab" for row in (0, 1)]


@pytest.mark.parametrize("place", ["nowhere", "empty", "*.nothing"])
def test_each_of_several_places_must_have_images(place: str, folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="images: must "):
        find_source([str(folder), str(folder / place)])


def encoded(color: str) -> bytes:
    from io import BytesIO

    file = BytesIO()
    Image.new("RGB", (2, 2), color).save(file, "PNG")
    return file.getvalue()


def test_a_parquet_of_images_as_the_hub_has_them(tmp_path: Path) -> None:
    red, blue = encoded("red"), encoded("blue")
    cells = [
        {"bytes": red, "path": "r.png"},
        {"bytes": blue, "path": None},
        None,
        {"bytes": None, "path": "f.png"},
    ]
    (tmp_path / "f.png").write_bytes(b"file")
    table = tmp_path / "test.parquet"
    pq.write_table(pa.table({"label": [0, 1, 2, 3], "image": cells}), table)
    source = find_source(str(table))
    assert names(source) == ["test.parquet/0/r.png", "test.parquet/1", "test.parquet/2", "f.png"]
    items = list(source)
    assert [items[row].read() for row in (0, 1, 3)] == [red, blue, b"file"]
    with pytest.raises(OSError, match="no image"):
        items[2].read()


def test_memory_does_not_grow_with_a_parquet_of_images(tmp_path: Path) -> None:
    cells, schema = [os.urandom(20_000) for _ in range(100)], pa.schema({"image": pa.binary()})
    table = tmp_path / "large.parquet"
    with pq.ParquetWriter(table, schema) as writer:
        for _ in range(12):
            writer.write_table(pa.table({"image": cells}, schema=schema))
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in find_source(str(table))]
    assert len(held) == 1_200
    assert max(held) < 8e6, "the file is 24 MB, in groups of 2 MB"


def test_a_parquet_of_paths_or_bytes(tmp_path: Path) -> None:
    table = tmp_path / "list.parquet"
    pq.write_table(pa.table({"path": ["x.png"], "file": ["y.png"], "data": [b"123"]}), table)
    assert names(find_source(str(table))) == ["x.png"]
    assert names(find_source(str(table), "file")) == ["y.png"]
    (item,) = find_source(str(table), "data")
    assert item.read() == b"123"


def test_a_name_that_is_no_text_can_be_stored(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/\xff.png"
    try:
        Path(os.fsdecode(raw)).write_bytes(b"x")
    except OSError:
        pytest.skip("the file system takes text only")
    (item,) = find_source(str(tmp_path))
    assert item.path.encode("utf-8").endswith(rb"\udcff.png")
    assert item.read() == b"x"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("nowhere", "must be an existing folder, file, glob"),
        ("*.nothing", "must contain an image"),
        ("empty", "must contain an image"),
        ("list.csv", r"column: must be a column of .*, got 'path'; choose from: file"),
        ("broken.csv", "images: must be a readable table in UTF-8"),
        ("broken.parquet", "images: must be a readable Parquet file"),
        ("numbers.parquet", r"column: must be a column .* got 'path'"),
    ],
)
def test_what_holds_no_images_is_told(
    images: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("file\na.png\n")
    (tmp_path / "broken.csv").write_bytes(b"path\n\xff\xfe\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    pq.write_table(pa.table({"n": [1]}), tmp_path / "numbers.parquet")
    with pytest.raises(InputError, match=message):
        find_source(images)
