"""Text towers with gradients: texts whose first words are free vectors.

A change here changes what is learnt, and no embedding: cells of runs are keyed by this file's contents, and
fingerprints of backbones stay. Towers compute in float32, also where embeddings are bfloat16: with gradients
a CPU is then 1.1 to 3.6 times as fast, and small steps are not rounded away.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fused_clip.backbone.base import FreeContext
from fused_clip.support.arrays import FloatArray
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    import torch

# Of open_clip's text towers: values with which the tower is CLIP's own.
_CLIP_TEXT = {
    "hf_model_name": None,
    "hf_tokenizer_name": None,
    "embed_cls": False,
    "no_causal_mask": False,
    "pool_type": "argmax",
    "proj_type": "linear",
    "proj_bias": False,
}


def check_clip_text(config: Mapping[str, Any], name: str) -> None:
    """Refuse a text tower that `clip_context` can't run.

    Parameters
    ----------
    config : open_clip's ``text_cfg``.
    name : of the backbone.

    Raises
    ------
    InputError
        If the tower is not causal, or its row is not the projected state of the end of the text.
    """
    for key, own in _CLIP_TEXT.items():
        if (config.get(key, own) or None) != (own or None):
            rule = "learns through CLIP's causal text tower, and that of this backbone differs"
            hint = "Use a CLIP of OpenAI's architecture, backbone=compact or backbone=open"
            raise InputError("text", rule, f"{name} ({key}: {config[key]})", hint=hint)


def clip_context(model: Any, tokens: torch.Tensor, count: int) -> FreeContext:
    """Free the first words in an open_clip model's text tower.

    The tower is causal: tokens after the end of the longest text are left out, which changes no row.

    Parameters
    ----------
    model : ``CLIP``, or ``CustomTextCLIP`` with CLIP's text tower.
    tokens : (p, context) token ids.
    count : tokens after the start whose vectors are free, the same in all texts.
    """
    import torch

    tower = getattr(model, "text", model)
    dtype = torch.promote_types(tower.text_projection.dtype, torch.float32)
    transformer, norm = (copy.deepcopy(part).to(dtype) for part in (tower.transformer, tower.ln_final))
    projection = tower.text_projection.to(dtype)
    ends = tokens.argmax(dim=1)  # the end of a text has the highest number
    length = int(ends.max()) + 1
    own = tower.token_embedding(tokens[:, :length]).to(dtype)
    positions, mask = tower.positional_embedding[:length].to(dtype), tower.attn_mask[:length, :length]

    def encode(vectors: torch.Tensor) -> torch.Tensor:
        states = transformer(_replaced(own, vectors) + positions, attn_mask=mask)
        rows: torch.Tensor = norm(states)[list(range(len(ends))), ends] @ projection
        return rows

    return FreeContext(own[0, 1 : 1 + count], encode)


def bert_context(bert: Any, tokens: Sequence[Sequence[int]], count: int) -> FreeContext:
    """Free the first words in the encoder of `fused_clip.backbone.minilm`.

    Parameters
    ----------
    bert : the encoder.
    tokens : ids of p texts, with start and end.
    count : tokens after the start whose vectors are free, the same in all texts.
    """
    import torch

    length = max(map(len, tokens))
    device = bert.words.weight.device
    ids = torch.tensor([[*one, *[0] * (length - len(one))] for one in tokens], device=device)
    tower = copy.deepcopy(bert).to(torch.promote_types(bert.words.weight.dtype, torch.float32))
    own = tower.words(ids)

    def encode(vectors: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = tower.encode(_replaced(own, vectors), ids == 0)
        return rows

    return FreeContext(own[0, 1 : 1 + count], encode)


def mixed(
    free: FreeContext, class_texts: FloatArray, temperature: float, classifiers: FloatArray
) -> FreeContext:
    """Mix classifiers by the similarity of texts to classes, as `Alignment.text_rows` does, with gradients.

    Parameters
    ----------
    free : gives (p, 384) vectors of texts.
    class_texts : (1000, 384) vectors of the classes' texts.
    temperature : of the softmax over similarities.
    classifiers : (1000, 1280) unit classifiers of the classes.
    """
    import torch
    from torch.nn.functional import normalize

    texts, units = (torch.from_numpy(rows).to(free.vectors.device) for rows in (class_texts, classifiers))

    def encode(vectors: torch.Tensor) -> torch.Tensor:
        shares = torch.softmax(free.encode(vectors) @ texts.T / temperature, dim=1)
        return normalize(shares @ units)

    return FreeContext(free.vectors, encode)


def _replaced(own: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Put vectors in the place of the first words of all texts, after the start: (p, length, width)."""
    import torch

    shared = vectors.expand(len(own), *vectors.shape)
    return torch.cat([own[:, :1], shared, own[:, 1 + len(vectors) :]], dim=1)
