"""The number of threads of this process, and of its linear algebra."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

# 20,000 rows of 256. Measured by experiments/benchmarks/threads.py on 2 busy cores: up to here k-means,
# spectral clustering, L-BFGS and distances take 2.5 to 44 times as long with all threads as with one, because
# threads that meet at every step wait for one that another process holds up. A quiet machine of c cores loses
# at most a factor of c on work of seconds.
SMALL = 20_000 * 256


def count() -> int:
    """Return the value of ``OMP_NUM_THREADS``, which joblib sets in the processes of a sweep, else the cores.

    The cores are those that this process may use, by its affinity and the limits of its container.
    """
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if said.isdecimal() and int(said):
        return int(said)
    from joblib import cpu_count

    return int(cpu_count())


@contextmanager
def limited_for(entries: int) -> Iterator[None]:
    """Run the linear algebra of small matrices in one thread; that of larger ones keeps all threads.

    BLAS and OpenMP libraries that are loaded later inside the block are not limited. One thread also makes
    results the same bytes for every number of cores.

    Parameters
    ----------
    entries : rows times width of the largest matrix; at most `SMALL` is small.
    """
    if entries > SMALL:
        yield
        return
    with threadpool_limits(1):
        yield
