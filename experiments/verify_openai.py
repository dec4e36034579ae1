"""OpenAI's ViT-B/32 weights, as this package loads them, give the published zero-shot accuracies.

``python -m experiments.verify_openai`` takes the weights from the hub or its cache. Without the hub,
``--weights ViT-B-32.pt`` takes OpenAI's file, and ``--weights FILE.safetensors`` its conversion. The official
test splits come from ``FUSED_CLIP_DATA``, or from the hub or its cache. Everything is computed in float32.

The exit code is 0 if the weights have a known SHA-256 and every accuracy with the model's own preprocessing
is the published one. Nobody published accuracies with the paper's preprocessing. The images are squares:
squashing does not distort them, and a crop would cut nothing off. Both preprocessings only enlarge, one with
a bilinear and one with a bicubic filter, so a difference of more than three points is unexpected.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from hydra import compose, initialize_config_dir

from fused_clip.backbone import OpenClipBackbone
from fused_clip.backbone.convert import convert
from fused_clip.method import pairing
from fused_clip.method.embedding import embed_prompts
from fused_clip.report.studies.published import load
from fused_clip.runner.build import make_parts
from fused_clip.runner.config import Options, build, check
from fused_clip.store import Store
from fused_clip.support.command import make_parser, one_line_errors
from fused_clip.support.conf import conf_dir

MODEL = "ViT-B-32-quickgelu"
FILTERS = 3.0  # points between bilinear and bicubic enlargement, at most


class Figure(NamedTuple):
    """A published zero-shot accuracy.

    Parameters
    ----------
    dataset, prompt : options of these groups.
    published : in per cent.
    tolerance : in points; covers the sources' own difference.
    """

    dataset: str
    prompt: str
    published: float
    tolerance: float


# Between LAION-AI/CLIP_benchmark benchmark.csv (89.82, 48.55, 64.53) and mlfoundations/open_clip
# openclip_results.csv (89.83, 48.39, 64.23).
FIGURES = (
    Figure("cifar10", "openai_cifar", 89.8, 0.3),
    Figure("mnist", "openai_mnist", 48.5, 0.5),
    Figure("cifar100", "openai_cifar", 64.4, 0.5),
)


def verify(figures: Sequence[Figure], overrides: Sequence[str]) -> bool:
    """Print accuracies with both preprocessings; give whether weights and published accuracies are right."""
    own = options_of(figures[0], [*overrides, "backbone.preprocessing=model"])
    backbone = build(own.backbone)
    backbone.check()
    right = known_weights(backbone)
    measured = {}
    for one in figures:
        measured[one] = accuracy(one, backbone, overrides)
        good = abs(measured[one] - one.published) <= one.tolerance
        right &= good
        verdict = "ok" if good else f"off by more than {one.tolerance}"
        print(f"{one.dataset:8} {measured[one]:6.2f} %, published {one.published} %: {verdict}", flush=True)
    _with_the_papers_preprocessing(measured, overrides)
    return right


def _with_the_papers_preprocessing(measured: Mapping[Figure, float], overrides: Sequence[str]) -> None:
    backbone = None
    for one, own in measured.items():
        paper = [*overrides, "backbone.preprocessing=paper"]
        backbone = backbone or build(options_of(one, paper).backbone)
        found = accuracy(one, backbone, paper)
        verdict = "as expected" if abs(found - own) <= FILTERS else f"unexpected: more than {FILTERS} points"
        print(f"{one.dataset:8} {found:6.2f} % as in the paper, {found - own:+.2f}: {verdict}", flush=True)


def known_weights(backbone: OpenClipBackbone) -> bool:
    """Print the weights' SHA-256; give whether they or the file they were converted from are OpenAI's."""
    record = backbone.record
    known = bool({record["weights"], record.get("converted_from")} & load().weights)
    source = f", converted from {record['converted_from']}" if "converted_from" in record else ""
    print(f"weights  SHA-256 {record['weights']}{source}: {'ok' if known else 'not of OpenAI'}", flush=True)
    return known


def options_of(figure: Figure, overrides: Sequence[str]) -> Options:
    """Compose the options of one dataset."""
    parts = [f"dataset={figure.dataset}", f"prompt={figure.prompt}", "study=verify_openai", *overrides]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return check(compose("config", overrides=parts))


def accuracy(figure: Figure, backbone: OpenClipBackbone, overrides: Sequence[str]) -> float:
    """Zero-shot accuracy on the official test split, in per cent."""
    options = options_of(figure, overrides)
    dataset, _ = make_parts(options)
    store = Store(Path(options.output_dir) / "store")
    images = store.images(backbone, dataset.test.images, dataset.test.rows)
    texts = embed_prompts(build(options.prompt, dataset=dataset), backbone, store)
    return 100 * float(np.mean(pairing.zero_shot(images, texts) == dataset.test.labels))


@contextmanager
def loadable(weights: Path) -> Iterator[Path]:
    """Give a safetensors file: the file itself, or the conversion of a ``.pt``, removed after the block."""
    if weights.suffix != ".pt":
        yield weights
        return
    with TemporaryDirectory(prefix="fused_clip-") as folder:
        out = Path(folder) / f"{weights.stem}.safetensors"
        convert(weights, out, model=MODEL)
        yield out


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare each accuracy with the published one; give 1 if one is out of its tolerance."""
    parser = make_parser(
        "python -m experiments.verify_openai", "Check OpenAI's ViT-B/32 by published figures."
    )
    parser.add_argument("--weights", type=Path, help="OpenAI's ViT-B-32.pt, or its conversion")
    parser.add_argument("--output-dir", default="outputs", help="keeps the embeddings (%(default)s)")
    options = parser.parse_args(arguments)
    fixed = ["backbone=vit_b_32", "backbone.precision=float32", f"output_dir={options.output_dir}"]
    with one_line_errors("Embeddings are kept; start the same command again."):
        if options.weights is None:
            return int(not verify(FIGURES, fixed))
        with loadable(options.weights.expanduser()) as file:
            return int(not verify(FIGURES, [*fixed, f"backbone.pretrained='{file}'"]))


if __name__ == "__main__":
    sys.exit(main())
