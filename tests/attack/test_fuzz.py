"""What others wrote or damaged is read, or refused in words, quickly and without a trace."""

import io
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.attack import scale
from tests.attack.fuzzing import Reader, fuzz
from tests.attack.readers import GROUPS

SEED = int.from_bytes(os.urandom(4), "big") if scale.FULL else 0  # the same contents in CI each time


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_damaged_contents_are_read_or_refused(group: str) -> None:
    report = fuzz(f"tests.attack.readers:{group}", scale.tries(3, 240), SEED)
    assert not report.finding, f"seed {SEED}: {report.finding}"
    tried, refused = sum(report.tried.values()), sum(report.refused.values())
    scale.record(f"fuzz-{group}", tried=tried, refused=refused, seed=SEED, **report.tried)
    assert tried > 100, "the readers were hardly called"
    assert 0 < refused < tried


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "found"),
    [
        ("raises", "KeyError"),
        ("takes_long", "took more than 1 s"),
        ("takes_memory", "MemoryError"),
        ("writes", "opened 'left' to write"),
        ("starts_a_program", "called subprocess.Popen"),
        ("refuses_all", "refused its own b'whole'"),
        ("crashes", "ended with -11"),
        ("hangs", "hung"),
    ],
)
def test_each_rule_is_watched(group: str, found: str) -> None:
    report = fuzz(f"tests.attack.broken_readers:{group}", 20, 0, silent=8)
    assert report.finding.startswith("reader ")
    assert found in report.finding


def other(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda seed: seed.replace(old, new)


def no_array(seed: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("vectors.npy", b"no array")
        archive.writestr("labels.npy", b"no array")
    return file.getvalue()


BOMB = b"a: &a [x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (letter, letter, b",".join([b"*%c" % (letter - 1)] * 9)) for letter in range(98, 110)
)
DEEP_JSON, DEEP_YAML, DIGITS = b'{"a":' * 100_000, b"[" * 10_000, b"1" * 5_000
# Found by the test above: group, reader, and what becomes of its first seed.
FOUND: list[tuple[str, str, bytes | Callable[[bytes], bytes]]] = [
    ("store", "manifest", other(b'"dim": 2', b'"d": 2')),
    ("store", "manifest", other(b'"dim": 2', b'"dim": 18446744073709551616')),
    ("store", "manifest", other(b'"rows": "all"', b'"r": "all"')),
    ("store", "manifest", other(b'"rows": "all"', b'"rows": [[]]')),
    ("store", "manifest", other(b'"rows-000000000"', b'"%s"' % (b"r" * 300))),
    ("store", "manifest", other(b'"rows-000000000"', b'"\\u0000"')),
    ("store", "note", other(b'"metrics.json"', b'"."')),
    ("store", "note", other(b'"metrics.json"', b'"\\u0000"')),
    ("store", "note", other(b'"metrics.json"', b'"%s"' % (b"m" * 300))),
    ("results", "record", b"{"),
    ("results", "record", DEEP_JSON),
    ("results", "record", other(b'"metrics"', b'"m"')),
    ("results", "record", b"\xff"),
    ("results", "curves", other(b",1,", b",one,")),
    ("results", "curves", other(b"curve,", b"")),
    ("results", "curves", b"\xff"),
    ("results", "plan", b"{}"),
    ("results", "plan", DEEP_JSON),
    ("results", "table", other(b'["1", ', b"[")),
    ("results", "table", b"[]"),
    ("results", "journal", lambda seed: seed.partition(b"\n")[0] + b"\n" + DEEP_JSON + b"\n"),
    ("results", "journal", lambda seed: DEEP_JSON + b"\n" + seed),
    ("results", "records to csv", other(b'"state"', b'"s"')),
    ("results", "records to csv", other(b'"cluster": 1', b'"cluster": 9223372036854775808')),
    ("results", "records to csv", other(b'"cluster": 1', b'"cluster": 2147483648')),
    ("results", "records to csv", other(b'"dog"', b'"\\ud800"')),
    ("results", "records to parquet", other(b'"margin": 1.0', b'"margin": 99999999999999999999999')),
    ("results", "records to parquet", other(b'"margin": 1.0', b'"margin": "much"')),
    ("results", "records to jsonl", b"[]\n"),
    ("model", "model.json", other(b'"dim": 16', b'"dim": 2147483648')),
    ("model", "record of weights", other(b'"ViT-B-32"', b"1")),
    ("model", "record of weights", DEEP_JSON),
    ("model", "weights", len(DEEP_JSON).to_bytes(8, "little") + DEEP_JSON),
    ("model", "weights", other(b'"shape":[6]', b'"rhape":[6]')),
    ("vectors", "npz", no_array),
    ("vectors", "parquet", other(b"dog", b"d\x80g")),
    ("vectors", "arrow", other(b'{"info"', b'{info""')),
    ("vectors", "arrow", other(b'{"info"', b'{"inf\xff"')),
    ("vectors", "arrow", other(b'["cat", "dog"]', b"12345678901234")),
    ("tables", "parquet", other(b"dog", b"d\x80g")),
    ("tables", "parquet to predict", other(b"d.png", b"\x80.png")),
    ("knowledge", "target map", BOMB),
    ("knowledge", "target map", DEEP_YAML),
    ("knowledge", "target map", b"pet: [" + DIGITS + b"]"),
    ("knowledge", "target map", b"pet: [!!bool x]"),
    ("knowledge", "target map", b"pet: [!!timestamp x]"),
    ("knowledge", "descriptions in JSON", DEEP_JSON),
    ("knowledge", "descriptions in YAML", DEEP_YAML),
    ("knowledge", "reference", BOMB),
    ("knowledge", "reference", b"a: !!bool x"),
    ("overrides", "commands", b"seed=" + DIGITS),
    ("overrides", "commands", b"dataset=0.5"),
    ("overrides", "commands", b"clusterer=null"),
    ("overrides", "commands", b"~clusterer=1"),
    ("overrides", "commands", b"reference=[1]"),
    ("overrides", "commands", b"reference=[{a: 1}]"),
    ("overrides", "commands", b"@a=0.5"),
    ("overrides", "commands", b"hydra/launcher=.5"),
    ("overrides", "commands", b"classifier=" + b"a" * 70_000),
    ("overrides", "commands", b"backbone" + b".bat" * 100 + b"=1"),
]


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Reader]]:
    """Readers of a group, by name, made once in a folder of their own, which becomes the current one."""
    made: dict[str, tuple[Path, dict[str, Reader]]] = {}

    def of_group(group: str) -> dict[str, Reader]:
        if group not in made:
            folder = tmp_path_factory.mktemp(group)
            os.chdir(folder)
            made[group] = folder, {reader.name: reader for reader in GROUPS[group]()}
        folder, found = made[group]
        os.chdir(folder)
        return found

    return of_group


@pytest.mark.slow
@pytest.mark.parametrize("case", range(len(FOUND)))
def test_what_was_found_is_read_or_refused(
    case: int, readers: Callable[[str], dict[str, Reader]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(".")  # goes back at the end
    group, name, change = FOUND[case]
    reader = readers(group)[name]
    content = change if isinstance(change, bytes) else change(reader.seeds[0])
    assert content != reader.seeds[0]
    reader.put(content)
    with suppress(*reader.refuses):
        reader.read(content)
