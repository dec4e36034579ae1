"""Work in threads before and after a loop, in order and in constant memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")
Contents = TypeVar("Contents")

_APART = 2  # batches between the loop and a thread


def read_ahead(read: Callable[[Batch], Contents], batches: Iterable[Batch]) -> Generator[Contents]:
    """Yield the contents of each batch, and read the next batches in a thread.

    Parameters
    ----------
    read : gives the contents of a batch.
    batches : arguments of `read`, in order.
    """
    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead: deque[Future[Contents]] = deque()
        for batch in batches:
            ahead.append(reader.submit(read, batch))
            if len(ahead) > _APART:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def work_behind(work: Callable[[Batch], None], batches: Iterable[Batch]) -> None:
    """Iterate over batches, and work on each in a thread while the next ones come.

    Every batch that came is worked on, in order, also if iterating fails; an error of `work` ends both, and
    no later batch is worked on.

    Parameters
    ----------
    work : is called with each batch.
    batches : are iterated here.
    """
    failed = False

    def guarded(batch: Batch) -> None:
        nonlocal failed
        if failed:
            return
        try:
            work(batch)
        except BaseException:
            failed = True
            raise

    with ThreadPoolExecutor(max_workers=1) as worker:
        behind: deque[Future[None]] = deque()
        try:
            for batch in batches:
                behind.append(worker.submit(guarded, batch))
                if len(behind) > _APART:
                    behind.popleft().result()
        finally:  # also where iterating fails: an error of `work` is the first one, and is raised
            while behind:
                behind.popleft().result()
