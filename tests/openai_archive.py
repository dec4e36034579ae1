"""A CLIP with random weights, in the form of OpenAI's files: TorchScript, mostly float16."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

NAME = "tiny-quickgelu"
CONFIG: dict[str, Any] = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


def add_architecture(folder: Path) -> None:
    """Make open_clip know the architecture for the rest of the process."""
    import open_clip

    (folder / f"{NAME}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / f"{NAME}.json")


def save_archive(path: Path, *, seed: int = 0) -> Path:
    """Save a TorchScript archive with the names, types and numbers of OpenAI's files."""
    import open_clip
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**CONFIG).eval()
    numbers = {"input_resolution": 32, "context_length": 16, "vocab_size": 49408}
    for name, value in numbers.items():
        vars(model).pop(name, None)
        model.register_buffer(name, torch.tensor(value))
    mask = model._buffers.pop("attn_mask")  # a constant of the code in OpenAI's files
    vars(model)["attn_mask"] = mask
    inputs = {
        "encode_image": (torch.ones(1, 3, 32, 32),),
        "encode_text": (torch.zeros(1, 16, dtype=torch.int),),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        traced = torch.jit.trace_module(model, inputs, check_trace=False)
        open_clip.model.convert_weights_to_fp16(model)
        types = {name: tensor.dtype for name, tensor in model.named_parameters()}
        for name, tensor in traced.named_parameters():
            tensor.data = tensor.data.to(types[name])
        torch.jit.save(traced, str(path))
    return path
