"""Let Python's garbage collector rest while a command starts, and when it ends."""

import atexit
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_AT_START = 1_000_000  # new objects between two collections: imports and options make 700,000, and no garbage
_USUAL = gc.get_threshold()
_COMMAND = threading.Event()  # set in a process that is one of our commands


def rest() -> None:
    """Collect rarely from now on, a fifth of the seconds that a command imports for, and not at the end."""
    _COMMAND.set()
    gc.set_threshold(_AT_START, *_USUAL[1:])
    # Python's last collection looks at all objects of the libraries, for half a second to one, and frees what
    # ends with the process anyway. Registered first, this is called after all that may still collect.
    atexit.register(gc.freeze)


def wake() -> None:
    """Collect as usual again, but for what there is now, which stays to the end of the process."""
    if gc.get_threshold()[0] == _AT_START:
        gc.freeze()
        gc.set_threshold(*_USUAL)


def in_command() -> bool:
    """Whether this process is one of our commands, which `rest`; in another, libraries are the user's too."""
    return _COMMAND.is_set()


@contextmanager
def resting() -> Iterator[None]:
    """Collect rarely in a block that imports, and look at none of it later, as `wake` does.

    In a process that did not `rest`, such as a notebook's, the collector is left as it is.
    """
    usual = gc.get_threshold()
    if usual[0] == _AT_START or not in_command():
        yield
        return
    gc.set_threshold(_AT_START, *usual[1:])
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*usual)
