"""Odd places: names, rights, users, clocks, locales, and files of newer versions."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack import places
from tests.attack.scale import record, tries
from tests.forks import QUICK, Commands, Done
from tests.models import save_model, save_pictures

pytestmark = pytest.mark.slow

ALIKE = ("tracking=none", *QUICK)  # the database's names are tested with it
NAMES = [
    "with space",
    "Übung für Ärger",
    "100%41",
    "a#b",
    "a?b",
    'it\'s "quoted"',
    "-dash",
    "two\nlines",
    "x" * 200,
    "a&b;c$(d)",
    "日本語",
    "[a]{b}*",
    "a=b,c",
]
BEFORE = "tests.attack.places:"


@pytest.fixture(scope="module", autouse=True)
def counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave the number of cases, if all went well so far."""
    yield
    mine = [item for item in request.session.items if item.path == Path(__file__)]
    if not request.session.testsfailed:
        record("places", cases=len(mine))


def metrics(output_dir: Path) -> bytes:
    """Metrics of the only run of a directory."""
    (found,) = (path for path in output_dir.rglob("metrics.json") if "runs" in path.parts)
    return found.read_bytes()


@pytest.fixture(scope="module")
def elsewhere(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Metrics of the same run in a plain place."""
    out = tmp_path_factory.mktemp("plain")
    done = commands("run", *ALIKE, f"output_dir={out}")
    assert done.code == 0, done.said
    return metrics(out)


def quoted(path: object) -> str:
    """A value as Hydra's grammar takes it whatever is in it."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def well(done: Done) -> None:
    assert not done.traceback, done.said
    assert done.code == 0, done.said


def refused(done: Done, words: str) -> None:
    """It ended in one line that names what is wrong."""
    assert not done.traceback, done.said
    assert done.code == 1, done.said
    lines = [line for line in done.err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, done.said
    assert words in lines[0]


@pytest.mark.parametrize("name", NAMES[: tries(5, len(NAMES))], ids=ascii)
def test_any_name_of_an_output_directory(
    commands: Commands, tmp_path: Path, elsewhere: bytes, name: str
) -> None:
    out = tmp_path / name
    done = commands("run", *ALIKE, f"output_dir={quoted(out)}")
    well(done)
    assert metrics(out) == elsewhere
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    well(commands("store", "--root", out / "store", "verify"))
    well(commands("store", "--root", out / "store", "prune", "--unused-for", "0"))


def test_reports_and_figures_of_a_named_place(commands: Commands, tmp_path: Path) -> None:
    out = tmp_path / "Übung 100%41 & 'so' #1"
    cwd = tmp_path / "Arbeit für heute"
    cwd.mkdir()
    shown = [word for word in QUICK if not word.startswith("figures")]
    uri = f"tracking.uri=sqlite:///{tmp_path / 'runs.db'}"
    well(commands("run", *shown, "figures.points=50", f"output_dir={quoted(out)}", "study=x", uri, cwd=cwd))
    report = out / "reports" / "x"
    place = ["--output-dir", out, "--tracking-uri", uri.partition("=")[2]]
    well(commands("report", "--study", "x", *place, cwd=cwd))
    text = (report / "report.md").read_text("utf-8")
    assert (report / "figures" / "01.png").is_file()
    assert "figures/01.png" in text


def test_a_gallery_of_named_images(commands: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "größe #1 100%41?"
    save_model(folder / "model dir")
    save_pictures(folder / "bilder & mehr", 4)
    strange = folder / "bilder & mehr" / "a" / "<b>#?%41 'x\".png"
    shutil.copy(next((folder / "bilder & mehr" / "a").glob("*.png")), strange)
    out, page = folder / "tabelle #1.csv", folder / "seite ?.html"
    images = folder / "bilder & mehr"
    well(commands("predict", folder / "model dir", images, "--out", out, "--gallery", page))
    assert len(out.read_text("utf-8").splitlines()) == 6
    assert "<b>#" not in page.read_text("utf-8")


def test_a_user_without_home_or_name(commands: Commands, tmp_path: Path, elsewhere: bytes) -> None:
    done = commands("run", *QUICK, f"output_dir={tmp_path}", before=[(BEFORE + "without_home", [])])
    well(done)
    assert metrics(tmp_path) == elsewhere


@pytest.mark.parametrize("closed", ["store", "runs", "finished", ""])
def test_a_user_without_rights(commands: Commands, tmp_path: Path, closed: str) -> None:
    words = (*QUICK, f"output_dir={tmp_path / 'out'}", "resume=true")
    well(commands("run", *words))
    path = tmp_path / "out" / closed
    inside = [path, *(path.rglob("*") if closed in ("store", "runs", "finished") else ())]
    modes = {one: one.stat().st_mode for one in inside}
    for one in inside:
        one.chmod(0o555 if one.is_dir() else 0o444)
    done = commands("run", *words, "seed=9", "dataset.seed=9", before=[(BEFORE + "obey_modes", [])])
    for one, mode in modes.items():
        one.chmod(mode)
    refused(done, str(path) if closed != "runs" else "runs")
    well(commands("run", *words, "seed=9", "dataset.seed=9"))


@pytest.mark.parametrize("hidden", ["store", "runs", "mlartifacts"])
def test_files_that_may_not_be_read(commands: Commands, tmp_path: Path, hidden: str) -> None:
    out = tmp_path / "out"
    words = (*QUICK, f"output_dir={out}", "resume=true", "study=x")
    well(commands("run", *words))
    path = out / hidden
    mode = path.stat().st_mode
    path.chmod(0)
    before = [(BEFORE + "obey_modes", [])]
    runs = commands("run", *words, before=before)
    report = commands("report", "--study", "x", "--output-dir", out, before=before)
    store = commands("store", "--root", out / "store", "verify", before=before)
    path.chmod(mode)
    for done in (runs, report, store):
        assert not done.traceback, done.said
    assert (runs.code, report.code) != (0, 0), runs.said


def test_a_package_that_is_read_only(commands: Commands, tmp_path: Path, elsewhere: bytes) -> None:
    """Nothing is written where the package is: a run with the rights of another user gives the same."""
    package = Path(places.__file__).parents[2] / "fused_clip"
    folders = [package, *(path for path in package.rglob("*") if path.is_dir())]
    modes = {folder: folder.stat().st_mode for folder in folders}
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = commands(
            "run", *QUICK, f"output_dir={tmp_path}", before=[(BEFORE + "obey_modes", [])], cwd=tmp_path
        )
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)
    well(done)
    assert metrics(tmp_path) == elsewhere


@pytest.mark.parametrize("after", [1, 40][: tries(1, 2)])
def test_a_clock_that_is_set_back(commands: Commands, tmp_path: Path, elsewhere: bytes, after: int) -> None:
    back = [(BEFORE + "set_clock_back", [86_400.0, after])]
    out = tmp_path / "out"
    well(commands("run", *QUICK, f"output_dir={out}", "study=x", before=back))
    assert metrics(out) == elsewhere
    report = commands("report", "--study", "x", "--output-dir", out, before=back)
    well(report)
    text = (out / "reports" / "x" / "report.md").read_text("utf-8")
    assert "-86" not in text.replace(str(tmp_path), "")  # whose number may be 860
    done = commands("store", "--root", out / "store", "prune", "--unused-for", "0", before=back)
    well(done)
    assert not list((out / "store").glob("images-*")), done.said


@pytest.mark.parametrize("name", ["C", "POSIX", "tr_TR.UTF-8", "de_DE.UTF-8"][: tries(2, 4)])
def test_a_locale_and_an_output_in_ascii(
    commands: Commands, tmp_path: Path, elsewhere: bytes, name: str
) -> None:
    out = tmp_path / "Größe İı"
    speak = [(BEFORE + "speak", [name])]
    well(commands("run", *QUICK, f"output_dir={quoted(out)}", "study=x", before=speak))
    assert metrics(out) == elsewhere
    well(commands("report", "--study", "x", "--output-dir", out, before=speak))
    well(commands("store", "--root", out / "store", "list", before=speak))
    refused(commands("store", "--root", tmp_path / "ä", "list", before=speak), "there is no store")


@pytest.mark.skipif(not places.can_unshare(), reason="needs a name space of its own")
def test_a_sweep_without_shared_memory(commands: Commands, tmp_path: Path, elsewhere: bytes) -> None:
    words = ("-m", *QUICK, f"output_dir={tmp_path}", "seed=0,1")
    before = [(BEFORE + "without_shared_memory", [])]
    refused(commands("run", *words, "hydra/launcher=joblib", before=before), "hydra/launcher: must be basic")
    well(commands("run", *words, before=before))
    found = [path.read_bytes() for path in sorted((tmp_path / "sweeps").rglob("metrics.json"))]
    assert len(found) == 2
    assert elsewhere in found


def _newer(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def test_files_of_a_newer_version(commands: Commands, tmp_path: Path) -> None:
    """They are left alone, and what is needed of them is computed beside them."""
    out = tmp_path / "out"
    words = (*QUICK, f"output_dir={out}", "resume=true")
    well(commands("run", *words))
    expected = metrics(out)
    (entry,) = (out / "store").glob("images-*")
    newer = entry.with_name(f"images-{'0' * 16}")
    shutil.copytree(entry, newer)
    _newer(newer / "manifest.json", format=2, more={"a": 1})
    (note,) = (out / "finished").glob("*.json")
    _newer(note, format=9, unknown=[1])
    seen = commands("store", "--root", out / "store", "verify")
    well(seen)
    assert f"{newer.name}" in seen.out
    assert "newer fused_clip" in seen.out
    well(commands("store", "--root", out / "store", "prune", "--unused-for", "0"))
    assert (newer / "manifest.json").is_file()
    well(commands("run", *words))
    runs = [path.read_bytes() for path in (out / "runs").rglob("metrics.json")]
    assert runs == [expected] * 2, "a note that can't be understood is no finished run"


def test_a_model_of_a_newer_version(commands: Commands, tmp_path: Path) -> None:
    save_model(tmp_path)
    save_pictures(tmp_path / "images", 2)
    _newer(tmp_path / "model" / "model.json", format=99)
    from fused_clip.support.checksums import write_sums

    write_sums(tmp_path / "model", ["model.json", "arrays.safetensors", "README.md"])
    done = commands("predict", tmp_path, tmp_path / "images", "--out", tmp_path / "out.csv")
    refused(done, "is of format 99")


def test_a_database_of_a_newer_version(commands: Commands, tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    words = (*QUICK, f"output_dir={tmp_path}", "study=x")
    well(commands("run", *words))
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00dfeed0001'")
    refused(commands("run", *words), "mlflow.db")
    refused(commands("report", "--study", "x", "--output-dir", tmp_path), "mlflow.db")
