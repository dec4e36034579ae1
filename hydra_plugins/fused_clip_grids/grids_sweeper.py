"""A sweep over several grids, one after the other: what one factor at a time asks for."""

from collections.abc import Mapping, Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override


class GridsSweeper(BasicSweeper):
    """Hydra's own sweeper, repeated for every grid of a list.

    Parameters
    ----------
    max_batch_size : as Hydra's; None launches all jobs at once.
    params : swept in every grid that does not set the same key.
    grids : each maps overrides to values, as `params` does. What the command line says of a key holds in
        every grid, and jobs that thereby become equal run once. Without grids the sweep is Hydra's own.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: Mapping[str, str] | None = None,
        grids: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(max_batch_size, dict(params or {}))
        self.grids = [dict(grid) for grid in grids or [{}]]

    def split_arguments(  # type: ignore[override]  # Hydra calls it on the instance
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Turn overrides, those of `params` first, into batches of jobs."""
        loader = self.hydra_context.config_loader if self.hydra_context else None
        parser = OverridesParser.create(config_loader=loader)
        shared, given = overrides[: len(self.params)], overrides[len(self.params) :]
        jobs: dict[tuple[str, ...], list[str]] = {}
        for grid in self.grids:
            own = parser.parse_overrides([f"{key}={value}" for key, value in grid.items()])
            (batch,) = BasicSweeper.split_arguments([*shared, *own, *given], None)
            jobs |= {tuple(sorted(job)): job for job in batch}
        return [list(batch) for batch in self.split_overrides_to_chunks(list(jobs.values()), max_batch_size)]
