"""Ctrl-C in the middle of a write."""

from typing import NoReturn

from fused_clip.store import entry


def interrupt_at_write() -> None:
    def stop(*arguments: object) -> NoReturn:
        raise KeyboardInterrupt

    entry.StoredEntry.write = stop  # type: ignore[method-assign,assignment]
