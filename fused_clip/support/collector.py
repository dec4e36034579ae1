"""Let Python's garbage collector rest while a command starts, and when it ends."""

import atexit
import gc

_AT_START = 100_000  # new objects between two collections: imports and options make millions, and no garbage
_USUAL = gc.get_threshold()


def rest() -> None:
    """Collect rarely from now on, a fifth of the seconds that a command imports for, and not at the end."""
    gc.set_threshold(_AT_START, *_USUAL[1:])
    # Python's last collection looks at every object of the libraries: half a second to one that frees nothing
    # which the end of the process does not. Registered first, this is called after all that may still collect.
    atexit.register(gc.freeze)


def wake() -> None:
    """Collect as usual again, but for what there is now, which stays to the end of the process."""
    if gc.get_threshold()[0] == _AT_START:
        gc.freeze()
        gc.set_threshold(*_USUAL)
