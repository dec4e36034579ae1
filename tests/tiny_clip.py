"""A CLIP with random weights that is made in a moment, in the layout that open_clip reads from a folder."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.25, 0.2, 0.3],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    },
}


def save_tiny_clip(folder: Path, *, seed: int = 0, **model_cfg: Any) -> Path:
    """Save a tiny CLIP; `model_cfg` replaces keys of the architecture."""
    import torch
    from open_clip import CLIP
    from safetensors.torch import save_file

    config = copy.deepcopy(CONFIG)
    config["model_cfg"] |= model_cfg
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CLIP(**config["model_cfg"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder
