"""Readers of the package that take what others wrote, with valid contents, in groups of one test each."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fused_clip.support.errors import InputError
from fused_clip.support.json_files import parse_json_object
from tests.attack.fuzzing import Reader
from tests.conftest import make_blobs, make_dataset

_MOST_WORDS = 100
_ROWS = np.arange(1, 13, dtype=np.float32).reshape(6, 2)
_LABELS = ["cat", "dog", "cat", "dog", "cat", "dog"]


def _put(path: str, content: bytes) -> Path:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


def _journal() -> list[Reader]:
    """Partial predictions."""
    from fused_clip.predict import answers
    from fused_clip.predict.journal import Journal
    from fused_clip.predict.sources import find_source
    from fused_clip.predict.stream import _rest
    from fused_clip.support.checksums import sealed

    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(Path(_put(f"pictures/{name}", b"")))
    job = {"format": 3, "model": "x"}
    source = find_source("pictures")
    answer = {
        "target": "cat",
        "probability": 0.9,
        "margin": 1.0,
        "runner_up": "dog",
        "cluster": 1,
        "abstained": False,
    }
    records: Sequence[dict[str, Any]] = [
        {"path": item.path, "state": item.state(), **answer} for item in source
    ]
    lines = [json.dumps(line, sort_keys=True) + "\n" for line in (job, *map(sealed, records))]
    head = lines[0].encode()

    def continued(out: str, *, fresh: bool) -> Callable[[bytes], None]:
        def read(content: bytes) -> None:
            found = Journal(Path("out.partial"), job, fresh=fresh)
            rest, _ = _rest(source, found)
            if next(rest, None) is None:
                answers.write(Path(out), found)

        return read

    def headed(content: bytes) -> dict[str, bytes]:
        return {"out.partial": head + content}

    parts = [record.encode() for record in ("".join(lines[1:]), lines[1])]
    whole = ["".join(lines).encode()]
    return [
        Reader("journal", whole, continued("out.csv", fresh=False), "out.partial", writes=True),
        *(
            Reader(
                f"records to {kind}",
                parts,
                continued(f"out.{kind}", fresh=fresh),
                headed,
                writes=True,
            )
            for kind, fresh in (("csv", False), ("parquet", True), ("jsonl", True))
        ),
    ]


def store() -> list[Reader]:
    """Entries of the store, and notes on finished cells."""
    from fused_clip.runner import reuse
    from fused_clip.store import __main__ as command
    from fused_clip.store.embeddings import Store
    from fused_clip.store.entry import Entry

    root = Path("store")
    key = {"images": "i", "rows": "all", "backbone": "b", "shard_rows": 512}
    entry = Entry(root, "images", key, {"backbone": "toy", "rows": 6, "dim": 2})
    entry.ensure(["rows-000000000"], lambda _: iter([("rows-000000000", _ROWS)]))
    manifest = entry.folder / "manifest.json"

    def of_manifest(content: bytes) -> None:
        Store(root).stored("i", "b", np.arange(6))

    def of_commands(content: bytes) -> None:
        with redirect_stdout(io.StringIO()):
            for words in (["list"], ["verify"], ["prune", "--dry-run"]):
                command.main(["--root", "store", *words])

    _put("run/metrics.json", b'{"test/accuracy": 0.5}')
    _put("run/timings.json", b'{"time/fit": 1.0}')
    _put("run/result.json", b"{}")
    reuse.keep(Path("out"), "k", Path("run").absolute(), "id", {"figures": "1"})
    (note,) = Path("out/finished").glob("k-*.json")

    def of_note(content: bytes) -> None:
        reuse.find(Path("out"), "k", {}, lambda run_id: run_id == "id")

    seed = manifest.read_bytes()
    return [
        Reader("manifest", [seed], of_manifest, str(manifest)),
        Reader("store command", [seed], of_commands, str(manifest), writes=True),
        Reader("note", [note.read_bytes()], of_note, str(note)),
    ]


def results() -> list[Reader]:
    """What runs, sweeps and predictions leave for the next command."""
    from fused_clip.metrics.curve import Curve
    from fused_clip.runner import outcomes
    from fused_clip.runner.curve_table import read_curves, write_curves
    from fused_clip.support.checksums import sealed
    from fused_clip.tracking import stored_runs

    outcomes_of = Path("sweep/0")
    outcomes_of.mkdir(parents=True)
    outcomes.record(outcomes_of, ["a=1", "b=2"], metrics={"test/accuracy": 0.5}, run_id="x")
    record = outcomes_of / "record.json"

    def of_record(content: bytes) -> None:
        records = outcomes.read_records(Path("sweep"))
        [outcomes.table_row(one) for one in records]
        outcomes.Progress(Path("sweep"), 0.0, 3, 0, ("a",)).line(outcomes_of)

    write_curves([Curve("c", "t", "x", "y", (1.0, 2.0), {"l": (0.1, 0.2)}, 1.0)], Path("curves.csv"))
    curves = Path("curves.csv").read_bytes()
    plan = json.dumps(sealed({"cells": [{"a": "1"}, {"a": "2"}]})).encode()
    table = json.dumps({"columns": ["a", "run_id", "error"], "data": [["1", "x", ""], ["2", "y", "no"]]})

    return [
        *_journal(),
        Reader("record", [record.read_bytes()], of_record, str(record), ()),
        Reader("curves", [curves], lambda content: read_curves(content, Path("curves.csv")), "curves.csv"),
        Reader("plan", [plan], lambda _: stored_runs.read_plan(Path("plan.json")), "plan.json"),
        Reader(
            "table",
            [table.encode()],
            lambda _: stored_runs.read_table(Path("sweep.json")),
            "sweep.json",
        ),
    ]


def model() -> list[Reader]:
    """Saved models, with checksums that are right."""
    from safetensors.numpy import load

    from fused_clip.backbone.weights import LocalWeights, read_record
    from fused_clip.guarantee import Guarantee
    from fused_clip.method.classifier import ConstrainedCentroid, LinearProbe, NearestClassMean, ZeroShot
    from fused_clip.model import format as files
    from fused_clip.model.calibration_rows import CalibrationRows
    from fused_clip.model.head import Head
    from fused_clip.model.saved import SavedModel
    from tests.model.conftest import fitted, prompts_of
    from tests.model.test_format import BACKBONE, TRAINING

    folders = []
    for classifier in (ConstrainedCentroid(), ZeroShot(), NearestClassMean(), LinearProbe(tol=1e-2)):
        head = Head.of(fitted(make_blobs(), classifier=classifier), prompts_of())
        folder = Path(f"model-{len(folders)}")
        rows, targets = make_blobs().test, make_blobs().test_targets.astype(np.int64)
        held_out = CalibrationRows(rows, targets, rows[:9], targets[:9])
        training = TRAINING.model_copy(update={"calibration_rows": len(rows)})
        with_rows = isinstance(classifier, ConstrainedCentroid)
        files.write(folder, head, BACKBONE, *((training, held_out) if with_rows else (TRAINING,)))
        folders.append(folder)
    card = (folders[0] / files.CARD).read_bytes()

    def summed(facts: bytes, arrays: bytes, sums: bytes | None = None) -> dict[str, bytes]:
        contents = {files.FACTS: facts, files.ARRAYS: arrays, files.CARD: card}
        right = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items()]
        contents[files.SUMS] = "".join(right).encode() if sums is None else sums
        return {f"m/{name}": content for name, content in contents.items()}

    def predict(content: bytes) -> None:
        head, facts, calibration = files.read(Path("m"))
        found = head.predict(np.ones((2, head.dim), np.float32))
        assert found.answers.shape == (2,)
        if calibration is not None:
            guarantee = Guarantee.of(SavedModel(head, None, facts, "", calibration), 0.8, unknown=0.1)
            assert guarantee.answer(np.ones((2, head.dim), np.float32)).sets is not None

    contents = [[(folder / name).read_bytes() for name in (files.FACTS, files.ARRAYS)] for folder in folders]
    facts, arrays = contents[0]

    def both(content: bytes) -> dict[str, bytes]:
        size = int.from_bytes(content[:4], "little")
        return summed(content[4 : 4 + size], content[4 + size :])

    shapes = {name: array.shape for name, array in load(arrays).items()}

    def of_weights(content: bytes) -> None:
        LocalWeights(Path("weights.safetensors")).check(shapes)

    def of_record(content: bytes) -> None:
        found = read_record(Path("weights.safetensors"))
        assert all(isinstance(value, str) for value in found.values())

    record = {"model": "ViT-B-32", "weights_sha256": "0" * 64, "source_sha256": "1" * 64}
    pairs = [len(facts).to_bytes(4, "little") + facts + arrays for facts, arrays in contents]
    sums = (folders[0] / files.SUMS).read_bytes()
    return [
        Reader("model.json", [facts], predict, lambda content: summed(content, arrays)),
        Reader("arrays.safetensors", [arrays], predict, lambda content: summed(facts, content)),
        Reader("both", pairs, predict, both),
        Reader("SHA256SUMS", [sums], predict, lambda content: summed(facts, arrays, content)),
        Reader("weights", [arrays], of_weights, "weights.safetensors"),
        Reader("record of weights", [json.dumps(record).encode()], of_record, "weights.source.json"),
    ]


def vectors() -> list[Reader]:
    """Files of vectors, and tables of encoded images."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fused_clip.dataset.encoded_table import read_split
    from fused_clip.dataset.vector_files import IDS, LABELS, SPLITS, VECTORS, Layout, read_vectors

    names = {VECTORS: "vectors", LABELS: "labels"}
    layout = Layout(names, "train", "test", "text")
    split = Layout({**names, IDS: "ids", SPLITS: "split"}, "train", "test", "text")
    columns = {"vectors": _ROWS, "labels": np.array(_LABELS)}
    more = {"ids": np.arange(6), "split": np.array(["train", "test"] * 3)}

    def npz(save: Callable[..., None] = np.savez, **arrays: Any) -> bytes:
        file = io.BytesIO()
        save(file, **arrays)
        return file.getvalue()

    def parquet(**options: Any) -> bytes:
        table = pa.table({**{name: list(values) for name, values in columns.items()}, **more})
        file = io.BytesIO()
        pq.write_table(table, file, **options)
        return file.getvalue()

    def of_file(name: str, layout: Layout) -> Callable[[bytes], None]:
        def read(content: bytes) -> None:
            for part in read_vectors("dataset.path", Path(name), layout).values():
                assert np.isfinite(part.vectors).all()
                assert len(part.vectors) == len(part.labels) == len(part.names)

        return read

    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    cells = [{"bytes": file.getvalue(), "path": None}] * 4
    images = pa.table({"image": cells, "label": [0, 1, 0, 1]}).replace_schema_metadata(
        {"huggingface": json.dumps(features)}
    )
    encoded, stream = io.BytesIO(), io.BytesIO()
    pq.write_table(images, encoded)
    with pa.ipc.new_stream(stream, images.schema) as writer:
        writer.write_table(images)

    def of_images(suffix: str) -> Callable[[bytes], None]:
        def read(content: bytes) -> None:
            found = read_split([Path(f"hub{suffix}")], "image", "label", "toy/train", 100_000)
            found.images.read(np.arange(len(found.labels)))

        return read

    per_split = {f"{part}_{name}": values for part in ("train", "test") for name, values in columns.items()}
    archives = [npz(**columns), npz(np.savez_compressed, **columns), npz(**per_split)]
    return [
        Reader("npz", archives, of_file("v.npz", layout), "v.npz"),
        Reader("npz with splits", [npz(**columns, **more)], of_file("v.npz", split), "v.npz"),
        Reader(
            "parquet",
            [parquet(), parquet(compression="gzip")],
            of_file("v.parquet", split),
            "v.parquet",
        ),
        Reader("encoded images", [encoded.getvalue()], of_images(".parquet"), "hub.parquet"),
        Reader("arrow", [stream.getvalue()], of_images(".arrow"), "hub.arrow"),
    ]


def tables() -> list[Reader]:
    """Tables of images, to train on and to predict."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fused_clip.dataset.listing import csv
    from fused_clip.dataset.recipe import Recipe
    from fused_clip.predict.sources import find_source

    for name in ("a.png", "b.png", "c.png", "d.png"):
        Image.new("RGB", (4, 4)).save(name)
    rows = [
        ("a.png", "cat", "train"),
        ("b.png", "dog", "train"),
        ("c.png", "cat", "test"),
        ("d.png", "dog", "test"),
    ]

    def text(mark: str, quote: str = "") -> bytes:
        head = ("image", "label", "split")
        return "".join(
            mark.join(f"{quote}{cell}{quote}" for cell in row) + "\n" for row in (head, *rows)
        ).encode()

    def parquet(**columns: Any) -> bytes:
        file = io.BytesIO()
        pq.write_table(pa.table(columns), file)
        return file.getvalue()

    columns = dict(zip(("image", "label", "split"), map(list, zip(*rows, strict=True)), strict=True))

    def to_train(name: str) -> Callable[[bytes], None]:
        def read(content: bytes) -> None:
            recipe = Recipe(name="toy", path=name, on_bad_image="skip")
            csv(recipe, split_column="split")

        return read

    def to_predict(name: str, column: str | None) -> Callable[[bytes], None]:
        def read(content: bytes) -> None:
            for item in find_source(name, column):
                item.path.encode()
                item.state()

        return read

    file = Path("a.png").read_bytes()
    structs = pa.array([{"bytes": file, "path": "x"}, {"bytes": None, "path": "a.png"}])
    marks = [text(","), text(";"), text("\t"), text(",", '"'), b"\xef\xbb\xbf" + text(",")]
    kinds = [parquet(path=columns["image"]), parquet(x=structs), parquet(image=[file] * 3)]
    tabbed = [text("\t"), text("\t", '"')]
    return [
        Reader("csv", marks, to_train("t.csv"), "t.csv"),
        Reader("tsv", tabbed, to_train("t.tsv"), "t.tsv"),
        Reader("parquet", [parquet(**columns)], to_train("t.parquet"), "t.parquet"),
        Reader("csv to predict", marks, to_predict("t.csv", "image"), "t.csv"),
        Reader("parquet to predict", kinds, to_predict("t.parquet", None), "t.parquet"),
    ]


def images() -> list[Reader]:
    """Images of every format that is read."""
    from fused_clip.dataset.decode import UnreadableImageError, check, count_pixels, decode, thumbnail

    Image.init()
    random = np.random.default_rng(0)
    colours = Image.fromarray(random.integers(0, 255, (24, 20, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a picture"
    seeds = []
    for mode in ("RGB", "RGBA", "L", "P", "1", "LA", "CMYK", "I;16", "YCbCr"):
        image = colours.convert("L").convert("I;16") if mode == "I;16" else colours.convert(mode)
        for kind in sorted(Image.SAVE.keys() - {"ICNS"}):  # which makes pictures of megapixels
            file = io.BytesIO()
            try:
                image.save(
                    file, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF", "MPO") else {})
                )
                decode(file.getvalue())
            except Exception:  # PIL writes and reads some modes of each format
                continue
            seeds.append(file.getvalue())
    for kind, options in (("JPEG", {"progressive": True}), ("TIFF", {"compression": "tiff_lzw"}),
                          ("TIFF", {"compression": "jpeg"}), ("TIFF", {"compression": "tiff_deflate"}),
                          ("GIF", {"save_all": True, "append_images": [colours] * 2}),
                          ("PNG", {"save_all": True, "append_images": [colours] * 2}),
                          ("WEBP", {"save_all": True, "append_images": [colours] * 2}),
                          ("WEBP", {"lossless": True})):  # fmt: skip
        file = io.BytesIO()
        colours.save(file, kind, **options)
        seeds.append(file.getvalue())
    limit = 1_000_000

    def read(content: bytes) -> None:
        count_pixels(content)
        pixels = decode(content, limit)
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3

    def look(content: bytes) -> None:
        check(content, limit)

    refused = (UnreadableImageError,)
    return [
        Reader("image", seeds, read, refuses=refused),
        Reader("check of an image", seeds, look, refuses=refused),
        Reader("thumbnail", seeds, lambda content: thumbnail(content, 8, limit), refuses=refused),
    ]


def tars() -> list[Reader]:
    """Tar files of images, and an index of images."""
    from fused_clip.dataset.image_index import ImageIndex, write_index
    from fused_clip.dataset.index_file import Listed, container
    from fused_clip.dataset.tar_members import members
    from tests.dataset.tars import pack, sample
    from tests.loading import webdataset

    seeds = []
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        files: dict[str, bytes] = {}
        for row in range(4):
            key = "long/" * (1 if kind == tarfile.USTAR_FORMAT else 25 * row) + str(row)
            files |= sample(key, row, row % 2) | {f"{key}.json": json.dumps({"label": row % 2}).encode()}
        seeds.append(pack(Path("photos.tar"), files, kind).read_bytes())
    holder = container("photos.tar", "photos/")
    found = [Listed(holder, name, start, size) for name, start, size in members("path", Path("photos.tar"))]
    write_index(Path("index"), [holder, *found])
    index = {
        str(file): file.read_bytes() for file in Path("index").iterdir() if file.suffix in (".json", ".arrow")
    }

    def read(content: bytes) -> None:
        for label in ("cls", "json:label"):
            webdataset(path="photos.tar", label_column=label, test_fraction=0.5)

    def opened(content: bytes) -> None:
        listed = ImageIndex.open(Path("index"))
        assert len(listed.ids(np.arange(len(listed)))) == len(found)

    return [
        Reader("tar", seeds, read, "photos.tar"),
        *(Reader(Path(name).suffix, [content], opened, name) for name, content in index.items()),
    ]


def knowledge() -> list[Reader]:
    """What users write: target maps, priors, texts of prompts, references, words."""
    from fused_clip.method.descriptions import descriptions
    from fused_clip.method.reference import known_references
    from fused_clip.method.words import read_words
    from fused_clip.model.constraint import Constraint, resolve
    from fused_clip.model.constraint_parsing import parse_prior, parse_targets, read_target_map

    names = ("cat", "dog", "truck")
    toy = make_dataset([[0, 1], [0, 1]], names[:2], groups={})

    def resolved(**constraint: Any) -> None:
        resolve(Constraint(**constraint), names, np.ones(3, dtype=bool), calibrated=True)

    def of_map(content: bytes) -> None:
        resolved(groups=read_target_map(Path("map.yaml")))

    def of_targets(content: bytes) -> None:
        resolved(targets=parse_targets(content.decode("utf-8", "surrogateescape")))  # as in sys.argv

    def of_prior(content: bytes) -> None:
        resolved(prior=parse_prior(content.decode("utf-8", "surrogateescape")))

    def of_texts(name: str) -> Callable[[bytes], object]:
        return lambda _: descriptions(toy, name)

    def of_reference(content: bytes) -> None:
        known_references([Path("conf")])

    maps = [
        b"pet: [cat, dog]\n",
        b"{pet: [cat, dog], car: [truck]}",
        b"pet:\n- cat\n- dog\n",
        b'{"pet": ["cat"]}',
    ]
    references = [
        path.read_bytes() for path in sorted((Path(__file__).parents[2] / "conf/reference").glob("*.yaml"))
    ]
    texts = {"cat": ["a cat", "a small cat"], "dog": ["a dog"]}
    aliases = b"cat: [a cat]\ndog:\n- a dog\n- &a x\n- *a\n"
    return [
        Reader("target map", maps, of_map, "map.yaml"),
        Reader("targets", [b"cat,dog", b'"cat", dog'], of_targets),
        Reader("prior", [b"cat=.9,dog=.05,truck=.05"], of_prior),
        Reader("descriptions in JSON", [json.dumps(texts).encode()], of_texts("d.json"), "d.json"),
        Reader("descriptions in YAML", [json.dumps(texts).encode(), aliases], of_texts("d.yaml"), "d.yaml"),
        Reader("reference", references, of_reference, "conf/reference/mine.yaml"),
        Reader("words", [b"cat\ndog\n"], lambda _: read_words(Path("words.txt")), "words.txt"),
    ]


def overrides() -> list[Reader]:
    """Words of the main command line, and the options that they make."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from fused_clip.runner.config import check
    from fused_clip.runner.overrides import check_words
    from fused_clip.support.conf import conf_dir

    known = """
        seed=3 dataset=digits dataset.n_train=100 prompt=custom fusion.alpha=0.5 clusterer=kmeans vote=prompt
        ++clusterer.n_init=3 ~figures.points tracking.uri=null study=x labels.per_class=null text=rotated
        backbone.batch_size=8 references.draws=2 classifier=linear_probe clusters_per_target=auto
        dataset.name='größer' reference=[zero_shot] seed=range(1,3) dataset.class_names=[zero,one]
    """.split()  # noqa: SIM905
    known += ["output_dir=a b", "prompt.texts={0: a}", "prompt.templates=['a {}','the {}']"]
    known += ["dataset.captions.task='This is {}'", "++dataset.groups={low: [zero, one]}"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        plain = compose("config", overrides=["study=test", "data_dir=null", "dataset=digits"])

    def words_of(content: bytes) -> list[str]:
        words = content.decode("utf-8", "surrogateescape").split("\n")
        return [word for word in words if word][:_MOST_WORDS]

    def of_words(content: bytes) -> None:
        check_words(words_of(content))

    def of_commands(content: bytes) -> None:
        words = words_of(content)
        check_words(words)
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            check(compose("config", overrides=["study=test", "data_dir=null", *words]))

    def of_options(content: bytes) -> None:
        try:
            tree = parse_json_object(content)
        except ValueError:  # there are no options to check
            return
        check(OmegaConf.create(tree))

    tree = json.dumps(OmegaConf.to_container(plain, resolve=True)).encode()
    refused = (InputError, HydraException, OmegaConfBaseException)
    return [
        Reader("words", [word.encode() for word in known], of_words, refuses=refused),
        Reader(
            "commands",
            [b"dataset=digits\n" + word.encode() for word in known if "range" not in word],
            of_commands,
            refuses=refused,
        ),
        Reader("options", [tree], of_options, refuses=refused),
    ]


GROUPS: dict[str, Callable[[], list[Reader]]] = {
    group.__name__: group
    for group in (store, results, model, vectors, tables, images, tars, knowledge, overrides)
}
