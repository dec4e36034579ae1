"""Packed layers compute what the layers they replace compute, in fewer passes."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.model import convert_weights_to_lp
from open_clip.transformer import LayerNormFp32, QuickGELU, VisionTransformer
from torch.utils._python_dispatch import TorchDispatchMode

from fused_clip.backbone import OpenClipBackbone
from fused_clip.backbone.packed import PackedAttention, can_pack, pack
from tests.tiny_clip import save_tiny_clip

needs_packing = pytest.mark.skipif(not can_pack(), reason="this CPU does not multiply packed bfloat16")


def tanh_gelu() -> torch.nn.GELU:
    return torch.nn.GELU(approximate="tanh")


def towers(act_layer: Any = torch.nn.GELU, **changes: Any) -> tuple[VisionTransformer, VisionTransformer]:
    """A vision transformer in float32, and in bfloat16 as open_clip makes it."""
    shape: dict[str, Any] = {"image_size": 48, "patch_size": 16, "width": 80, "heads": 2, "layers": 2}
    torch.manual_seed(0)
    tower = VisionTransformer(mlp_ratio=4, output_dim=24, act_layer=act_layer, **{**shape, **changes})
    with torch.no_grad():
        for weights in tower.parameters():
            weights.add_(0.1 * torch.randn_like(weights))
    rough = copy.deepcopy(tower)
    convert_weights_to_lp(rough, torch.bfloat16)
    for module in rough.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.__class__ = LayerNormFp32
    return tower.eval(), rough.eval()


def pixels(rows: int = 6) -> torch.Tensor:
    images = torch.randn(rows, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    return images.contiguous(memory_format=torch.channels_last)


def error(tower: VisionTransformer, images: torch.Tensor, want: torch.Tensor) -> float:
    return float((tower(images.bfloat16()).float() - want).norm() / want.norm())


@needs_packing
@pytest.mark.parametrize("act_layer", [torch.nn.GELU, tanh_gelu, QuickGELU, torch.nn.ReLU])
@pytest.mark.parametrize("changes", [{}, {"patch_size": 12, "heads": 5}, {"patch_size": 4}])
def test_rows_are_those_of_the_tower_up_to_rounding(act_layer: Any, changes: dict[str, Any]) -> None:
    exact, rough = towers(act_layer, **changes)
    with torch.inference_mode():
        want = exact(pixels())
        unpacked = error(rough, pixels(), want)
        pack(rough)
        assert error(rough, pixels(), want) < 1.5 * unpacked < 0.05
        contiguous = rough(pixels().bfloat16().contiguous())
        torch.testing.assert_close(contiguous, rough(pixels().bfloat16()))


class Operators(TorchDispatchMode):
    """Notes the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func.overloadpacket))
        return func(*args, **(kwargs or {}))


@needs_packing
def test_a_layer_is_four_products_and_activations_cost_no_pass() -> None:
    _, rough = towers(QuickGELU)
    pack(rough)
    with torch.inference_mode(), Operators() as ran:
        rough(pixels().bfloat16())
    assert ran.names.count("mkldnn._linear_pointwise") == 1 + 2 * 4, "patches, and four products a layer"
    assert ran.names.count("aten.bmm") == 2 * 2, "scores and their sums"
    assert not {"aten.addmm", "aten.sigmoid", "aten.silu", "aten.mul", "aten.convolution"} & set(ran.names)
    casts = ran.names.count("aten.to") + ran.names.count("aten._to_copy")
    assert casts <= 8, "of what stands before and after the layers: each layer would add four"


def test_other_towers_stay_as_they_are() -> None:
    tower = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, stride=4), torch.nn.Linear(8, 8))
    before = list(tower.modules())
    pack(tower)
    assert list(tower.modules()) == before


@needs_packing
@pytest.mark.parametrize(("precision", "packed"), [("bfloat16", True), ("float32", False)])
def test_the_backbone_packs_in_bfloat16(precision: Any, packed: bool, tmp_path: Any) -> None:
    backbone = OpenClipBackbone(f"local-dir:{save_tiny_clip(tmp_path)}", precision=precision, device="cpu")
    backbone.load()
    modules = backbone._towers.visual.modules()
    assert any(isinstance(module, PackedAttention) for module in modules) == packed


def test_where_packing_is_not_possible_bfloat16_works_all_the_same(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fused_clip.backbone.packed.can_pack", lambda: False)
    folder = f"local-dir:{save_tiny_clip(tmp_path)}"
    images = [np.full((9, 9, 3), level, np.uint8) for level in (0, 90, 255)]
    plain = OpenClipBackbone(folder, precision="bfloat16", device="cpu").encode_images(images)
    exact = OpenClipBackbone(folder, precision="float32", device="cpu").encode_images(images)
    np.testing.assert_allclose(plain, exact, atol=0.03 * np.abs(exact).max())
