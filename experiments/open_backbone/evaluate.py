"""What the open backbone can do, and what it was chosen from: `python -m experiments.open_backbone.evaluate`.

Choices (alignment, temperature, input size) read training images of CIFAR-10 and CIFAR-100 alone. Test images
are read once, by the backbone as it ships.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import numpy as np
from omegaconf import DictConfig

from experiments.open_backbone.features import features, image_tower, read_photos, reduced, text_tower
from experiments.open_backbone.fit import class_names, class_texts, groups
from fused_clip.backbone.open_vocabulary import (
    SIZE,
    SMALL_SIZE,
    OpenVocabularyBackbone,
    unit_classifiers,
)
from fused_clip.support.arrays import FloatArray, ImageArray, IntArray

RESULTS = Path(__file__).parent / "results"
PROMPT = "a photo of a {}"
TEMPERATURES = (0.03, 0.05, 0.07, 0.1, 0.15)
SIZES = (96, 128, 160, 192, 224)
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
CONSE_TEMPERATURES = (1.0, 1.5, 2.0)
ROUNDS = 3
Row = dict[str, Any]


class Pictures(NamedTuple):
    """Images of one split with the names of their classes."""

    images: list[ImageArray]
    labels: IntArray
    names: list[str]


def read_split(data_dir: Path, name: str, split: str, count: int | None) -> Pictures:
    """Read the first rows of a data set of the hub's schema."""
    import io
    import json

    import pandas as pd
    import pyarrow.parquet as pq
    from PIL import Image

    (path,) = (data_dir / name).glob(f"{split}-*.parquet")
    table: pd.DataFrame = pd.read_parquet(path).iloc[:count]
    column = "img" if "img" in table else "image"
    label = "fine_label" if "fine_label" in table else "label"
    pictures = [np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in table[column]]
    schema = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
    names = [each.replace("_", " ") for each in schema[label]["names"]]
    return Pictures(pictures, table[label].to_numpy(np.int64), names)


def accuracy(images: FloatArray, texts: FloatArray, labels: IntArray) -> float:
    """Share of images whose nearest text by cosine is the one of their label."""
    return float(np.mean((_unit(images) @ _unit(texts).T).argmax(axis=1) == labels))


def alignments(sets: Mapping[str, Pictures]) -> Iterator[Row]:
    """Zero-shot accuracy of every alignment that was tried, on training images."""
    tower, texts = image_tower(), text_tower()
    classifiers, of_classes = unit_classifiers(tower.classifiers), class_texts()
    plain = texts.encode([PROMPT.format(name) for name in class_names()])
    seen = {name: features(tower, one.images, SMALL_SIZE) for name, one in sets.items()}
    prompts = {name: texts.encode([PROMPT.format(each) for each in one.names]) for name, one in sets.items()}
    mean = OpenVocabularyBackbone().alignment.mean_features[SMALL_SIZE]

    def row(title: str, images: Any, rows: Any) -> Row:
        scores = {n: accuracy(images(seen[n]), rows(prompts[n]), one.labels) for n, one in sets.items()}
        return {"alignment": title, **scores}

    centred = of_classes - of_classes.mean(axis=0)
    for temperature in CONSE_TEMPERATURES:
        yield row(
            f"ConSE, T = {temperature}",
            lambda rows, t=temperature: _softmax(tower.logits(rows) / t) @ centred,
            lambda rows: rows - rows.mean(axis=0),
        )
    for temperature in CONSE_TEMPERATURES:
        yield row(
            f"class probabilities against similarities, T = {temperature}",
            lambda rows, t=temperature: _softmax(tower.logits(rows) / t),
            lambda rows: np.sqrt(_softmax(rows @ of_classes.T / 0.1)),
        )
    for penalty in (0.1, 1.0, 10.0):
        ridge = np.linalg.solve(plain.T @ plain + penalty * np.eye(plain.shape[1]), plain.T @ classifiers)
        yield row(
            f"ridge from texts to classifiers, penalty {penalty}",
            lambda rows: rows - mean,
            lambda rows, ridge=ridge: rows @ ridge,
        )
    for temperature in TEMPERATURES:
        for name, centre in (("", np.zeros_like(mean)), (", features centred", mean)):
            yield row(
                f"synthesised classifiers, temperature {temperature}{name}",
                lambda rows, centre=centre: rows - centre,
                lambda rows, t=temperature: _softmax(rows @ of_classes.T / t) @ classifiers,
            )


def sizes(sets: Mapping[str, Pictures], photos: list[ImageArray]) -> Iterator[Row]:
    """Zero-shot accuracy by input size, with features centred for that size, and speed."""
    from time import perf_counter

    tower, texts = image_tower(), text_tower()
    classifiers, of_classes = unit_classifiers(tower.classifiers), class_texts()
    small = [reduced(photo, 32) for photo in photos]
    for size in SIZES:
        mean = features(tower, small, size).mean(axis=0)
        found: Row = {"pixels": size}
        start, count = perf_counter(), 0
        for name, one in sets.items():
            prompts = texts.encode([PROMPT.format(each) for each in one.names])
            rows = _softmax(prompts @ of_classes.T / 0.1) @ classifiers
            found[name] = accuracy(features(tower, one.images, size) - mean, rows, one.labels)
            count += len(one.images)
        yield found | {"images/s": round(count / (perf_counter() - start))}


def shipped(data_dir: Path, photos: tuple[list[ImageArray], IntArray]) -> Iterator[Row]:
    """Zero-shot accuracy of the backbone as it ships, on whole test splits and the photos."""
    backbone = OpenVocabularyBackbone(precision="float32")
    for name in ("cifar10", "cifar100", "mnist"):
        one = read_split(data_dir, name, "test", None)
        rows = backbone.encode_images(one.images)
        for prompt in (PROMPT, "This is a {}"):
            texts = backbone.encode_texts([prompt.format(each) for each in one.names])
            title = f"{name} test, {prompt!r}"
            yield {"images": title, "classes": len(one.names), "accuracy": accuracy(rows, texts, one.labels)}
    rows = backbone.encode_images(photos[0])
    for title, names, labels in (
        ("photos, names of ImageNet", class_names(), photos[1]),
        ("photos, coarse groups", *_grouped(photos[1])),
    ):
        texts = backbone.encode_texts([PROMPT.format(each) for each in names])
        yield {"images": title, "classes": len(names), "accuracy": accuracy(rows, texts, labels)}
    of_classes = backbone.encode_texts([PROMPT.format(each) for each in class_names()])
    _, group_of_class = _grouped(np.arange(len(of_classes)))
    nearest = group_of_class[(rows @ of_classes.T).argmax(axis=1)]
    share = float(np.mean(nearest == group_of_class[photos[1]]))
    yield {"images": "photos, group of the nearest name", "classes": len(groups()), "accuracy": share}


def speed(photos: tuple[list[ImageArray], IntArray]) -> Iterator[Row]:
    """Photos embedded a second, as they are and reduced to 32 pixels, in both precisions."""
    from time import perf_counter

    texts = [PROMPT.format(name) for name in class_names()]
    backbones = {name: OpenVocabularyBackbone(precision=name) for name in ("float32", "bfloat16")}
    for images, size in (([reduced(photo, 32) for photo in photos[0]], SMALL_SIZE), (photos[0], SIZE)):
        seconds: dict[str, list[float]] = {name: [] for name in backbones}
        rows = {}
        for _ in range(ROUNDS):
            for name, backbone in backbones.items():
                backbone.load()
                start = perf_counter()
                rows[name] = backbone.encode_images(images)
                seconds[name].append(perf_counter() - start)
        for name, backbone in backbones.items():
            rates = [round(len(images) / taken) for taken in sorted(seconds[name], reverse=True)]
            found: Row = {"pixels": size, "precision": name, "images/s": f"{rates[0]} to {rates[-1]}"}
            found["names found"] = accuracy(rows[name], backbone.encode_texts(texts), photos[1])
            found["distance from float32"] = _distance(rows[name], rows["float32"])
            yield found


def _distance(some: FloatArray, others: FloatArray) -> float:
    """Mean length of the difference of rows of length 1."""
    return round(float(np.linalg.norm(some - others, axis=1).mean()), 4)


def spaces(train: Pictures, test: Pictures) -> Iterator[Row]:
    """What a space keeps for clusters and probes: CIFAR-10, linear probe and k-means."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans

    tower, backbone = image_tower(), OpenVocabularyBackbone()
    mean, of_classes = backbone.alignment.mean_features[SMALL_SIZE], class_texts()
    raw = [features(tower, one.images, SMALL_SIZE) for one in (train, test)]
    kinds = {
        "image rows (centred, length 1)": lambda rows: _unit(rows - mean),
        "features": lambda rows: rows,
        "ConSE, T = 1.5": lambda rows: _unit(
            _softmax(tower.logits(rows) / 1.5) @ (of_classes - of_classes.mean(0))
        ),
    }
    for title, change in kinds.items():
        rows = [np.asarray(change(each)) for each in raw]
        probe = _probe(rows[0], train.labels)
        matched = []
        for seed in range(5):
            clusters = KMeans(10, n_init=3, random_state=seed).fit_predict(rows[1])
            table = np.zeros((10, 10))
            np.add.at(table, (clusters, test.labels), 1)
            matched.append(table[linear_sum_assignment(-table)].sum() / len(clusters))
        yield {
            "rows": title,
            "linear probe": float(probe.score(rows[1], test.labels)),
            "k-means": float(np.mean(matched)),
            "sd of k-means": float(np.std(matched, ddof=1)),
        }


def _probe(rows: FloatArray, labels: IntArray) -> Any:
    """Fit a logistic regression whose C is the best on the last fifth of the rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def fitted(penalty: float, count: int) -> Any:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=300))
        return model.fit(rows[:count], labels[:count])

    kept = len(rows) * 4 // 5
    scores = {c: fitted(c, kept).score(rows[kept:], labels[kept:]) for c in PENALTIES}
    return fitted(max(scores, key=scores.__getitem__), len(rows))


def _grouped(labels: IntArray) -> tuple[list[str], IntArray]:
    """Names of coarse groups, and the group of each label."""
    members = groups()
    group_of = {number: i for i, numbers in enumerate(members.values()) for number in numbers}
    return list(members), np.array([group_of[int(label)] for label in labels])


def write(name: str, rows: Sequence[Row]) -> None:
    """Print a table and write it to ``results/<name>.csv``."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            shown = {key: f"{v:.4f}" if isinstance(v, float) else v for key, v in row.items()}
            writer.writerow(shown)
            print(name, shown, flush=True)


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(config: DictConfig) -> None:
    """Write the tables that `parts` names."""
    data_dir, photos = Path(config.data_dir), read_photos(Path(config.photos))
    chosen_on = {n: read_split(data_dir, n, "train", config.n_train) for n in ("cifar10", "cifar100")}
    tables = {
        "alignments": lambda: alignments(chosen_on),
        "sizes": lambda: sizes(chosen_on, photos[0]),
        "zero_shot": lambda: shipped(data_dir, photos),
        "speed": lambda: speed(photos),
        "spaces": lambda: spaces(
            *(read_split(data_dir, "cifar10", split, config.n_probe) for split in ("train", "test"))
        ),
    }
    for name in config.parts:
        write(name, list(tables[name]()))


def _unit(rows: FloatArray) -> FloatArray:
    lengths: FloatArray = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def _softmax(logits: FloatArray) -> FloatArray:
    shares: FloatArray = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    main()
