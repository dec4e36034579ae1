"""The number of threads of this process, and of its linear algebra."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

# 20,000 rows of 256. Measured by experiments/benchmarks/threads.py on 2 busy cores: up to here k-means,
# spectral clustering, L-BFGS and distances take 2.5 to 44 times as long with all threads as with one, because
# all threads wait at every step for one that another process delays. A quiet machine of c cores loses at most
# a factor of c on work of seconds.
SMALL = 20_000 * 256
_MOST_PARTS = 256  # of work, for a pool of threads
_SPINS = "1000"  # some 20 microseconds


def count() -> int:
    """Number of threads: ``OMP_NUM_THREADS``, which joblib sets in a sweep, or the cores of this process."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if said.isdecimal() and int(said):
        return int(said)
    from joblib import cpu_count

    return int(cpu_count())


def wait_briefly() -> None:
    """Let the threads of GNU OpenMP sleep soon when they wait for each other, for libraries loaded later.

    By default they spin for a millisecond or more at every step that one of them is late for. With 2 threads
    on 2 cores that other work keeps busy, embedding 512 images then took 9.1 to 11.6 s, and 1.6 to 1.8 s
    with this. A value that the user set for either variable stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


@contextmanager
def limited_for(entries: int) -> Iterator[None]:
    """Run the linear algebra of small matrices in one thread, and of larger ones in all threads.

    Libraries loaded inside the block are not limited. With one thread, results do not depend on the cores.

    Parameters
    ----------
    entries : rows times width of the largest matrix; at most `SMALL` is small.
    """
    if entries > SMALL:
        yield
        return
    with threadpool_limits(1):
        yield


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """Give a pool of `count` threads, in each of which the linear algebra runs in that thread alone.

    Many small products are faster so than if all threads shared each, and their bits do not depend on the
    number of threads. Libraries loaded inside the block are not limited.
    """
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    # OpenMP counts for each thread anew, other libraries for all threads.
    with (
        threadpool_limits(1),
        ThreadPoolExecutor(count(), initializer=threadpool_limits, initargs=(1,)) as pool,
    ):
        try:
            if torch:
                torch.set_num_threads(1)
            yield pool
        finally:
            if torch:
                torch.set_num_threads(before)


def for_each(pool: Executor, work: Callable[..., None], items: Sequence[Any]) -> None:
    """Do work for each item, some of them side by side; a tuple gives several arguments.

    Parameters
    ----------
    pool : of threads.
    work : called for each item; its first error is raised.
    items : any number of them.
    """
    step = max(1, len(items) // _MOST_PARTS)
    some = [items[start : start + step] for start in range(0, len(items), step)]

    def do(own: Sequence[Any]) -> None:
        for item in own:
            work(*item) if isinstance(item, tuple) else work(item)

    for _ in pool.map(do, some):
        pass
