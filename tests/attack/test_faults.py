"""Faults of the disk, injected by strace: told in a line, and nothing that was there is lost.

Each command is first traced without a fault. Of the calls that it makes, some are drawn by a fixed seed, most
of them on its own files, and each fails once: the command runs on copies of the same files every time.
"""

import hashlib
import random
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.attack.scale import needs_strace, record, tries
from tests.forks import QUICK, Commands, Done
from tests.models import save_model, save_pictures

ERRORS = {
    "openat": ("EIO", "ENOSPC", "EACCES", "EROFS", "EMFILE"),
    "read": ("EIO",),
    "pread64": ("EIO",),
    "write": ("EIO", "ENOSPC"),
    "pwrite64": ("EIO", "ENOSPC"),
    "sendfile": ("EIO", "ENOSPC"),
    "fsync": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO", "ENOSPC"),
    "ftruncate": ("EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC", "EACCES", "EROFS"),
    "mkdir": ("EIO", "ENOSPC", "EACCES", "EROFS"),
    "unlink": ("EIO", "EACCES", "EROFS"),
    "newfstatat": ("EIO", "EACCES"),
    "getdents64": ("EIO",),
    "utimensat": ("EIO", "EROFS"),
    "flock": ("EIO",),
}
# May fail from one call on, as on a full disk; were it others, the message itself could not be written.
LASTING = ("pwrite64", "fsync", "fdatasync", "rename", "mkdir")
REASONS = re.compile(
    r"(input/output|disk I/O) error|no space left|permission denied|read-only file system|too many open files"
    r"|must be|needs|disk is full|readonly database|unable to open database|database is locked|malformed"
    r"|can't be (read|imported)|damaged",
    re.IGNORECASE,
)
NOISE = ("Logging error", "Exception ignored", "Error in atexit", "Fatal Python error")
SMALL = ("dataset.n_train=300", "dataset.n_test=100", "dataset.seed=0")


@dataclass(frozen=True)
class Fault:
    """An error of the n-th call of a kind, or of all from that one on."""

    call: str
    number: int
    error: str
    lasting: bool
    line: str

    @property
    def words(self) -> list[str]:
        when = f"{self.number}{'+' if self.lasting else ''}"
        return ["-e", f"trace={self.call}", "-e", f"inject={self.call}:error={self.error}:when={when}"]


@dataclass
class Place:
    """Files that a command finds, the same each time."""

    pristine: Path
    root: Path
    before: dict[str, str] = field(default_factory=dict)
    recorded: set[tuple[object, ...]] = field(default_factory=set)

    def restore(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.pristine, self.root)

    def contents(self) -> dict[str, str]:
        """Hash of each file that no command may change: results, entries of the store, models, pictures."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_file() and not re.search(r"mlflow\.db|\.lock$|\.locks/|old\.csv\.", name):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def _rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.root / "out" / "mlflow.db")) as connection:
            return connection.execute(query).fetchall()

    def running(self) -> int:
        return len(self._rows("select run_uuid from runs where status = 'RUNNING'"))

    def finished(self) -> set[tuple[object, ...]]:
        """Metrics and params of the runs that are finished, as the database has them."""
        found: set[tuple[object, ...]] = set()
        for table in ("latest_metrics", "params"):
            query = f"select t.run_uuid, t.key, t.value from {table} t join runs using (run_uuid)"
            found |= set(self._rows(f"{query} where status = 'FINISHED'"))
        return found


@dataclass(frozen=True)
class Command:
    """A command, what shows that its work is done, and the files of `Place.contents` that it may change."""

    name: str
    words: tuple[str, ...]
    done: str
    changes: str = r"^$"


@pytest.fixture(scope="module")
def place(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("faults")
    root = folder / "place"
    out = root / "out"
    quick = [*QUICK, *SMALL, f"output_dir={out}"]
    sweep = commands("run", "-m", "seed=0", "study=faults", *quick)
    assert sweep.code == 0, sweep.said
    save_model(root / "model")
    save_pictures(root / "pictures", 12)
    predicted = commands("predict", root / "model", root / "pictures" / "a", "--out", root / "old.csv")
    assert predicted.code == 0, predicted.said
    reported = commands("report", "--study", "faults", "--output-dir", out)
    assert reported.code == 0, reported.said
    root.rename(folder / "pristine")
    place = Place(folder / "pristine", root)
    place.restore()
    place.before, place.recorded = place.contents(), place.finished()
    yield place
    shutil.rmtree(root)


def all_commands(root: Path) -> list[Command]:
    out = root / "out"
    quick = (*QUICK, *SMALL, f"output_dir={out}")
    store = ("--root", str(out / "store"))
    return [
        Command("run", ("seed=1", "clusters_per_target=2", "dataset.n_train=200", *quick), "It took"),
        Command("run", ("-m", "seed=0,1", "study=faults", *quick), "2 jobs"),
        Command(
            "predict",
            (
                str(root / "model"),
                str(root / "pictures" / "a"),
                *("--out", str(root / "old.csv"), "--overwrite", "--gallery", str(root / "new.html")),
            ),
            "images predicted",
        ),
        Command("report", ("--study", "faults", "--output-dir", str(out)), "report.html", r"^out/reports/"),
        Command("store", (*store, "list"), "entries,"),
        Command("store", (*store, "verify"), "intact"),
        Command("store", (*store, "prune", "--unused-for", "0"), "freed", r"^out/store/"),
    ]


def calls(trace: str, root: Path) -> Iterator[tuple[str, int, str, bool]]:
    """Calls of the first thread: kind, number of that kind, line, and whether of the command's own files."""
    counts: Counter[str] = Counter()
    first = trace.partition(" ")[0]
    for line in trace.splitlines():
        thread, _, text = line.partition(" ")
        call = text.strip().partition("(")[0]
        if thread == first and call in ERRORS:
            counts[call] += 1
            if not re.match(rf"{call}\((2<|\d+<(pipe|socket)|1<)", text.strip()):
                yield call, counts[call], text.strip(), str(root) in text


def drawn(commands: Commands, place: Place, command: Command, count: int, seed: int) -> list[Fault]:
    """Faults of a command: three in four of them in its own files, in equal parts of each kind of call."""
    place.restore()
    trace = place.root.parent / "trace"
    done = commands(
        command.name,
        *command.words,
        strace=("-y", "-o", str(trace), "-e", f"trace={','.join(ERRORS)}"),
    )
    assert done.code == 0, done.said
    generator = random.Random(seed)
    pools: dict[tuple[str, bool], list[tuple[str, int, str, bool]]] = {}
    for made in calls(trace.read_text(errors="replace"), place.root):
        pools.setdefault((made[0], made[3]), []).append(made)
    own, other = ([pool for (_, mine), pool in pools.items() if mine is wanted] for wanted in (True, False))
    faults = []
    for index in range(count):
        some = (own or other) if (index + 1) % 4 else (other or own)
        pool = some[index % len(some)]
        call, number, line, _ = generator.choice(pool)
        lasting = call in LASTING and generator.random() < 0.3
        faults.append(Fault(call, number, generator.choice(ERRORS[call]), lasting, line))
    return faults


def wrongs(command: Command, done: Done, place: Place) -> list[str]:
    """What is wrong with how a command ended; nothing if all is well."""
    found = []
    if done.code is None:
        found.append("hangs")
    if done.traceback or any(noise in done.said for noise in NOISE):
        found.append("shows a traceback")
    told = [line for line in done.said.splitlines() if line.startswith("Error: ")]
    if done.code == 0 and command.done not in done.out:
        found.append("exit code 0 without its work")
    elif done.code and not told:
        lines = [line for line in done.said.splitlines() if "/" in line and REASONS.search(line)]
        if not lines and not any("can't be" in line or "damaged" in line for line in done.said.splitlines()):
            found.append("fails without a reason")
    elif done.code and (len(told) > 1 or not REASONS.search(told[0]) or "/" not in told[0]):
        found.append("does not name path and reason in one line")
    now = place.contents()
    for name, digest in place.before.items():
        if now.get(name) != digest and not re.search(command.changes, name):
            found.append(f"{name} is {'changed' if name in now else 'lost'}")
    if not place.recorded <= place.finished():
        found.append("finished runs lost something in the database")
    return found


@needs_strace
@pytest.mark.slow
def test_a_fault_is_told_and_loses_nothing(commands: Commands, place: Place) -> None:
    counts: Counter[str] = Counter()
    complaints = []
    for index, command in enumerate(all_commands(place.root)):
        share = tries(4, 50) if index < 4 else tries(2, 34)
        for fault in drawn(commands, place, command, share, seed=14 + index):
            place.restore()
            done = commands(command.name, *command.words, strace=fault.words)
            wrong = wrongs(command, done, place)
            if place.running():
                counts["left_running_at_once"] += 1
            if command.name == "run" and (place.running() or counts["faults"] % 5 == 0):
                after = commands(command.name, *command.words)
                if after.code != 0 or place.running():
                    wrong.append(
                        f"the next start: {after.code}, {place.running()} running: {after.said[-500:]}"
                    )
            counts["faults"] += 1
            counts["survived" if done.code == 0 else "told"] += 1
            if wrong:
                complaints.append(
                    f"{command.name} {command.words[:2]} {fault}: {wrong}\n{done.said[-1500:]}\n"
                )
    record("faults", **counts, wrong=len(complaints))
    assert not complaints, "\n".join(complaints)
