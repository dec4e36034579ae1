"""Vision transformers in bfloat16 on a CPU, near the rate of their matrix products.

A product in bfloat16 is so fast that what stands around it weighs. Here the weights of a layer lie as oneDNN
multiplies them, an activation is a part of the product before it, and the patches are embedded by a product:
what is computed is the same, up to rounding. These are the operators that ``torch.compile`` emits, without
the compiler that it needs at run time.
"""

from __future__ import annotations

import platform
from collections import OrderedDict
from typing import Any

import torch
from open_clip.transformer import LayerNormFp32, QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

_OPERATORS = ("_is_mkldnn_bf16_supported", "_linear_pointwise", "_reorder_linear_weight")
_QUICK = 1.702  # QuickGELU(x) = x sigmoid(1.702 x) = silu(1.702 x) / 1.702
_FEW_TOKENS = 128  # up to here plain products take less time than torch's fused attention, beyond as much


def can_pack() -> bool:
    """Tell whether this CPU and this build of torch multiply packed weights in bfloat16."""
    there = all(hasattr(torch.ops.mkldnn, operator) for operator in _OPERATORS)
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return there and x86 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(tower: nn.Module) -> None:
    """Replace the layers of open_clip's own vision transformers, in place; other towers stay as they are.

    Parameters
    ----------
    tower : image tower with weights in bfloat16, on the CPU, used for inference alone.
    """
    if not isinstance(tower, VisionTransformer):
        return
    tower.conv1 = PackedPatches(tower.conv1)
    for block in tower.transformer.resblocks:
        if type(block) is ResidualAttentionBlock and block.attn.batch_first:
            block.attn = PackedAttention(block.attn)
            block.mlp = _packed_mlp(block.mlp)
            block.ln_1, block.ln_2 = _norm(block.ln_1), _norm(block.ln_2)


class PackedLinear(nn.Module):
    """``activation(x W^T + b)`` in one pass.

    Parameters
    ----------
    weight : (out, in).
    bias : (out,) or None.
    activation : ``none``, ``swish`` or ``gelu``.
    variant : of gelu: ``none`` or ``tanh``.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        activation: str = "none",
        variant: str = "",
    ) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self._bias = None if bias is None else bias.detach()
        self._activation, self._variant = activation, variant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self._bias, self._activation, [], self._variant
        )
        return product


class PackedAttention(nn.Module):
    """Self-attention without a mask, in place of an ``nn.MultiheadAttention`` of the same weights."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self._heads = attention.num_heads
        scale = torch.ones(3, attention.embed_dim)
        scale[0] = attention.head_dim**-0.5  # of the queries, so that no pass over the scores is needed
        weight = attention.in_proj_weight * scale.view(-1, 1)
        bias = attention.in_proj_bias * scale.view(-1)
        self._project = PackedLinear(weight.to(torch.bfloat16), bias.to(torch.bfloat16))
        self._mix = PackedLinear(attention.out_proj.weight, attention.out_proj.bias)

    def forward(self, query: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, None]:
        """(rows, tokens, width) to the same; what else an ``nn.MultiheadAttention`` takes is the default."""
        rows, tokens, width = query.shape
        projected = self._project(query).view(rows, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        if tokens <= _FEW_TOKENS:
            q, k, v = projected.flatten(1, 2)
            attended = torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v)
        else:
            q, k, v = projected
            attended = scaled_dot_product_attention(q, k, v, scale=1.0)
        heads = attended.view(rows, self._heads, tokens, -1).transpose(1, 2)
        return self._mix(heads.reshape(rows, tokens, width)), None


class PackedPatches(nn.Module):
    """A convolution whose stride is its kernel: one product for all patches.

    Its input is best laid out with the channels last.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self._patch = convolution.kernel_size
        weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)
        self._embed = PackedLinear(weight, convolution.bias)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(rows, channels, height, width) to (rows, out, height of the grid, width of the grid)."""
        (rows, channels, height, width), (high, wide) = pixels.shape, self._patch
        down, across = height // high, width // wide
        whole = pixels[:, :, : down * high, : across * wide].permute(0, 2, 3, 1)
        patches = whole.reshape(rows, down, high, across, wide, channels)
        embedded: torch.Tensor = self._embed(patches.transpose(2, 3).flatten(3))
        return embedded.permute(0, 3, 1, 2)


def _packed_mlp(mlp: Any) -> nn.Sequential:
    first, activation, last = mlp.c_fc, mlp.gelu, mlp.c_proj
    scale, kind, variant = 1.0, "none", ""
    if isinstance(activation, QuickGELU):
        scale, kind, activation = _QUICK, "swish", nn.Identity()
    elif isinstance(activation, nn.GELU):
        kind, variant, activation = "gelu", activation.approximate, nn.Identity()
    packed = {
        "c_fc": PackedLinear(first.weight * scale, first.bias * scale, kind, variant),
        "gelu": activation,
        "c_proj": PackedLinear(last.weight / scale, last.bias),
    }
    return nn.Sequential(OrderedDict(packed))


def _norm(norm: nn.Module) -> nn.Module:
    """Normalise in float32 without a copy of the rows in float32."""
    if not isinstance(norm, LayerNormFp32):
        return norm
    plain = nn.LayerNorm(norm.normalized_shape, norm.eps)
    plain.weight, plain.bias = norm.weight, norm.bias
    return plain
