"""Train the compact CLIP, or resume a stopped run: `python -m experiments.compact_clip.train`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

if TYPE_CHECKING:
    from experiments.compact_clip.settings import Settings

log = logging.getLogger(__name__)


def run(settings: Settings) -> Path:
    """Load the data, train or resume, export; return the folder of the exported model.

    Raises
    ------
    InputError
        If settings and data don't fit, or `output_dir` contains another run, whose files then stay.
    """
    from experiments.compact_clip import checkpoint
    from experiments.compact_clip.corpus import load_corpus
    from experiments.compact_clip.export import export
    from experiments.compact_clip.fit import fit
    from fused_clip.support.files import check_writable

    checkpoint.read(settings)  # another run's is refused before the images are read, which takes longer
    check_writable(settings.export_folder)
    corpus = load_corpus(settings)
    model, history = fit(corpus, settings)
    return export(model, corpus, settings, history)


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Check the configuration, then run."""
    from experiments.compact_clip.settings import Settings, checked
    from fused_clip.support.errors import InputError

    try:
        log.info("exported to %s", run(checked(Settings, cfg)))
    except InputError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
