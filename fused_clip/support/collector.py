"""Let Python's garbage collector rest while a command starts."""

import gc

_AT_START = 100_000  # new objects between two collections: imports and options make millions, and no garbage
_USUAL = gc.get_threshold()


def rest() -> None:
    """Collect rarely from now on: a fifth of the seconds that a command imports for."""
    gc.set_threshold(_AT_START, *_USUAL[1:])


def wake() -> None:
    """Collect as usual again, but for what there is now, which stays to the end of the process."""
    if gc.get_threshold()[0] == _AT_START:
        gc.freeze()
        gc.set_threshold(*_USUAL)
