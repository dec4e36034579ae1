"""The open_clip model that is trained, untrained, and its tokenizer."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

MODEL = json.loads(Path(__file__).with_name("model.json").read_text())


def build_model(seed: int) -> nn.Module:
    """Return the untrained open_clip model of `model.json`."""
    import open_clip

    torch.manual_seed(seed)
    return open_clip.model.CLIP(**copy.deepcopy(MODEL["model_cfg"])).to(memory_format=torch.channels_last)


def make_tokenizer() -> Any:
    """Return open_clip's tokenizer at the context length of the model."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=MODEL["model_cfg"]["text_cfg"]["context_length"])
