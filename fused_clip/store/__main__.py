"""Look after the store: ``python -m fused_clip.store list|verify|prune``."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from fused_clip.store.entry import MANIFEST, StoredEntry

_DAY = 86_400.0
_NAME = re.compile(r"[A-Za-z0-9-]+-[0-9a-f]{16}")  # of an entry's folder
_FILE = re.compile(rf"({re.escape(MANIFEST)}|[\w-]+\.npy)(\.draft)?")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give the exit code: 0, or 1 if something is damaged."""
    parser = argparse.ArgumentParser(prog="python -m fused_clip.store", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("outputs/store"), help="the store (%(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what is there, its size, and when it was last used")
    commands.add_parser("verify", help="check every file; exit code 1 if one is damaged")
    prune = commands.add_parser(
        "prune", help="remove what was not used for some time, and what can't be read"
    )
    prune.add_argument("--unused-for", type=_days, default=30.0, metavar="DAYS", help="(%(default)g); 0: all")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    options = parser.parse_args(arguments)
    if not options.root.is_dir():
        parser.error(f"--root: there is no store at {options.root}")
    if options.command == "list":
        return _list(options.root)
    if options.command == "verify":
        return _verify(options.root)
    return _prune(options.root, options.unused_for * _DAY, dry_run=options.dry_run)


def _list(root: Path) -> int:
    entries = sorted(_entries(root), key=_last_used, reverse=True)
    for entry in entries:
        used = datetime.fromtimestamp(_last_used(entry)).astimezone().isoformat(" ", "minutes")
        print(f"{entry.folder.name:<28} {_megabytes(entry):>9.1f} MB  {used}  {_describe(entry)}")
    print(f"{len(entries)} entries, {sum(map(_megabytes, entries)):.1f} MB; the time is that of the last use")
    return 0


def _verify(root: Path) -> int:
    damaged = 0
    for entry in _entries(root):
        complaint = _complaint(entry)
        damaged += bool(complaint)
        print(f"{entry.folder.name:<28} {complaint or ('intact' if entry.is_complete() else 'unfinished')}")
    if damaged:
        print(f"{damaged} damaged; what a run needs of these is computed anew when it asks for it")
    return int(damaged > 0)


def _complaint(entry: StoredEntry) -> str:
    manifest = entry.manifest
    if manifest is None:
        return "no readable manifest"
    lost = sorted(manifest.files.keys() - entry.intact().keys())
    return f"damaged: {', '.join(lost)}" if lost else ""


def _prune(root: Path, seconds: float, *, dry_run: bool) -> int:
    freed = 0.0
    for entry in list(_entries(root)):
        if _is_kept(entry, seconds):
            continue
        with entry.locked(wait=False) as free:
            if not free:
                print(f"{entry.folder.name:<28} is being written: kept")
                continue
            if _is_kept(entry, seconds):  # written or used since
                continue
            freed += _megabytes(entry)
            print(f"{entry.folder.name:<28} {'would be removed' if dry_run else 'removed'}")
            if not dry_run:
                (entry.folder / MANIFEST).unlink(
                    missing_ok=True
                )  # first, so that no half is taken for a whole
                shutil.rmtree(entry.folder)
    print(f"{freed:.1f} MB {'would be freed' if dry_run else 'freed'}")
    return 0


def _is_kept(entry: StoredEntry, seconds: float) -> bool:
    return entry.manifest is not None and time.time() - _last_used(entry) < seconds


def _entries(root: Path) -> Iterator[StoredEntry]:
    return map(StoredEntry, sorted(filter(_is_entry, root.iterdir())))


def _is_entry(path: Path) -> bool:
    """Whether a folder is the store's own: anything else is left alone, whatever root was named."""
    if not _NAME.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
        return False
    return all(_FILE.fullmatch(inside.name) and inside.is_file() for inside in path.iterdir())


def _last_used(entry: StoredEntry) -> float:
    manifest = entry.folder / MANIFEST
    return (manifest if manifest.exists() else entry.folder).stat().st_mtime


def _megabytes(entry: StoredEntry) -> float:
    return sum(path.stat().st_size for path in entry.folder.iterdir()) / 1e6


def _describe(entry: StoredEntry) -> str:
    manifest = entry.manifest
    if manifest is None:
        return "no readable manifest"
    facts = ", ".join(f"{name} {value}" for name, value in (manifest.about or manifest.key).items())
    return f"{'' if manifest.complete else 'unfinished: '}{facts[:90]}"


def _days(text: str) -> float:
    days = float(text)
    if not days >= 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return days


if __name__ == "__main__":
    sys.exit(main())
