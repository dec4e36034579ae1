"""A sweep over several grids, one after the other: what one factor at a time asks for."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridsSweeper(Sweeper):
    """Hydra's own sweeper, repeated for every grid of a list.

    Parameters
    ----------
    max_batch_size : as Hydra's; None launches all jobs at once.
    params : swept in every grid that does not set the same key.
    grids : each maps overrides to values, as `params` does. A key on the command line applies to
        every grid, and jobs that thereby become equal run once. Without grids the sweep is Hydra's own.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: Mapping[str, str] | None = None,
        grids: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        self.max_batch_size = max_batch_size
        self.params = dict(params or {})
        self.grids = [dict(grid) for grid in grids or [{}]]
        self._basic: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Set up Hydra's sweeper, which launches the jobs."""
        # Hydra executes its plugins' modules again when it scans them: only now is the class the final one.
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        self._basic = BasicSweeper(self.max_batch_size, self.params)
        self._basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self._basic.split_arguments = self.split_arguments

    def sweep(self, arguments: list[str]) -> Any:
        """Run all jobs of all grids."""
        return self._basic.sweep(arguments)

    def split_arguments(
        self, overrides: Sequence[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Turn overrides, those of `params` first, into batches of jobs."""
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        parser = OverridesParser.create()
        shared, given = overrides[: len(self.params)], overrides[len(self.params) :]
        jobs: dict[tuple[str, ...], list[str]] = {}
        for grid in self.grids:
            own = parser.parse_overrides([f"{key}={value}" for key, value in grid.items()])
            (batch,) = BasicSweeper.split_arguments([*shared, *own, *given], None)
            jobs |= {tuple(sorted(job)): job for job in batch}
        chunks = BasicSweeper.split_overrides_to_chunks(list(jobs.values()), max_batch_size)
        return [list(batch) for batch in chunks]
