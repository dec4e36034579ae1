"""Embed images of several threads in one batch: a backbone takes as long for one image as for a full one."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from fused_clip.backbone.base import reduced_side
from fused_clip.backbone.batches import bad_rows
from fused_clip.backbone.towers import TwoTowerBackbone
from fused_clip.dataset.decode import UnreadableImageError
from fused_clip.dataset.reading import decode_each, prepare_each
from fused_clip.support.arrays import FloatArray, ImageArray
from fused_clip.support.chunks import batched
from fused_clip.support.errors import InputError


@dataclass(frozen=True, eq=False)
class _Job:
    """Images of one caller, at most a batch.

    Parameters
    ----------
    contents : n image files.
    names : n names, for errors.
    rows : (n, d), or the error.
    """

    contents: Sequence[bytes]
    names: Sequence[str]
    rows: "Future[FloatArray]" = field(default_factory=Future)


class SharedEmbedder:
    """A backbone that embeds images of several threads together.

    One thread decodes and embeds, so that memory does not grow with the number of callers. It takes what
    waits, oldest first, up to a batch. Backbones pad batches to one shape: an embedding does not depend on
    the images that are embedded with it.

    Parameters
    ----------
    backbone : embeds; it is loaded now.

    Raises
    ------
    InputError
        If the weights can't be had.
    """

    def __init__(self, backbone: TwoTowerBackbone) -> None:
        backbone.load()
        self._backbone = backbone
        self._waiting: deque[_Job] = deque()
        self._worker = ThreadPoolExecutor(1, "embedder")

    def embed(self, names: Sequence[str], contents: Iterable[bytes]) -> FloatArray:
        """Embed n images, read batch by batch: (n, d). Callers with more than a batch let others in between.

        Parameters
        ----------
        names : n names, for errors.
        contents : n image files.

        Raises
        ------
        InputError
            If an image can't be read, or its embedding is not finite or is zero.
        """
        rows = [np.empty((0, self._backbone.dim), np.float32)]
        size = self._backbone.batch_size
        for some, theirs in zip(batched(contents, size), batched(names, size), strict=True):
            job = _Job(some, theirs)
            self._waiting.append(job)
            self._worker.submit(self._work)
            rows.append(job.rows.result())
        return np.concatenate(rows)

    def _work(self) -> None:
        """Do the oldest jobs, as many as fit into a batch; none if an earlier call did them."""
        jobs: list[_Job] = []
        size, most = 0, self._backbone.batch_size
        while self._waiting and (not jobs or size + len(self._waiting[0].contents) <= most):
            jobs.append(self._waiting.popleft())
            size += len(jobs[-1].contents)
        try:
            self._answer(jobs)
        except Exception:  # what one caller sends must not fail the others
            for job in jobs:
                self._answer_alone(job)

    def _answer_alone(self, job: _Job) -> None:
        if not job.rows.done():
            try:
                self._answer([job])
            except Exception as error:
                job.rows.set_exception(error)

    def _answer(self, jobs: Sequence[_Job]) -> None:
        """Give each job its rows; an image that can't be read fails its own job alone."""
        owners = [(job, place) for job in jobs for place in range(len(job.contents))]
        good: list[tuple[_Job, int]] = []

        def decoded() -> Iterator[ImageArray]:
            contents = chain.from_iterable(job.contents for job in jobs)
            side = reduced_side(self._backbone)
            for owner, image in zip(owners, decode_each(contents, side=side), strict=True):
                if isinstance(image, UnreadableImageError):
                    _refuse(*owner, f"can't be read ({image})")
                else:
                    good.append(owner)
                    yield image

        prepared = prepare_each(decoded(), self._backbone.prepare)
        rows: FloatArray = np.empty((0, self._backbone.dim), np.float32)
        if prepared:
            rows = self._backbone.encode_prepared(prepared)
        for bad in bad_rows(rows):
            _refuse(*good[bad], "has an embedding that is not finite, or zero")
        for job in jobs:
            if not job.rows.done():
                job.rows.set_result(rows[[row for row, (owner, _) in enumerate(good) if owner is job]])


def _refuse(job: _Job, place: int, reason: str) -> None:
    """Fail a job for one of its images, the first of those that are bad."""
    if not job.rows.done():
        job.rows.set_exception(InputError("images", f"{job.names[place]} {reason}"))
