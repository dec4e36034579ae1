"""Look after the store: ``python -m fused_clip.store list|verify|prune``, or ``fused-clip-store``."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from fused_clip.store.entry import MANIFEST, StoredEntry
from fused_clip.support.command import make_parser, one_line_errors
from fused_clip.support.drafts import DRAFT, left_behind
from fused_clip.support.errors import InputError

_DAY = 86_400.0
_NAME = re.compile(r"[A-Za-z0-9-]+-[0-9a-f]{16}")  # of an entry's folder
_OWN = rf"{re.escape(MANIFEST)}|[\w-]+\.npy|shard-\d+-of-\d+\.json"
_FILE = re.compile(rf"({_OWN})(\.draft)?|[\w.-]+{DRAFT}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give 0, or 1 if an entry is damaged, or can't be read or removed."""
    kept = "Entries are intact or gone, and the same command goes on from here"
    with one_line_errors(f"{kept}.", kept):
        options = _parser().parse_args(arguments)
        if not options.root.is_dir():
            raise InputError("root", "must be a folder: there is no store", str(options.root))
        if options.command == "list":
            return _list(options.root)
        if options.command == "verify":
            return _verify(options.root)
        return _prune(options.root, options.unused_for * _DAY, dry_run=options.dry_run)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("fused-clip-store", "Look after the store of embeddings and partitions.")
    parser.add_argument("--root", type=Path, default=Path("outputs/store"), help="the store (%(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print each entry with its size and the time of its last use")
    commands.add_parser("verify", help="check every file; exit code 1 if one is damaged or can't be read")
    prune = commands.add_parser(
        "prune", help="remove entries that were not used for some time, or are damaged"
    )
    prune.add_argument("--unused-for", type=_days, default=30.0, metavar="DAYS", help="(%(default)g); 0: all")
    prune.add_argument("--dry-run", action="store_true", help="only print what would be removed")
    return parser


def _list(root: Path) -> int:
    lines: list[tuple[float, str]] = []
    total, unread = 0.0, 0
    for entry in _entries(root):
        try:
            used, size = _last_used(entry), _megabytes(entry)
            when = datetime.fromtimestamp(used).astimezone().isoformat(" ", "minutes")
            facts = f"{size:>9.1f} MB  {when}  {_describe(entry)}"
        except OSError as error:
            used, size, facts = 0.0, 0.0, _unread(error)
            unread += 1
        lines.append((used, f"{entry.folder.name:<28} {facts}"))
        total += size
    for _, line in sorted(lines, reverse=True):
        print(line)
    print(f"{len(lines)} entries, {total:.1f} MB; the time is that of the last use")
    return int(unread > 0)


def _unread(error: OSError) -> str:
    return f"can't be read: {error.strerror}"


def _verify(root: Path) -> int:
    damaged = unread = 0
    for entry in _entries(root):
        try:
            lost = _lost(entry)
            verdict = f"damaged: {lost}" if lost else _state(entry)
            damaged += bool(lost)
        except OSError as error:
            verdict = _unread(error)
            unread += 1
        print(f"{entry.folder.name:<28} {verdict}")
    if damaged:
        print(f"{damaged} damaged; what a run needs of these is computed anew when it asks for it")
    if unread:
        print(f"{unread} can't be read, and may be intact: check the permissions and the owner of the files")
    return int(damaged + unread > 0)


def _state(entry: StoredEntry) -> str:
    if entry.is_of_newer_version():
        return "of a newer fused_clip: not checked"
    return "intact" if entry.is_complete() else "unfinished"


def _lost(entry: StoredEntry) -> str:
    """Name what of an entry is damaged; an entry whose computation was refused or killed has no manifest."""
    if entry.is_of_newer_version():
        return ""
    manifest = entry.manifest
    if manifest is None:
        return MANIFEST if (entry.folder / MANIFEST).exists() else ""
    return ", ".join(sorted(manifest.files.keys() - entry.intact().keys()))


def _prune(root: Path, seconds: float, *, dry_run: bool) -> int:
    freed, kept = 0.0, 0
    for entry in _entries(root):
        try:
            freed += _remove(entry, seconds, dry_run=dry_run)
        except (OSError, InputError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            print(f"{entry.folder.name:<28} can't be read or removed ({reason}): kept")
            kept += 1
    print(f"{freed:.1f} MB {'would be freed' if dry_run else 'freed'}")
    return int(kept > 0)


def _remove(entry: StoredEntry, seconds: float, *, dry_run: bool) -> float:
    """Remove an entry if it was not used for some time, else its drafts; give the megabytes freed."""
    if _is_kept(entry, seconds):
        return _remove_drafts(entry, dry_run=dry_run)
    with entry.locked(wait=False) as free:
        if not free:
            print(f"{entry.folder.name:<28} is being written: kept")
            return 0.0
        if _is_kept(entry, seconds):  # written or used since
            return 0.0
        size = _megabytes(entry)
        if not dry_run:
            # The manifest goes first: without it nothing that is left counts as a whole entry.
            (entry.folder / MANIFEST).unlink(missing_ok=True)
            for inside in entry.folder.iterdir():  # a folder in place of a file goes if it is empty
                (inside.rmdir if inside.is_dir() and not inside.is_symlink() else inside.unlink)()
            entry.folder.rmdir()
        print(f"{entry.folder.name:<28} {'would be removed' if dry_run else 'removed'}")
    return size


def _remove_drafts(entry: StoredEntry, *, dry_run: bool) -> float:
    """Remove what writers that were killed left half written; give the megabytes freed."""
    size = 0.0
    for draft in left_behind(entry.folder):
        size += draft.lstat().st_size / 1e6
        print(f"{entry.folder.name:<28} {'would lose' if dry_run else 'lost'} {draft.name}")
        if not dry_run:
            draft.unlink(missing_ok=True)
    return size


def _is_kept(entry: StoredEntry, seconds: float) -> bool:
    age = max(0.0, time.time() - _last_used(entry))  # the clock may have been set back
    return entry.is_of_newer_version() or (entry.manifest is not None and age < seconds)


def _entries(root: Path) -> Iterator[StoredEntry]:
    try:
        return map(StoredEntry, sorted(filter(_is_entry, root.iterdir())))
    except OSError as error:
        raise InputError("root", f"can't be read ({error.strerror})", str(root)) from error


def _is_entry(path: Path) -> bool:
    """Whether a folder is the store's own: anything else is left alone, whatever root was named."""
    if not _NAME.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
        return False
    try:
        return all(_FILE.fullmatch(inside.name) for inside in path.iterdir())
    except OSError:
        return True  # by its name; each command reports that it can't be read


def _last_used(entry: StoredEntry) -> float:
    manifest = entry.folder / MANIFEST
    return (manifest if manifest.exists() else entry.folder).stat().st_mtime


def _megabytes(entry: StoredEntry) -> float:
    return sum(path.lstat().st_size for path in entry.folder.iterdir()) / 1e6


def _describe(entry: StoredEntry) -> str:
    manifest = entry.manifest
    if manifest is None:
        return "of a newer fused_clip" if entry.is_of_newer_version() else "no manifest"
    facts = ", ".join(f"{name} {value}" for name, value in (manifest.about or manifest.key).items())
    return f"{'' if manifest.complete else 'unfinished: '}{facts[:90]}"


def _days(text: str) -> float:
    days = float(text)
    if not days >= 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return days


if __name__ == "__main__":
    sys.exit(main())
