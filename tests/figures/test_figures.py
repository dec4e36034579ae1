import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from fused_clip.figures import DPI, draw, save
from fused_clip.figures.heatmaps import composition, confusion
from fused_clip.figures.maps import _spread
from fused_clip.figures.projection import project, project_both
from fused_clip.figures.style import (
    COLOURS,
    MARKERS,
    Legend,
    LegendEntry,
    cut,
    mark,
    shade,
    width_of,
    wrap,
)
from tests.results import make_result, make_split

KEYS = [
    "tsne",
    "confusion",
    "composition",
    "tsne_train_target",
    "tsne_train_cluster",
    "tsne_test_target",
    "tsne_test_prediction",
]
ODD_NAMES = (
    "$\\alpha_1$ & <script>alert(1)</script>",
    "_hidden",
    "日本語の猫",
    "ein Klassenname mit sehr vielen, wirklich vielen Zeichen",
    "two\nlines\tand\x00nul",
    "a$b$c",
    "{x}%s\\n",
    "",
)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def written(figure: Figure) -> str:
    return "\n".join(texts(figure))


def scattered(figure: Figure) -> list[Any]:
    return [points for axes in figure.axes for points in axes.collections if len(points.get_offsets())]


def rows_in(figure: Figure) -> int:
    return sum(len(points.get_offsets()) for points in scattered(figure))


@pytest.fixture(scope="module")
def drawn() -> dict[str, Figure]:
    return draw(make_result(), points=40, seed=0)


def test_every_figure_has_its_name(drawn: dict[str, Figure]) -> None:
    assert list(drawn) == KEYS
    assert all(type(figure) is Figure for figure in drawn.values())


def test_maps_show_the_rows_asked_for_and_say_how_many(drawn: dict[str, Figure]) -> None:
    for split, shown, n in (("train", 40, 60), ("test", 30, 30)):
        for name in (key for key in KEYS if key.startswith(f"tsne_{split}")):
            assert rows_in(drawn[name]) == shown
            assert f"{shown} of {n} {split} rows" in written(drawn[name])
    assert rows_in(drawn["tsne"]) == 2 * 40 + 2 * 30


def test_captions_say_which_rows_are_fitted_and_which_added(drawn: dict[str, Figure]) -> None:
    for name in (key for key in KEYS if key.startswith("tsne")):
        assert "map fitted on the train rows" in written(drawn[name])
        added = "test rows added, each fused with its predicted prompt" in written(drawn[name])
        assert added == ("train" not in name)


def test_test_rows_without_text_are_fused_with_none() -> None:
    result = make_result()
    imageless = replace(result, test=replace(result.test, prompts=np.full(len(result.test), -1)))
    for figure in draw(imageless, points=20, seed=0).values():
        assert "predicted prompt" not in written(figure)


def test_all_maps_show_the_same_window(drawn: dict[str, Figure]) -> None:
    limits = [
        (*axes.get_xlim(), *axes.get_ylim())
        for name, figure in drawn.items()
        for axes in figure.axes
        if name.startswith("tsne") and axes.collections
    ]
    assert len(limits) == 8
    assert len(set(limits)) == 1


def test_captions_name_dataset_prompt_and_backbone(drawn: dict[str, Figure]) -> None:
    for figure in drawn.values():
        for fact in ("toy", "prompt task", "backbone tiny"):
            assert fact in written(figure)


def test_legends_name_every_target_and_its_clusters(drawn: dict[str, Figure]) -> None:
    for name in ("tsne_train_target", "tsne_test_target", "tsne_test_prediction"):
        assert {"cat", "dog", "truck"} <= set(texts(drawn[name]))
    for name in ("tsne_train_cluster", "tsne"):
        assert {"cat (0, 3)", "dog (1, 4)", "truck (2, 5)"} <= set(texts(drawn[name]))
    numbers = {text for text in texts(drawn["tsne_train_cluster"]) if text.isdigit()}
    assert numbers == {"0", "1", "2", "3", "4", "5"}


def test_wrong_predictions_have_a_dark_edge(drawn: dict[str, Figure]) -> None:
    edges = [
        (tuple(points.get_edgecolor()[0][:3]), len(points.get_offsets()))
        for points in scattered(drawn["tsne_test_prediction"])
    ]
    assert sum(count for edge, count in edges if edge == (0.0, 0.0, 0.0)) == 3
    assert "dark edge: 3 wrong" in written(drawn["tsne_test_prediction"])
    assert all(points.get_edgecolor()[0][0] == 1.0 for points in scattered(drawn["tsne_test_target"]))


def test_noise_and_undecided_rows_are_grey_and_counted() -> None:
    result = make_result()
    clusters, predicted = result.train.clusters.copy(), result.test.predicted.copy()
    clusters[:7] = -1
    predicted[:4] = -1
    noisy = make_result(
        train=make_split(result.train.fused, result.train.targets, clusters, result.train.predicted),
        test=make_split(result.test.fused, result.test.targets, result.test.clusters, predicted),
        missing_targets=("dog",),
    )
    figures = draw(noisy, points=100, seed=0)
    for name, count, words in (
        ("tsne_train_cluster", 7, "grey: 7 noise"),
        ("tsne_test_prediction", 4, "grey: 4 undecided"),
    ):
        grey = [points for points in scattered(figures[name]) if len(set(points.get_facecolor()[0][:3])) == 1]
        assert sum(len(points.get_offsets()) for points in grey) == count
        assert words in written(figures[name])
    assert "noise (7)" in texts(figures["composition"])
    assert "missing: dog" in written(figures["composition"])
    assert "undecided" in texts(figures["confusion"])


def test_a_target_without_a_cluster_is_said_to_be_missing() -> None:
    result = make_result(cluster_targets=np.array([0, 0, 2, 0, 0, 2]), missing_targets=("dog",))
    figure = draw(result, points=20, seed=0)["tsne_train_cluster"]
    assert "dog (missing)" in texts(figure)


def test_confusion_is_in_per_cent_of_each_true_target() -> None:
    targets, predicted = [0] * 8 + [1] * 4, [0] * 6 + [1] * 2 + [1] * 3 + [0]
    test = make_split(np.zeros((12, 2), np.float32), targets, [0] * 12, predicted)
    figure = confusion(make_result(("a", "b", "never seen"), test=test))
    cells = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(cells[:2], [[75, 25, 0], [25, 75, 0]])
    assert cells.mask[2].all()
    assert {"75", "25", "never seen", "a", "b"} <= set(texts(figure))
    assert "9 of 12 rows right" in written(figure)


def test_composition_is_in_per_cent_of_each_cluster_under_its_majority_target() -> None:
    train = make_split(np.zeros((6, 2), np.float32), [0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 2], [0] * 6)
    figure = composition(make_result(("a", "b"), train=train, cluster_targets=np.array([0, 1, 1])))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[200 / 3, 100 / 3], [0, 100], [0, 100]])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["a #0 (3)", "b #1 (2)", "b #2 (1)"]


@pytest.mark.parametrize(
    ("classes", "per_target"),
    [(2, 2), pytest.param(20, 2, marks=pytest.mark.slow), pytest.param(100, 1, marks=pytest.mark.slow)],
)
def test_nothing_hangs_over_the_edge_or_over_the_map(classes: int, per_target: int) -> None:
    names = [f"large man-made outdoor thing {index}" for index in range(classes)]
    result = make_result(names, clusters_per_target=per_target, n_train=240, n_test=120)
    for name, figure in draw(result, points=120, seed=0).items():
        figure.set_dpi(DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        page = figure.bbox
        maps = [axes.get_window_extent() for axes in figure.axes if axes.collections]
        for text in figure.findobj(Text):
            if not text.get_text() or not text.get_visible():
                continue
            box = text.get_window_extent(renderer)
            assert box.x0 >= page.x0 - 1, (name, text)
            assert box.x1 <= page.x1 + 1, (name, text)
            assert box.y0 >= page.y0 - 1, (name, text)
            assert box.y1 <= page.y1 + 1, (name, text)
            numbers = text.axes is not None and bool(text.axes.collections)
            assert numbers or not any(box.overlaps(inside) for inside in maps), (name, text)


@pytest.mark.slow
def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    result = make_result(
        ODD_NAMES, dataset="d$_$" * 30, prompt="<b>$x$</b>", backbone="local-dir:/" + "x" * 200
    )
    figures = draw(result, points=50, seed=0)
    labels = set(texts(figures["tsne_train_target"]))
    assert {"_hidden", "a$b$c", "{x}%s\\n", "日本語の猫", "two lines and nul", "(no name)"} <= labels
    assert all(len(label) <= 24 for label in labels if "Klassen" in label or "alpha" in label)
    for figure in figures.values():
        assert not any(text.get_parse_math() for text in figure.findobj(Text) if text.get_text())
    assert len(save({name: figures[name] for name in ("composition", "tsne_test_target")}, tmp_path)) == 4


@pytest.mark.slow
def test_files_are_fit_for_print(drawn: dict[str, Figure], tmp_path: Path) -> None:
    files = save(drawn, tmp_path / "made" / "here")
    assert [path.name for path in files] == [f"{key}.{kind}" for key in KEYS for kind in ("png", "pdf")]
    for path in files[::2]:
        with Image.open(path) as image:
            assert round(image.info["dpi"][0]) == 200
            assert image.width in (700, 1440)  # a column, or a page
    pdf = files[1].read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


@pytest.mark.slow
def test_the_same_result_gives_the_same_files(tmp_path: Path) -> None:
    first, second = (save(draw(make_result(), points=30, seed=1), tmp_path / name) for name in ("one", "two"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.slow
def test_settings_of_the_user_neither_matter_nor_change(tmp_path: Path) -> None:
    plain = draw(make_result(), points=30, seed=0)["tsne"]
    with mpl.rc_context({"font.size": 30.0, "text.usetex": True, "axes.grid": True, "font.family": "serif"}):
        before = dict(mpl.rcParams)
        odd = draw(make_result(), points=30, seed=0)["tsne"]
        one, other = (
            save({"tsne": figure}, tmp_path / name)[0] for name, figure in (("a", plain), ("b", odd))
        )
        assert dict(mpl.rcParams) == before
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((30, 4)),
        np.repeat(np.eye(3), 10, axis=0),
        np.arange(30.0)[:, None],
        np.array([[0.0, 1.0]]),
        np.eye(3),
        np.random.default_rng(0).normal(size=(9, 300)),
        np.full((20, 3), 1e-30),
        1e15 * np.random.default_rng(0).normal(size=(20, 3)),
    ],
    ids=["constant", "duplicates", "one axis", "one row", "three rows", "wide", "tiny", "huge"],
)
def test_projection_takes_any_finite_rows(rows: Any) -> None:
    placed = project(rows.astype(np.float32), seed=0)
    assert placed.shape == (len(rows), 2)
    assert np.isfinite(placed).all()
    np.testing.assert_array_equal(placed, project(rows.astype(np.float32), seed=0))


def test_projection_keeps_neighbours_together() -> None:
    rng = np.random.default_rng(0)
    means = 10 * rng.normal(size=(4, 80))
    groups = np.arange(200) % 4
    placed = project((means[groups] + rng.normal(size=(200, 80))).astype(np.float32), seed=0)
    distances = np.linalg.norm(placed[:, None] - placed[None], axis=2) + np.diag(np.full(200, np.inf))
    assert (groups[distances.argmin(axis=1)] == groups).mean() > 0.99


@pytest.mark.parametrize(("fitted", "added"), [(200, 60), (5, 4), (8, 1), (9, 0), (1, 2)])
def test_added_rows_lie_among_their_like_and_move_nothing(fitted: int, added: int) -> None:
    rng = np.random.default_rng(0)
    means = 10 * rng.normal(size=(4, 80))
    rows = (means[np.arange(fitted + added) % 4] + rng.normal(size=(fitted + added, 80))).astype(np.float32)
    places, others = project_both(rows[:fitted], rows[fitted:], seed=0)
    alone = project(rows[:fitted], seed=0)
    np.testing.assert_allclose(places - places.mean(axis=0), alone - alone.mean(axis=0), atol=1e-9)
    assert others.shape == (added, 2)
    assert np.isfinite(others).all()
    if fitted > 8:
        nearest = np.linalg.norm(others[:, None] - places[None], axis=2).argmin(axis=1)
        np.testing.assert_array_equal(nearest % 4, (fitted + np.arange(added)) % 4)


def test_projection_of_few_rows_is_their_principal_axes() -> None:
    rows = np.array([[0, 0, 0], [3, 0, 0], [0, 1, 0], [3, 1, 0]], np.float32)
    placed = project(rows, seed=0)
    np.testing.assert_allclose(np.ptp(placed, axis=0), [3, 1], atol=1e-6)


def test_a_result_of_a_handful_of_rows_is_drawn() -> None:
    figures = draw(make_result(("a", "b"), clusters_per_target=1, n_train=3, n_test=2), points=10, seed=0)
    assert rows_in(figures["tsne_train_target"]) == 3
    assert rows_in(figures["tsne_test_target"]) == 2


SIMULATED = {  # Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB
    "normal": np.eye(3),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}


def lab(colours: tuple[str, ...], simulation: Any) -> Any:
    rgb = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in colours]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = np.clip(linear @ simulation.T, 0, 1) @ to_xyz.T / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("vision", SIMULATED)
def test_colours_differ_for_every_reader(vision: str) -> None:
    places = lab(COLOURS, SIMULATED[vision])
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 1000 * np.eye(len(COLOURS))
    assert distances.min() > 17.5


def test_marks_do_not_repeat_within_a_hundred_categories() -> None:
    assert len({mark(index) for index in range(len(COLOURS) * len(MARKERS))}) == 110
    assert len({mark(index).marker for index in range(11)}) == 11
    assert mark(-1) not in {mark(index) for index in range(110)}


def test_shades_of_one_colour_differ() -> None:
    for colour in COLOURS:
        shades = [shade(colour, rank, 4) for rank in range(4)]
        assert shades[0] == colour
        assert len(set(shades)) == 4
        assert shade(colour, 0, 1) == colour


@given(st.text(max_size=80), st.integers(min_value=10, max_value=40))
def test_cut_names_fit_on_one_line(name: str, length: int) -> None:
    short = cut(name, length)
    assert 0 < len(short) <= length
    assert not re.search(r"[\n\r\t\x00\u2028]", short)
    assert cut(short, length) == short


def test_cut_keeps_what_fits() -> None:
    assert cut("pickup_truck", 12) == "pickup_truck"
    assert cut("pickup_truck", 11) == "pickup_tru…"


@given(st.lists(st.text("abc ", min_size=1, max_size=12), min_size=1, max_size=12))
@settings(max_examples=30)
def test_wrapped_lines_fit_and_lose_nothing(parts: list[str]) -> None:
    lines = wrap(parts, 6.5, 1.5)
    assert " · ".join(parts) == " · ".join(lines)
    assert all(width_of(line, 6.5) <= 1.5 or " · " not in line for line in lines)


@given(st.integers(min_value=0, max_value=40), st.integers(min_value=0, max_value=2**16))
@settings(max_examples=30)
def test_spread_places_keep_apart(count: int, seed: int) -> None:
    places = np.random.default_rng(seed).uniform(size=(count, 2))
    moved = _spread(places, 0.01)
    distances = np.linalg.norm(moved[:, None] - moved[None], axis=2) + np.eye(count)
    assert moved.shape == (count, 2)
    assert count < 2 or distances.min() > 0.005
    assert np.abs(moved - places).max(initial=0) < 0.1


@pytest.fixture
def entries() -> list[LegendEntry]:
    return [LegendEntry((mark(index),), f"name {index}") for index in range(10)]


def test_legends_take_as_many_columns_as_fit(entries: list[LegendEntry]) -> None:
    assert Legend(entries, 7.2).height < Legend(entries, 3.5).height < Legend(entries, 0.5).height
    assert Legend([], 3.5).height == 0
