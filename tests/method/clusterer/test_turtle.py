"""TURTLE: its losses by finite differences of plain formulas, and the labellings that it finds."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from fused_clip import PromptFusedClassifier
from fused_clip.method.clusterer import Turtle, generalisation_score
from fused_clip.method.clusterer.rows import standardised
from fused_clip.method.clusterer.turtle import LinearHead, SoftLabels, outer_loss
from fused_clip.method.fusion import unit_rows as unit
from fused_clip.support.errors import InputError


@pytest.fixture(scope="module")
def blobs():
    return make_blobs([60, 60, 60], n_features=6, cluster_std=0.4, random_state=0)


def quick(**params):
    return Turtle(**{"n_clusters": 3, "iterations": 60, "learning_rate": 0.01, "random_state": 0, **params})


def softmax(row):
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def plain_outer_loss(tasks, heads, spaces, weight):
    """The loss of the labelling, in loops over rows, spaces and clusters."""
    rows, count = len(spaces[0]), len(tasks[0][2])
    own = []
    for (directions, lengths, offsets), space in zip(tasks, spaces, strict=True):
        weights = [lengths[k][0] * directions[k] / math.sqrt(sum(directions[k] ** 2)) for k in range(count)]
        own.append([softmax([weights[k] @ row + offsets[k] for k in range(count)]) for row in space])
    loss = 0.0
    for (weights, offsets), space, soft in zip(heads, spaces, own, strict=True):
        for i, row in enumerate(space):
            said = softmax([weights[k] @ row + offsets[k] for k in range(count)])
            together = [sum(labels[i][k] for labels in own) / len(own) for k in range(count)]
            loss -= sum(together[k] * math.log(said[k]) for k in range(count)) / rows
        shares = [sum(labels[k] for labels in soft) / rows for k in range(count)]
        loss += weight * sum(share * math.log(share) for share in shares)
    return loss


def drawn(seed, widths=(3, 2), rows=5, count=3):
    random = np.random.default_rng(seed)
    spaces = [random.normal(size=(rows, width)) for width in widths]
    tasks = [
        (random.normal(size=(count, width)), random.uniform(1, 2, (count, 1)), random.normal(size=count))
        for width in widths
    ]
    heads = [(random.normal(size=(count, width)), random.normal(size=count)) for width in widths]
    return spaces, tasks, heads


@pytest.mark.parametrize("widths", [(3,), (3, 2)])
def test_the_step_of_the_labelling_follows_the_gradient_of_its_loss(widths):
    spaces, tasks, heads = drawn(0, widths)
    leaves = [[torch.tensor(part, requires_grad=True) for part in task] for task in tasks]
    tensors = [torch.tensor(space) for space in spaces]
    labels = [SoftLabels(*task).labels(z) for task, z in zip(leaves, tensors, strict=True)]
    logits = [LinearHead(*map(torch.tensor, head)).logits(z) for head, z in zip(heads, tensors, strict=True)]
    loss = outer_loss(labels, logits, 10.0)
    assert loss.item() == pytest.approx(plain_outer_loss(tasks, heads, spaces, 10.0), abs=1e-10)
    loss.backward()
    step = 1e-6
    for task, own in zip(tasks, leaves, strict=True):
        for part, leaf in zip(task, own, strict=True):
            for place in np.ndindex(part.shape):
                at = part[place]
                ends = []
                for part[place] in (at + step, at - step):
                    ends.append(plain_outer_loss(tasks, heads, spaces, 10.0))
                part[place] = at
                assert leaf.grad[place].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-5)


def test_the_step_of_a_classifier_follows_the_gradient_of_the_cross_entropy():
    (space,), _, ((weights, offsets),) = drawn(1, widths=(3,))
    soft = torch.softmax(torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double), 1)
    head = LinearHead(torch.tensor(weights, requires_grad=True), torch.tensor(offsets, requires_grad=True))
    loss = torch.nn.functional.cross_entropy(head.logits(torch.tensor(space)), soft)
    expected = torch.autograd.grad(loss, list(head))
    with torch.no_grad():
        head.set_gradient(torch.tensor(space), soft)
    for part, gradient in zip(head, expected, strict=True):
        torch.testing.assert_close(part.grad, gradient)


def test_weights_count_by_their_direction_alone():
    generator = torch.Generator().manual_seed(0)
    task = SoftLabels.start(4, 3, generator)
    rows = torch.randn(6, 4, generator=generator)
    torch.testing.assert_close(task._replace(directions=5 * task.directions).labels(rows), task.labels(rows))
    plain = torch.softmax(rows @ task.directions.T, dim=1)  # a start has weights as they were drawn
    torch.testing.assert_close(task.labels(rows), plain)


@pytest.mark.parametrize("seed", range(3))
def test_groups_that_are_far_apart_are_found(blobs, seed):
    rows, groups = blobs
    model = quick(random_state=seed).fit(rows)
    assert adjusted_rand_score(groups, model.labels_) == 1
    assert model.score_ == 1


def test_matched_to_targets_it_classifies_separated_blobs(blobs):
    rows, groups = blobs
    parts = {"clusterer": quick(), "clusters_per_target": 1, "vote": "hungarian", "random_state": 0}
    assert PromptFusedClassifier(**parts).fit(rows, groups).score(rows, groups) == 1


def test_the_seed_decides_all(blobs):
    rows, _ = make_blobs(200, n_features=6, centers=3, cluster_std=6, random_state=0)
    first, again, other = (quick(random_state=seed).fit_predict(rows) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(clone(quick()).fit_predict(rows), first)


def test_of_several_runs_the_one_that_generalises_best_is_kept():
    rows, _ = make_blobs(150, n_features=6, centers=5, cluster_std=4, random_state=0)
    model = quick(restarts=3, iterations=20).fit(rows)
    seeds = np.random.RandomState(0).randint(2**31 - 1, size=3)
    runs = [model._search([standardised(rows)], int(seed)) for seed in seeds]
    scores = [generalisation_score(standardised(rows), labels) for labels in runs]
    assert len(set(scores)) > 1
    assert model.score_ == max(scores)
    np.testing.assert_array_equal(model.labels_, runs[int(np.argmax(scores))])


def test_spaces_are_images_fused_rows_or_both(blobs):
    rows, groups = blobs
    noise = np.random.default_rng(0).normal(size=rows.shape)
    found = {
        spaces: adjusted_rand_score(groups, quick(spaces=spaces, images=rows).fit_predict(noise))
        for spaces in ("images", "fused", "both")
    }
    assert found["images"] == 1
    assert found["fused"] < 0.2
    assert 0.2 < found["both"] <= 1
    assert adjusted_rand_score(groups, quick(spaces="fused").fit_predict(rows)) == 1


def test_standardised_rows_are_directions_of_one_scale():
    rows = np.random.default_rng(0).normal(size=(30, 4)) + 2
    moved = standardised(rows * np.arange(1, 31)[:, None])
    np.testing.assert_allclose(moved, standardised(rows), atol=1e-6)
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=1e-6)
    assert (moved**2).mean() == pytest.approx(1, rel=1e-5)
    shapes = [np.linalg.norm(space[:, None] - space[None], axis=2) for space in (moved, unit(rows))]
    np.testing.assert_allclose(shapes[0] / shapes[0].max(), shapes[1] / shapes[1].max(), atol=1e-5)
    assert not standardised(np.ones((3, 2))).any()


def test_one_cluster_and_few_rows_have_no_score(blobs):
    rows, _ = blobs
    one = quick(n_clusters=1).fit(rows)
    assert not one.labels_.any()
    assert np.isnan(one.score_)
    assert np.isnan(quick(iterations=3).fit(rows[:5]).score_)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_clusters": 181}, "n_clusters: must be at least 1 and at most .* = 180.*got 181"),
        ({"iterations": 0}, "iterations: must be at least 1"),
        ({"batch_size": 1}, "batch_size: must be at least 2"),
        ({"inner_steps": 0}, "inner_steps: must be at least 1"),
        ({"restarts": 0}, "restarts: must be at least 1"),
        ({"learning_rate": 0}, "learning_rate: must be above 0"),
        ({"entropy_weight": -1}, "entropy_weight: must be at least 0"),
        ({"spaces": "texts"}, "spaces: .*choose from: images, fused, both"),
    ],
)
def test_a_parameter_out_of_its_range_is_refused(blobs, params, message):
    with pytest.raises(InputError, match=message):
        quick().set_params(**params).fit(blobs[0])


def test_images_of_other_rows_are_refused(blobs):
    with pytest.raises(ValueError, match="images must have 180 rows, as X has, got 3"):
        quick(images=np.ones((3, 2))).fit(blobs[0])


def test_a_start_is_uniform_in_a_box_around_zero():
    generator = torch.Generator().manual_seed(0)
    start = SoftLabels.start(16, 400, generator)
    weights = start.directions.detach().numpy()
    assert weights.shape == (400, 16)
    assert -0.25 <= weights.min() < -0.249
    assert 0.249 < weights.max() <= 0.25
    assert abs(weights.mean()) < 0.01
    assert weights.std() == pytest.approx(0.25 / math.sqrt(3), rel=0.02)
    np.testing.assert_allclose(start.lengths.detach()[:, 0], np.linalg.norm(weights, axis=1), rtol=1e-6)
    assert not start.offsets.detach().any()
    assert all(part.requires_grad for part in start)
