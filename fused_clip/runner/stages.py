"""Stages of a cell that name themselves while they work."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fused_clip.support.timing import Stages

log = logging.getLogger(__name__)
_PATIENCE = 5.0  # seconds after which a stage names itself: quick cells stay quiet
_STAGES = {
    "load": "loading the data",
    "embed": "embedding",
    "pair": "pairing images with prompts",
    "fit": "clustering",
    "classify": "classifying test images",
    "score": "scoring",
    "references": "computing references",
    "figures": "drawing figures",
}


class NamedStages(Stages):
    """Stages of a cell that log their name when they take more than five seconds.

    Parameters
    ----------
    cell : name of the cell.
    """

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.cell = cell

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage, and name it if it takes long.

        Parameters
        ----------
        stage : short name, as in the metric ``seconds/<stage>``.
        """
        timer = threading.Timer(_PATIENCE, log.info, ["%s: %s", self.cell, _STAGES.get(stage, stage)])
        timer.daemon = True
        timer.start()
        try:
            with super().__call__(stage):
                yield
        finally:
            timer.cancel()
