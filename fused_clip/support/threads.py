"""How many threads this process may run at once."""

import os


def count() -> int:
    """Give what ``OMP_NUM_THREADS`` says, as joblib sets it in the processes of a sweep, else the cores.

    The cores are those that this process may use, by its affinity and the limits of its container.
    """
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if said.isdecimal() and int(said):
        return int(said)
    from joblib import cpu_count

    return int(cpu_count())
