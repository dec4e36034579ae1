"""Train the compact CLIP, or resume a stopped run: `python -m experiments.compact_clip.train`."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from experiments.compact_clip.settings import Settings

log = logging.getLogger(__name__)


def run(settings: Settings) -> Path:
    """Load the data, train or resume, export; return the folder of the exported model."""
    from experiments.compact_clip.data import check_data_dir
    from experiments.compact_clip.export import export, run_facts
    from experiments.compact_clip.fit import fit, load_corpus

    check_data_dir(settings.data_dir)
    corpus = load_corpus(settings)
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    (settings.output_dir / "run.json").write_text(json.dumps(run_facts(corpus, settings), indent=1))
    model, history = fit(corpus, settings)
    return export(model, corpus, settings, history)


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Check the configuration, then run."""
    from pydantic import ValidationError

    from experiments.compact_clip.settings import Settings

    try:
        settings = Settings.model_validate(OmegaConf.to_container(cfg, resolve=True))
    except ValidationError as error:
        raise SystemExit(f"conf/train.yaml: {error}") from None
    log.info("exported to %s", run(settings))


if __name__ == "__main__":
    main()
