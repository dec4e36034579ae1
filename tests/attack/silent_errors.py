"""Twelve errors that give wrong numbers without a word, each planted, and the test that finds it.

``python -m tests.attack.silent_errors`` plants each in a fork of one process that has collected the tests,
and writes what the tests say, before and after, as JSON.
"""

import json
from typing import NamedTuple

from experiments.mutants.trials import ROOT, Tests, with_tests

_SECONDS = 120.0  # until a test counts as hung


class Planted(NamedTuple):
    """An error and how it is planted.

    Parameters
    ----------
    error : what is wrong then.
    path : module, relative to the root.
    before, after : code in it, which stands there once, and what takes its place.
    test : id of the test that finds it.
    """

    error: str
    path: str
    before: str
    after: str
    test: str


PLANTED = (
    Planted(
        "Stale cache: other weights of the same name get the rows of the old ones",
        "fused_clip/store/embeddings.py",
        '"backbone": backbone.fingerprint,\n        "shard_rows"',
        '"backbone": backbone.name,\n        "shard_rows"',
        "tests/store/test_store.py::test_another_key_is_another_entry[backbone]",
    ),
    Planted(
        "Misaligned rows: after an unreadable image each label is that of the image before",
        "fused_clip/dataset/image_files.py",
        "for file, _ in good]\n    labelled",
        "for file, _ in looks[: len(good)]]\n    labelled",
        "tests/dataset/test_folder.py::test_unreadable_images_are_left_out_counted_and_rows_stay_aligned",
    ),
    Planted(
        "Class order: labels of a split count in the order of another list of names",
        "fused_clip/dataset/recipe.py",
        "for name in parent.names or known]",
        "for name in sorted(parent.names or known)]",
        "tests/dataset/test_recipe.py::test_classes_are_matched_by_name_between_splits",
    ),
    Planted(
        "QuickGELU: weights that need it run with plain GELU",
        "fused_clip/backbone/model_source.py",
        "if has != needs:",
        "if has and not needs:",
        "tests/backbone/test_clip.py::test_a_quickgelu_mismatch_is_refused_and_names_the_right_model",
    ),
    Planted(
        "Resize: images are made smaller without antialiasing",
        "fused_clip/backbone/preprocessing.py",
        "antialias=True",
        "antialias=False",
        "tests/backbone/test_preprocessing.py::test_pixels_are_open_clips_at_real_sizes[shape2-size0]",
    ),
    Planted(
        "EXIF: photos stay on their side",
        "fused_clip/dataset/decode.py",
        "return image if turn is None else image.transpose(turn)",
        "return image",
        "tests/dataset/test_decode.py::test_the_exif_orientation_is_obeyed",
    ),
    Planted(
        "NaN: an embedding that is not finite is stored and averaged",
        "fused_clip/backbone/batches.py",
        "np.isfinite(rows).all(axis=1) & rows.any(axis=1)",
        "rows.any(axis=1)",
        "tests/backbone/test_batches.py::test_a_bad_embedding_names_its_image[nan]",
    ),
    Planted(
        "Label at inference: the score of the true target is raised",
        "fused_clip/pipeline.py",
        "assignment = scores.assign(model.prompts_)",
        "true = prompts.targets(dataset.test.labels)\n"
        "    scores.values[np.arange(len(true)), true] += 0.5 * (true >= 0)\n"
        "    assignment = scores.assign(model.prompts_)",
        "tests/method/test_labels.py::test_labels_change_nothing_but_the_scores",
    ),
    Planted(
        "Leak of the test split: training rows are centred by the mean of the test rows",
        "fused_clip/pipeline.py",
        "prompts, embedded.train, known, backbone)",
        "prompts, embedded.train - embedded.test.mean(axis=0), known, backbone)",
        "tests/test_pipeline.py::test_other_test_images_change_no_answer[classifier0]",
    ),
    Planted(
        "Ties: the last of equal targets wins",
        "fused_clip/method/classifier/contract.py",
        "targets = self.values.argmax(axis=1)",
        "targets = self.values.shape[1] - 1 - self.values[:, ::-1].argmax(axis=1)",
        "tests/method/classifier/test_centroids.py::test_ties_go_to_the_lowest_target",
    ),
    Planted(
        "Sweep bleed: a cell takes the partition of the cell before, of other rows",
        "fused_clip/store/partitions.py",
        "return _array(argument)",
        "return str(argument.shape)",
        "tests/runner/test_order_of_cells.py::test_the_order_of_cells_changes_no_byte_of_what_they_find",
    ),
    Planted(
        "Metrics read back: with four digits, as tables show them",
        "fused_clip/runner/artifacts.py",
        "return {**scores, **timings}",
        "return {name: round(value, 4) for name, value in {**scores, **timings}.items()}",
        "tests/runner/test_readback.py::test_a_result_is_read_back_as_it_was[mean-fused]",
    ),
)


def changed(one: Planted) -> str:
    """Code of the module with the error.

    Parameters
    ----------
    one : of `PLANTED`.

    Raises
    ------
    ValueError
        If what is replaced does not stand there once.
    """
    code = (ROOT / one.path).read_text("utf-8")
    if code.count(one.before) != 1:
        raise ValueError(f"{one.path}: stands {code.count(one.before)} times: {one.before}")
    return code.replace(one.before, one.after)


def _outcomes(tests: Tests) -> int:
    print(
        json.dumps(
            [
                (
                    tests.outcome([one.test], _SECONDS)[0],
                    tests.outcome([one.test], _SECONDS, one.path, changed(one))[0],
                )
                for one in PLANTED
            ]
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(
        with_tests(list(dict.fromkeys(one.test.partition("::")[0] for one in PLANTED)), _outcomes)
    )
