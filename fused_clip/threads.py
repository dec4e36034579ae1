"""How many threads this process may run at once."""

import os


def count() -> int:
    """Give what ``OMP_NUM_THREADS`` says, as joblib sets it in the processes of a sweep, else the cores."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(said) if said.isdecimal() and int(said) else os.cpu_count() or 1
