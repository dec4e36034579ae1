"""Words of a clusterer: where they come from, what is refused, and that a run and its references get them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans

from fused_clip import pipeline
from fused_clip.backbone import Precomputed
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import prompt
from fused_clip.method.checks import check
from fused_clip.method.clusterer import TextAidedClustering
from fused_clip.method.reference import Reference, ReferenceFacts, ReferenceOptions
from fused_clip.method.words import NOUNS, read_words, wants_words, words_of
from fused_clip.support.errors import InputError
from tests.conftest import Blobs
from tests.loading import embeddings
from tests.runner.test_reuse import key
from tests.test_pipeline import BlobEmbedder, FakeBackbone, method, references_of

SEEN: list[tuple[Any, NDArray[np.float32]]] = []


class Worded(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Clusters by k-means, and notes the words it was given."""

    def __init__(
        self,
        words: Any = ("cat", "dog"),
        word_rows: Any = None,
        n_clusters: int = 2,
        template: str = "the {}",
    ) -> None:
        self.words = words
        self.word_rows = word_rows
        self.n_clusters = n_clusters
        self.template = template

    def fit_predict(self, X: Any, y: object = None) -> Any:
        SEEN.append((self.words, self.word_rows))
        return KMeans(self.n_clusters, n_init=1, random_state=0).fit_predict(X)


class Bare(Worded):
    """Has no template."""

    def __init__(self, words: Any = ("cat", "dog"), word_rows: Any = None) -> None:
        self.words = words
        self.word_rows = word_rows


class Recorder(BlobEmbedder):
    """Notes the texts that it embeds, and when."""

    def texts(self, backbone: object, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return super().texts(backbone, texts)


@pytest.fixture(autouse=True)
def _forget() -> None:
    SEEN.clear()


def test_the_nouns_are_many_words_of_lower_case_under_their_licence() -> None:
    nouns = read_words(None)
    assert len(nouns) == 5000
    assert list(nouns) == sorted(nouns)
    assert all(noun.isascii() and noun.isalpha() and noun.islower() for noun in nouns)
    assert {"airplane", "cat", "dog", "ship", "truck"} <= set(nouns)
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in (NOUNS.parent / "LICENSE").read_text()


def test_words_of_a_file_or_a_list_are_distinct_and_not_blank(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("fire truck\n\n  chat \nÜbung\nchat\n", encoding="utf-8")
    expected = ("fire truck", "chat", "Übung")
    assert read_words(str(tmp_path / "mine.txt")) == read_words(tmp_path / "mine.txt") == expected
    assert read_words(["fire truck", " ", "chat", "Übung", "chat"]) == expected


@pytest.mark.parametrize("words", ["", "\n \n", [], [" "]])
def test_no_word_is_refused(tmp_path: Path, words: Any) -> None:
    if isinstance(words, str):
        (tmp_path / "none.txt").write_text(words)
        words = str(tmp_path / "none.txt")
    with pytest.raises(InputError, match=r"clusterer\.words: must name at least one word"):
        read_words(words)


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.txt").write_bytes(b"\xff\xfe\x00\xd8")
    for path in ("picture.txt", "missing.txt", "."):
        with pytest.raises(InputError, match=r"clusterer\.words: must be a list, or a UTF-8 text file"):
            read_words(str(tmp_path / path))
    with pytest.raises(InputError, match=r"clusterer\.words: must be texts"):
        read_words(["cat", 3])  # type: ignore[list-item]


def test_only_a_clusterer_with_both_parameters_wants_words() -> None:
    assert wants_words(TextAidedClustering())
    assert not wants_words(TextAidedClustering(word_rows=np.ones((2, 2))))
    assert not wants_words(KMeans())


def test_each_word_is_written_as_the_template_says() -> None:
    model = TextAidedClustering(words=["cat", "owl"], template="a photo of {a} {}")
    assert words_of(model, FakeBackbone()).texts == ("a photo of a cat", "a photo of an owl")
    assert words_of(Bare(), FakeBackbone()).texts == ("cat", "dog")
    with pytest.raises(InputError, match=r"clusterer\.template: must contain \{\}"):
        words_of(TextAidedClustering(template="a photo"), FakeBackbone())


def test_a_backbone_with_a_vocabulary_gets_only_words_that_it_knows() -> None:
    model = TextAidedClustering(words=["Fire truck", "cat", "owl", "fire ant"])
    known = FakeBackbone(vocabulary=frozenset({"fire", "truck", "cat"}))
    assert words_of(model, known).words == ("Fire truck", "cat")
    with pytest.raises(InputError, match=r"clusterer\.words: must include a word that fake was trained on"):
        words_of(model, FakeBackbone(vocabulary=frozenset({"dog"})))


def test_a_run_embeds_the_words_before_any_image(toy: ImageDataset, blobs: Blobs) -> None:
    embedder = Recorder(blobs)
    parts = method(clusterer=Worded(), clusters_per_target=1)
    pipeline.run(toy, prompt.task(toy), FakeBackbone(), embedder, parts)
    assert embedder.asked[:2] == ["the cat", "the dog"]
    assert embedder.asked.index("train") > 2
    ((words, rows),) = SEEN
    assert words == ["cat", "dog"]
    np.testing.assert_array_equal(rows, blobs.texts[:2])
    assert parts.clusterer.word_rows is None


def test_a_reference_gets_the_words_of_its_own_clusterer(toy: ImageDataset, blobs: Blobs) -> None:
    asked = ReferenceOptions(
        title="other words",
        explanation="the same with other words",
        uses_labels="as the run",
        when="always",
        replace={"clusterer": "worded"},
    )
    facts = ReferenceFacts("other", asked.title, asked.explanation, asked.uses_labels)
    other = Reference(facts, asked, {"clusterer": Worded(["truck"])})
    inherits = Reference(dataclasses.replace(facts, name="pairs"), asked, {"clusters_per_target": 1})
    parts = method(clusterer=Worded(), clusters_per_target=2)
    pipeline.run(toy, prompt.task(toy), FakeBackbone(), Recorder(blobs), parts, references=[other, inherits])
    assert [words for words, _ in SEEN] == [["cat", "dog"], ["truck"], ["cat", "dog"]]
    np.testing.assert_array_equal(SEEN[1][1], blobs.texts[2:3])


def vectors(folder: Path, blobs: Blobs, *texts: str) -> ImageDataset:
    names = np.array(["cat", "dog", "truck"])
    arrays = {
        "train_vectors": blobs.train,
        "train_labels": names[blobs.train_targets],
        "test_vectors": blobs.test,
        "test_labels": names[blobs.test_targets],
        "text_vectors": np.resize(blobs.texts, (3 + len(texts), 16)),
        "text_labels": np.array([*names, *texts]),
    }
    np.savez(folder / "a.npz", **arrays)
    return embeddings(path=str(folder / "a.npz"))


def test_vectors_without_those_of_the_words_are_refused_before_work(tmp_path: Path, blobs: Blobs) -> None:
    parts = method(clusterer=Worded())
    without = vectors(tmp_path, blobs)
    with pytest.raises(InputError, match="clusterer: needs embeddings of its words, which did not come"):
        check(parts, without, prompt.none(without), Precomputed(without))
    having = vectors(tmp_path, blobs, "the cat", "the dog")
    check(parts, having, prompt.none(having), Precomputed(having))


def test_unreadable_words_are_refused_before_work(toy: ImageDataset) -> None:
    parts = method(clusterer=TextAidedClustering(words="missing.txt"))
    with pytest.raises(InputError, match=r"clusterer\.words"):
        check(parts, toy, prompt.task(toy), FakeBackbone())  # type: ignore[arg-type]


def test_the_words_in_the_file_decide_the_key_of_a_cell(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    keys = []
    for words in ("cat\ndog\n", "cat\nowl\n", "cat\n\ndog"):
        mine.write_text(words)
        keys.append(key("clusterer=tac", f"clusterer.words={mine}"))
    assert keys[0] == keys[2] != keys[1]
    assert key("clusterer=tac") != key("clusterer=tac", "clusterer.words=[cat,dog]")


def test_what_looks_images_up_in_words_is_not_without_text(toy: ImageDataset, blobs: Blobs) -> None:
    """Clusters of images alone by such a clusterer are no rival without text."""
    asked = [one for one in references_of(toy) if one.facts.name in ("image_only", "nearest_class_mean")]
    against = {}
    for clusterer in (Worded(), KMeans(n_init=2)):
        run = method(clusterer=clusterer, clusters_per_target=1)
        embedder = (FakeBackbone(), BlobEmbedder(blobs))
        found = pipeline.run(toy, prompt.none(toy), *embedder, run, references=asked)
        against[type(clusterer).__name__] = found.tags.get("text_in_all_against")
    assert against == {"Worded": "nearest_class_mean", "KMeans": None}
