"""Embed images in shards: ``fused-clip-embed dataset=imagefolder dataset.root=photos shard=3/64``."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fused_clip.embed.embed_words import EmbedWords, opened
from fused_clip.embed.engines import checked_launcher, run_by_engine, run_here
from fused_clip.runner.overrides import check_hydras_parts, check_words, with_allowed
from fused_clip.store.shard import MOST_SHARDS, Shard
from fused_clip.support.command import count as at_least_one
from fused_clip.support.command import make_parser, one_line_errors
from fused_clip.support.errors import InputError
from fused_clip.support.machine import KEPT
from fused_clip.support.threads import wait_briefly

if TYPE_CHECKING:
    from fused_clip.embed.shard_work import ShardProgress, ShardWork

_GO_ON = "Finished blocks are kept: the same command goes on from there."
_LISTED = 20  # unfinished shards that the status lists


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, or 1 on bad input or a status that is not finished.

    Parameters
    ----------
    arguments : words after the command; those of the process by default.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("fused_clip").setLevel(logging.INFO)
    with one_line_errors(_GO_ON, KEPT):
        wait_briefly()
        shard, count, others = _shards(sys.argv[1:] if arguments is None else arguments)
        flags = _parsed(others)
        words = EmbedWords(tuple(flags.words), tuple(flags.config_dir))
        runs_all = shard is None and not (flags.plan or flags.status or flags.merge)
        with opened(words, checked_launcher if runs_all else None) as (work, launcher):
            if flags.plan:
                from fused_clip.embed.planning import print_plan

                print_plan(work, words, flags.images or (), flags.workers or (), count)
                return 0
            if flags.status:
                return _print_status(work, count)
            if flags.merge:
                return _merge(work)
            if shard is not None:
                work.run(shard)
                return 0
            return _run_all(work, launcher, words, count or 1)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    words = with_allowed(arguments)
    check_words(words)
    check_hydras_parts(words)
    return _parser().parse_intermixed_args(words)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "fused-clip-embed",
        "Embed the images of a dataset in shards, on one machine or several, into the store of output_dir.",
        "Words: dataset=... backbone=... as for fused-clip. shard=3/64 embeds one shard; shards=64 all that"
        " is missing, here or by hydra/launcher=slurm or ray, and merges them. After an interruption the same"
        " command goes on.",
    )
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="overrides, shard=K/N or shards=N")
    parser.add_argument("--status", action="store_true", help="print which shards are finished; 1 if not all")
    parser.add_argument("--merge", action="store_true", help="merge finished shards into one entry")
    parser.add_argument("--plan", action="store_true", help="measure here, and print seconds and bytes")
    parser.add_argument(
        "--images", type=at_least_one, action="append", metavar="N", help="--plan: numbers of images"
    )
    parser.add_argument(
        "--workers", type=at_least_one, action="append", metavar="M", help="--plan: workers at once"
    )
    parser.add_argument("--config-dir", "-cd", action="append", default=[], help="config groups of your own")
    return parser


def _shards(words: Sequence[str]) -> tuple[Shard | None, int | None, list[str]]:
    """Take ``shard=`` and ``shards=`` out of the words."""
    shard, count, others = None, None, []
    for word in words:
        key, _, value = word.partition("=")
        if key == "shard":
            shard = Shard.parse(value)
        elif key == "shards":
            if not value.isdecimal() or not 1 <= int(value) <= MOST_SHARDS:
                raise InputError("shards", f"must be a number from 1 to {MOST_SHARDS}", value)
            count = int(value)
        else:
            others.append(word)
    if shard is not None and count not in (None, shard.of):
        raise InputError("shards", f"must be {shard.of} with shard={shard}, or left out", count)
    return shard, shard.of if shard else count, others


def _run_all(work: ShardWork, launcher: Any, words: EmbedWords, count: int) -> int:
    work.check(count)
    numbers = [item.shard.number for item in work.progress(count) if item.state != "finished"]
    if launcher is None:
        run_here(work, numbers, count)
    elif numbers and not run_by_engine(work, launcher, words, numbers, count):
        command = shlex.join(["fused-clip-embed", *words.overrides])
        print(f"See how far it is:  {command} shards={count} --status")
        print(f"When it's finished: {command} shards={count} --merge")
        return 0
    return _merge(work)


def _merge(work: ShardWork) -> int:
    for name, entry in zip(work.entries, work.merge(), strict=True):
        print(f"{name}: {len(work.indexes[name]):,} images in {os.path.relpath(entry.folder)}")
    return 0


def _print_status(work: ShardWork, count: int | None) -> int:
    items = work.progress(count or work.started() or 1)
    counts = Counter(item.state for item in items)
    rows = sum(item.done for item in items)
    states = ", ".join(f"{counts[state]} {state}" for state in ("finished", "running", "missing"))
    print(f"{len(items)} shards: {states}; {rows:,} of {work.rows:,} images embedded")
    rest = [item for item in items if item.state != "finished"]
    for item in rest[:_LISTED]:
        print(_line(item))
    if len(rest) > _LISTED:
        print(f"and {len(rest) - _LISTED} more")
    if not rest and all(entry.merged() for entry in work.entries.values()):
        print("merged into the store")
    return int(bool(rest))


def _line(item: ShardProgress) -> str:
    return f"shard {item.shard}: {item.state}, {item.done:,} of {item.rows:,} images"


if __name__ == "__main__":
    sys.exit(main())
