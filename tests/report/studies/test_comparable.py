"""Which runs may be compared with the paper, and what keeps the others from it."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from fused_clip.report.studies.comparable import explanation, mismatches
from fused_clip.report.studies.published import load
from fused_clip.support.conf import conf_dir
from fused_clip.tracking.records import RunRecord
from tests.study_records import PAPERS_OPTIONS, PAPERS_TAGS

OPENAIS_PT = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"


def record(**changes: str) -> RunRecord:
    """A run of MNIST in the paper's setting; a change to an empty value removes the fact."""
    facts = {"dataset": "mnist", **PAPERS_OPTIONS, **PAPERS_TAGS, **changes}
    tagged = PAPERS_TAGS.keys() | {"backbone_converted_from"}
    known = {name: value for name, value in facts.items() if value}
    params = {name: value for name, value in known.items() if name not in tagged}
    return RunRecord(
        "r", "", "r", "FINISHED", params=params, tags={n: known[n] for n in known.keys() & tagged}
    )


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, ""),
        ({"backbone": "mine", "backbone.pretrained": "/a/b.safetensors"}, ""),
        ({"backbone_weights": "d" * 64}, "weights"),
        ({"backbone_weights": "d" * 64, "backbone_converted_from": OPENAIS_PT}, ""),
        ({"backbone_weights": "d" * 64, "backbone_converted_from": "e" * 64}, "weights"),
        ({"backbone.model": "ViT-B-32"}, "model"),
        ({"backbone_pixels": PAPERS_TAGS["backbone_pixels"].replace("bilinear", "bicubic")}, "preprocessing"),
        ({"backbone_pixels": PAPERS_TAGS["backbone_pixels"].replace("squash", "shortest")}, "preprocessing"),
        ({"backbone_precision": "bfloat16"}, "precision"),
        ({"clusterer._target_": "sklearn.cluster.KMeans"}, "clusterer"),
        ({"clusterer.n_neighbors": "15"}, "clusterer"),
        ({"clusterer.approximate": "True"}, "clusterer"),
        ({"clusterer.approximate": "False"}, ""),
        ({"fusion._target_": "fused_clip.method.fusion.Concatenation"}, "fusion"),
        ({"classifier._target_": "fused_clip.method.classifier.LinearProbe"}, "classifier"),
        ({"n_train": "5000"}, "images"),
        ({"n_test": "5000"}, "images"),
        ({"dataset.captions.task": "a photo of a {}"}, "prompts"),
        ({"dataset": "cifar10"}, "images prompts"),
        ({"dataset": "digits"}, "images"),
    ],
)
def test_a_run_fails_the_conditions_that_it_does_not_meet(changes: dict[str, str], failed: str) -> None:
    assert list(mismatches(record(**changes))) == failed.split()


@pytest.mark.parametrize(
    ("fact", "condition"),
    [
        ("backbone_weights", "weights"),
        ("backbone_pixels", "preprocessing"),
        ("backbone_precision", "precision"),
        ("n_train", "images"),
        ("dataset.captions.task", "prompts"),
        ("backbone.model", "model"),
        ("clusterer.n_neighbors", "clusterer"),
        ("classifier._target_", "classifier"),
    ],
)
def test_what_an_old_run_did_not_record_is_not_assumed(fact: str, condition: str) -> None:
    found = mismatches(record(**{fact: ""}))
    assert list(found) == [condition]
    assert "not recorded" in found[condition]


def test_random_weights_with_k_means_are_not_comparable() -> None:
    """A run of the right architecture with a local file was called reproduced by its name."""
    changes = {"backbone_weights": "0" * 64, "backbone.pretrained": "/tmp/random.safetensors"}
    found = mismatches(record(**changes, **{"clusterer._target_": "sklearn.cluster.KMeans"}))
    assert found == {
        "weights": "SHA-256 000000000000 is not of OpenAI's",
        "clusterer": "clusterer._target_ is sklearn.cluster.KMeans, not sklearn.cluster.SpectralClustering",
    }


def test_each_reason_is_explained_once() -> None:
    small = record(n_train="500")
    lost = RunRecord("", "", "lost", "MISSING")
    (words,) = explanation([record(), small, small, lost])
    assert words.text == (
        "Not comparable, of 3 runs: images (mnist: 500 train and 10000 test images, not 60000 train and "
        "10000 test images) in 2."
    )
    assert explanation([record(), lost]) == []


# The configs


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("config", overrides=list(overrides), return_hydra_config=True)


def studies() -> list[str]:
    """Experiments whose runs a page of conf/report judges, and the preset that they inherit."""
    pages = {path.stem for path in (conf_dir() / "report").glob("*.yaml")}
    names = [path.stem for path in sorted((conf_dir() / "experiment").glob("*.yaml"))]
    return [
        "paper",
        *(name for name in names if study_of(conf_dir() / "experiment" / f"{name}.yaml") in pages),
    ]


def study_of(path: Path) -> str:
    return str(OmegaConf.load(path).get("study") or path.stem)


def test_the_studies_are_found() -> None:
    assert {"paper", "paper_table1", "paper_claims", "text_contribution"} <= set(studies())


@pytest.mark.parametrize("experiment", studies())
@pytest.mark.parametrize("backbone", ["vit_b_32", "compact"])
def test_every_study_computes_in_float32(experiment: str, backbone: str) -> None:
    cfg = composed(f"experiment={experiment}", f"backbone={backbone}")
    assert (cfg.backbone.precision, cfg.backbone.preprocessing) == ("float32", "paper")


@pytest.mark.parametrize("experiment", studies())
@pytest.mark.parametrize("clusterer", ["spectral", "spectral_sklearn"])
def test_every_study_has_the_options_of_a_comparable_run(experiment: str, clusterer: str) -> None:
    cfg = composed(f"experiment={experiment}", f"clusterer={clusterer}")
    for options in load().options.values():
        for option, accepted in options.items():
            value = OmegaConf.select(cfg, option)
            assert ("" if value is None else str(value).lower()) in map(str.lower, accepted), option
