"""Fitted models for the tests of what is made of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.prompt import Prompts
from fused_clip.model.head import Head
from tests.conftest import Blobs

NAMES = ("cat", "dog", "truck")
MakeHead = Callable[..., Head]


def prompts_of(names: tuple[str, ...] = NAMES, *, text: bool = True) -> Prompts:
    index = np.arange(len(names))
    texts = tuple((f"This is a {name}",) for name in names) if text else ()
    return Prompts(texts, names, index, index if text else None)


def fitted(blobs: Blobs, *, text: bool = True, **params: Any) -> PromptFusedClassifier:
    model = PromptFusedClassifier(
        blobs.texts if text else None,
        dict(enumerate(range(len(blobs.texts)))),
        clusterer=KMeans(n_init=2),
        random_state=0,
        **params,
    )
    return model.fit(blobs.train, blobs.train_targets)


@pytest.fixture
def make_head(blobs: Blobs) -> MakeHead:
    """Make the head of a model of the blobs; calibrated, unless asked otherwise."""

    def make(*, text: bool = True, calibrated: bool = True, **params: Any) -> Head:
        return Head.of(fitted(blobs, text=text, calibrate=calibrated, **params), prompts_of(text=text))

    return make
