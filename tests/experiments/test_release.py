"""What a release is made of; `make dist` builds and tries it."""

import re
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import PackageNotFoundError
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from packaging.requirements import Requirement

from experiments import docs, llms
from experiments.release import contents, dependencies, notes, sbom
from experiments.release.trial import Installed
from fused_clip import __version__
from fused_clip.support import versions
from fused_clip.support.errors import InputError
from tests.forks import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCK = (ROOT / dependencies.LOCK).read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
NOT_FOR_USERS = {"all", "dev", "docs"}


def loaded(path: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return parsed


def test_the_version_stands_in_one_place() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    front = (ROOT / PROJECT["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8")
    assert re.findall(r'^__version__ = "(.+?)"', front, re.MULTILINE) == [__version__]
    assert loaded(ROOT / "CITATION.cff")["version"] == __version__


def test_a_checkout_that_is_not_installed_knows_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", absent)
    monkeypatch.setattr(versions, "version", absent)
    assert versions.version_line() == f"fused_clip {__version__}"
    assert versions.versions(["fused_clip"]) == {"fused_clip": __version__}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    files = (
        "fused_clip/a.py",
        "hydra_plugins/b/c.py",
        "conf/d/e.yaml",
        "tests/f.py",
        *contents.EXTRA_OF_SDIST,
    )
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / ".gitignore").write_text("__pycache__\n")
    (tmp_path / "fused_clip/__pycache__").mkdir()
    (tmp_path / "fused_clip/__pycache__/a.pyc").touch()
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    return tmp_path


def test_each_file_of_the_package_must_be_in_the_wheel_and_nothing_else(
    checkout: Path, tmp_path: Path
) -> None:
    expected = contents.expected_in_wheel(checkout)
    assert sorted(expected) == ["fused_clip/a.py", "fused_clip/conf/d/e.yaml", "hydra_plugins/b/c.py"]
    made = tmp_path / "made.whl"
    with ZipFile(made, "w") as wheel:
        wheel.writestr("fused_clip-1.dist-info/METADATA", "")
        wheel.writestr("fused_clip/a.py", "fused_clip/a.py")
        wheel.writestr("hydra_plugins/b/c.py", "other")
        wheel.writestr("tests/f.py", "")
    assert contents.differences(contents.files_of_wheel(made), expected) == [
        "fused_clip/conf/d/e.yaml is missing",
        "tests/f.py is superfluous",
        "hydra_plugins/b/c.py differs",
    ]


def test_an_sdist_has_what_the_wheel_is_made_of(checkout: Path, tmp_path: Path) -> None:
    expected = contents.expected_in_sdist(checkout)
    assert "tests/f.py" not in expected
    made = tmp_path / "made.tar.gz"
    with tarfile.open(made, "w:gz") as sdist:
        for name in (*expected, "PKG-INFO", ".gitignore", ".venv/bin/python"):
            member = tarfile.TarInfo(f"fused_clip-1/{name}")
            member.size = len(name)
            sdist.addfile(member, BytesIO(name.encode()))
    found = contents.files_of_sdist(made)
    assert contents.differences(found, expected) == [".venv/bin/python is superfluous"]


@pytest.mark.slow
def test_a_command_of_a_wheel_that_fails_is_named(tmp_path: Path) -> None:
    info = "sample-1.dist-info"
    path = tmp_path / "sample-1-py3-none-any.whl"
    with ZipFile(path, "w") as wheel:
        wheel.writestr("sample.py", "import sys\nimport numpy\ndef main():\n    sys.exit(int(sys.argv[1]))\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: sample\nVersion: 1\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\nsample = sample:main\n")
        wheel.writestr(f"{info}/RECORD", "")
    folder = tmp_path / "tried"
    folder.mkdir()
    tried = Installed(folder, path, [Path(place) for place in sys.path if place.endswith("-packages")])
    assert tried.said("sample", "0") == ""
    with pytest.raises(InputError, match="sample: must exit with 0, got 3, got '3'"):
        tried.said("sample", "3")


CHANGELOG = """# Changelog

## [Unreleased]

- new

## [1.2.0] - 2026-01-02

### Added

- one

## [1.1.0]

[1.2.0]: https://example.org
"""


def test_the_notes_are_the_section_of_the_version() -> None:
    assert notes.notes("v1.2.0", "1.2.0", CHANGELOG) == "### Added\n\n- one\n"


@pytest.mark.parametrize(
    ("tag", "version", "message"),
    [
        (
            "v1.3.0",
            "1.2.0",
            "tag: must be v1.2.0, as __version__ in fused_clip/__init__.py says, got 'v1.3.0'",
        ),
        ("1.2.0", "1.2.0", "tag: must be v1.2.0"),
        ("v1.3.0", "1.3.0", "needs a section ## [1.3.0]"),
        ("v1.1.0", "1.1.0", "needs a section ## [1.1.0]"),
        ("v1x2.0", "1x2.0", "needs a section"),
    ],
)
def test_a_release_without_its_tag_or_section_is_refused(tag: str, version: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        notes.notes(tag, version, CHANGELOG)


def test_the_command_of_the_notes_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "CHANGELOG.md").write_text(f"## [{__version__}]\n\n- all\n")
    out = tmp_path / "notes.md"
    assert notes.main([f"v{__version__}", "--out", str(out)], tmp_path) == 0
    assert out.read_text() == "- all\n"
    assert notes.main(["v0"], tmp_path) == 1
    assert capsys.readouterr().err.startswith("Error: tag: must be v")


def test_a_component_that_is_missing_or_of_another_version_is_named() -> None:
    listed = {
        "components": [{"name": "PyYAML", "version": "6.0"}, {"name": "hydra_core", "version": "1.3.8"}]
    }
    expected = {"pyyaml": "6.0", "hydra-core": "1.3.7", "torch": "2.9"}
    assert sbom.missing_components(listed, expected) == ["hydra-core 1.3.7", "torch 2.9"]


@pytest.mark.slow
def test_a_list_of_components_follows_the_schema() -> None:
    pytest.importorskip("rfc3987_syntax", reason="cyclonedx-bom is not installed")
    start = '{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": '
    sbom.check_schema(start + '[{"type": "library", "name": "a"}]}', "1.6")
    with pytest.raises(InputError, match=r"must follow the schema of CycloneDX 1\.6"):
        sbom.check_schema(start + '[{"type": "no type", "name": "a"}]}', "1.6")


def test_the_lock_file_satisfies_pyproject_on_every_python() -> None:
    assert not dependencies.unsatisfied(dependencies.direct(), LOCK), "make lock"


def test_the_lock_file_serves_strangers() -> None:
    assert "file:" not in LOCK
    assert "://" not in LOCK, "packages come from PyPI"
    pins = dependencies.pins(LOCK)
    assert len(pins) > 200
    assert LOCK.count(" \\\n") >= len(pins), "each pin has its hashes"
    assert all(line.startswith(("#", " ")) or line.endswith(" \\") for line in LOCK.splitlines())


def test_what_the_lock_file_lacks_is_named() -> None:
    lock = (
        "a==1.0 \\\n    --hash=sha256:00\nb==2.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:00\n"
    )
    wanted = [Requirement(text) for text in ("A>=1", "a<1", "b>=2", "c", "d; sys_platform == 'win32'")]
    assert dependencies.unsatisfied(wanted, lock) == [
        "a<1, locked: 1.0",
        "b>=2, locked: not at all",
        "c, locked: not at all",
    ]


def test_direct_dependencies_are_those_of_all_extras(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x_y"\ndependencies = ["a>=1"]\n'
        '[project.optional-dependencies]\nb = ["c[d]"]\nall = ["x-y[b]"]\n'
    )
    assert [str(one) for one in dependencies.direct(tmp_path / "pyproject.toml")] == ["a>=1", "c[d]"]
    assert dependencies.installed([Requirement("NumPy"), Requirement("no-such-package-here")]).keys() == {
        "numpy"
    }


def test_every_extra_is_documented_and_the_extra_all_has_those_of_users() -> None:
    (everything,) = EXTRAS["all"]
    assert Requirement(everything).extras == EXTRAS.keys() - NOT_FOR_USERS
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/install.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(rows) == EXTRAS.keys()


def test_the_overview_names_every_document_and_its_links_lead_somewhere() -> None:
    text = (ROOT / llms.NAME).read_text(encoding="utf-8")
    linked = re.findall(r"^- \[.+\]\((.+?)\): \S", text, re.MULTILINE)
    documents = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert documents <= set(linked)
    assert not docs.broken_links(ROOT / llms.NAME)
    assert text == llms.overview(ROOT, docs.documents()), "make docs"


def test_an_entry_of_the_overview_has_the_first_sentence_and_the_headings(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\ndescription = "y"\n')
    texts = {
        "README.md": "# Name\n\n![p](p.png)\n\n**Question.** One [two](a.md)\nof Jr. X: four.\n\n## Five\n",
        "docs/a.md": "# A\n\n```\n# no heading\n```\n\nopens a page. More.\n",
        "docs/gallery/b.md": "# B\n\n| a |\n\n## C\n\n```\n## no\n```\n\n## D\n",
        "experiments/s/notes.md": "# Not listed\n",
        "fused_clip/card.md": "# Card\n\nText.\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert docs.main([], tmp_path) == 0
    made = (tmp_path / llms.NAME).read_text()
    assert made.startswith("# x\n\n> y\n\n")
    assert made[made.index("## ") :] == (
        "## Documents\n\n- [Name](README.md): One two of Jr. X. Five.\n- [A](docs/a.md): Opens a page.\n\n"
        "## Gallery\n\n- [B](docs/gallery/b.md): C; D.\n\n"
        "## Optional\n\n- [Card](fused_clip/card.md): Text.\n"
    )
    (tmp_path / llms.NAME).write_text(f"{made}more\n")
    assert docs.main(["--check"], tmp_path) == 1
    (tmp_path / "docs/a.md").write_text("no title\n")
    with pytest.raises(InputError, match=r"docs/a\.md: needs a title"):
        llms.overview(tmp_path, docs.documents(tmp_path))


@pytest.mark.parametrize("path", WORKFLOWS, ids=[path.stem for path in WORKFLOWS])
def test_a_workflow_pins_its_actions_and_ends(path: Path) -> None:
    for line in re.findall(r"^.*\buses: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        assert line.startswith("$/") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    for name, job in loaded(path)["jobs"].items():
        assert "uses" in job or job["timeout-minutes"] <= 60, name


def test_only_the_job_that_publishes_has_an_identity() -> None:
    for path in WORKFLOWS:
        workflow = loaded(path)
        given = {name: job.get("permissions", {}) for name, job in workflow["jobs"].items()}
        holders = [name for name, job in given.items() if "id-token" in job]
        assert holders == (["publish"] if path.stem == "release" else [])
        assert "id-token" not in workflow["permissions"]
    jobs = loaded(ROOT / ".github/workflows/release.yml")["jobs"]
    assert jobs["publish"]["environment"]["name"] == "pypi"
    order = ["version", "ci", "build", "publish", "github"]
    assert [job.get("needs") for job in jobs.values()] == [None, *order[:-1]]
    assert list(jobs) == order


def test_each_python_that_is_promised_is_tested() -> None:
    jobs = loaded(ROOT / ".github/workflows/ci.yml")["jobs"]
    (whole,) = [
        step["with"]["python-version"] for step in jobs["ci"]["steps"] if "python" in step.get("uses", "")
    ]
    tested = {whole, *jobs["quick"]["strategy"]["matrix"]["python"]}
    prefix = "Programming Language :: Python :: "
    promised = {
        one.removeprefix(prefix) for one in PROJECT["project"]["classifiers"] if one.startswith(prefix)
    }
    assert tested == promised == {one["python_version"] for one in dependencies.ENVIRONMENTS}
    assert PROJECT["project"]["requires-python"] == f">={min(tested, key=lambda one: int(one.split('.')[1]))}"


FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")


@pytest.mark.parametrize("path", FORMS, ids=[path.stem for path in FORMS])
def test_a_form_for_issues_has_what_github_asks_for(path: Path) -> None:
    form = loaded(path)
    assert {"name", "description", "body"} <= form.keys()
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 0
    for field in fields:
        assert field["type"] in {"textarea", "input", "dropdown", "checkboxes"}
        assert field["attributes"]["label"]
    assert any(field.get("validations", {}).get("required") for field in fields)
