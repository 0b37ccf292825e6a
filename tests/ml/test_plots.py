import io
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation, Text

from gold.returns import FloatArray
from ml import kmeans_plots, pca_plots, plots
from ml.plot_style import CATEGORIES, time_axis

MONTHS = np.array(["2025-01-01", "2025-02-01"], dtype="datetime64[us]")
SUBTITLE = "Spot, 4h, 2024-10-01 to 2026-01-01 UTC"


def correlations(symbols: int, seed: int = 1) -> FloatArray:
    returns = (
        np.random.default_rng(seed).normal(size=(300, symbols)) + np.linspace(0, 1, 300)[:, None]
    )
    return np.array(np.corrcoef(returns, rowvar=False), dtype=np.float64)


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def axes_of(figure: Figure) -> Axes:
    return figure.axes[0]


def bars(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def names_on(axes: Axes) -> dict[str, Text]:
    """The bold names beside points, by their text."""
    found = [text for text in axes.texts if isinstance(text, Annotation) and text.arrow_patch]
    return {text.get_text(): text for text in found}


FIGURES: dict[str, Callable[[], Figure]] = {
    "scree": lambda: plots.scree([0.5, 0.2], [0.5, 0.7], SUBTITLE),
    "importances": lambda: plots.importances(["a", "b"], [0.3, 0.7], SUBTITLE),
    "permutation": lambda: plots.permutation_importances(["a", "b"], [0.003, -0.001], SUBTITLE),
    "weights": lambda: plots.index_weights(["a", "b"], [0.3, 0.7], SUBTITLE),
    "sweep": lambda: kmeans_plots.sweep([2, 3], {"Silhouette": [0.3, 0.5]}, 3, SUBTITLE),
    "months": lambda: kmeans_plots.month_to_month(MONTHS, np.array([0.1, 0.4]), SUBTITLE),
    "loadings": lambda: pca_plots.loadings_heatmap(
        ["a", "b"], np.array([[0.8, 0.6], [0.6, -0.8]]), np.array([0.7, 0.3]), SUBTITLE
    ),
    "integration": lambda: pca_plots.market_integration(
        MONTHS, np.array([[0.5, 0.2], [0.6, 0.1]]), SUBTITLE
    ),
    "scatter": lambda: plots.cluster_scatter(
        ["a", "b"], [0.5, 1.0], [0.1, -3.0], [0, 1], ["a"], SUBTITLE
    ),
    "heatmap": lambda: plots.correlation_heatmap(["a", "b", "c"], correlations(3), SUBTITLE),
    "spread": lambda: plots.correlation_distribution([0.1, 0.9, np.nan], 0.85, SUBTITLE),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())
def test_every_figure_has_a_title_a_span_and_named_axes(draw: Callable[[], Figure]) -> None:
    figure = draw()
    title, subtitle = (text.get_text() for text in figure.texts)
    assert title
    assert subtitle == SUBTITLE
    assert axes_of(figure).get_xlabel()
    # Bars and maps name each row instead.
    rows = [label.get_text() for label in axes_of(figure).get_yticklabels()]
    assert axes_of(figure).get_ylabel() or {"a", "b"} <= set(rows)


def test_figures_drawn_in_threads_equal_figures_drawn_alone() -> None:
    names = ["scree", "scatter", "heatmap"]
    alone = {name: png(FIGURES[name]()) for name in names}
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda name: (name, png(FIGURES[name]())), names * 2))
    assert all(alone[name] == picture for name, picture in together)


def test_scree_draws_each_share_and_their_sum() -> None:
    axes = axes_of(plots.scree([0.5, 0.2, 0.1], [0.5, 0.7, 0.8]))
    assert [bar.get_height() for bar in bars(axes)] == [0.5, 0.2, 0.1]
    assert axes.lines[0].get_ydata() == pytest.approx([0.5, 0.7, 0.8])
    assert [text.get_text() for text in axes.texts] == ["50.0%", "20.0%", "70%", "10.0%", "80%"]


def test_bars_stand_by_size_with_their_numbers() -> None:
    axes = axes_of(plots.importances(["small", "large", "middle"], [0.1, 0.6, 0.3]))
    upwards = [label.get_text() for label in axes.get_yticklabels()]
    assert upwards == ["small", "middle", "large"]
    assert [bar.get_width() for bar in bars(axes)] == [0.1, 0.3, 0.6]
    assert [text.get_text() for text in axes.texts] == ["10.0%", "30.0%", "60.0%"]


def test_a_feature_that_misleads_stands_to_the_left_of_zero() -> None:
    axes = axes_of(plots.permutation_importances(["useful", "misleading"], [0.0123, -0.0021]))
    assert [bar.get_width() for bar in bars(axes)] == [-0.0021, 0.0123]
    assert [text.get_text() for text in axes.texts] == ["\N{MINUS SIGN}0.21%", "1.23%"]


@pytest.mark.parametrize(("chosen", "marked"), [(3, ["0.50, used", "120, used"]), (9, [])])
def test_the_chosen_number_of_clusters_is_marked(chosen: int, marked: list[str]) -> None:
    measures = {"Silhouette": [0.3, 0.5, 0.4], "Inertia": [200.0, 120.0, np.nan]}
    figure = kmeans_plots.sweep([2, 3, 4], measures, chosen)
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert [text for text in shown if "used" in text] == marked
    assert [text for text in shown if "used" not in text][-1] == ("200" if marked else "120")
    assert sum(len(axes.lines) for axes in figure.axes) == 2 + len(marked)


def test_loadings_of_the_symbols_that_weigh_most_are_shown_by_the_first_component() -> None:
    names = [f"S{number}" for number in range(40)]
    loadings = np.vstack([np.linspace(0.01, 0.4, 40), np.eye(40)[5]])
    axes = axes_of(pca_plots.loadings_heatmap(names, loadings, np.array([0.6, 0.4])))
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert len(shown) == pca_plots.MOST_SYMBOLS
    assert shown[0] == "S39"
    assert "S5" in shown  # the second component is made of it alone
    assert "S4" not in shown
    assert "30 of 40" in axes.get_ylabel()


def test_integration_cumulates_the_components() -> None:
    explained = np.array([[0.5, 0.2, 0.1, 0.05], [0.6, 0.1, 0.1, 0.05]])
    axes = axes_of(pca_plots.market_integration(MONTHS, explained))
    curves = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    np.testing.assert_allclose(curves, [[0.5, 0.6], [0.8, 0.8], [0.85, 0.85]])
    assert [text.get_text() for text in axes.texts] == ["50%", "60%"]


def test_scatter_leaves_out_what_has_no_place() -> None:
    nan, inf = float("nan"), float("inf")
    figure = plots.cluster_scatter(
        ["kept", "no_return", "no_volatility", "flat", "infinite"],
        [0.5, 0.5, nan, 0.0, 0.5],
        [0.1, nan, 0.1, 0.1, inf],
        [0, 0, 0, 0, 1],
        ["kept", "flat"],
    )
    axes = axes_of(figure)
    drawn = np.vstack([np.asarray(points.get_offsets()) for points in axes.collections])
    assert drawn.tolist() == [[0.5, 0.1]]
    assert set(names_on(axes)) == {"kept"}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cluster 0 (1)"]


@pytest.mark.parametrize("seed", range(3))
def test_leaders_are_named_apart_and_inside(seed: int) -> None:
    # Leaders lie close together, some at the edge: where names would cover each other.
    random = np.random.default_rng(seed)
    symbols = [f"SYMBOL{number}USDT" for number in range(60)]
    volatility = np.exp(random.normal(size=60) / 2)
    returns = random.normal(size=60)
    volatility[:5], returns[:5] = volatility[0], np.linspace(0, 0.1, 5)
    returns[5] = returns.max() + 30
    figure = plots.cluster_scatter(symbols, volatility, returns, [0] * 60, symbols[:6])
    png(figure)
    named = names_on(axes_of(figure))
    assert set(named) == set(symbols[:6])
    boxes = [Text.get_window_extent(text) for text in named.values()]
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])
    inside = axes_of(figure).get_window_extent()
    assert all(inside.contains(*box.min) and inside.contains(*box.max) for box in boxes)


@pytest.mark.parametrize(("symbols", "named", "numbers"), [(2, 2, 2), (30, 30, 870), (64, 64, 0)])
def test_heatmap_names_every_symbol_while_they_can_be_read(
    symbols: int, named: int, numbers: int
) -> None:
    names = [f"S{number}" for number in range(symbols)]
    axes = axes_of(plots.correlation_heatmap(names, correlations(symbols)))
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert len({label.get_text() for label in labels}) == named
    assert len(axes.texts) == numbers


def test_heatmap_of_many_symbols_names_some() -> None:
    names = [f"S{number}" for number in range(517)]
    matrix = correlations(517)
    figure = plots.correlation_heatmap(names, matrix)
    axes = axes_of(figure)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    order = plots.by_mean_correlation(matrix)
    assert labels == [names[place] for place in order[::13]]
    assert "one in 13" in axes.get_xlabel()
    assert png(figure)


def test_heatmap_shows_the_matrix_in_its_order_and_no_number_for_nan() -> None:
    matrix = np.array([[1.0, np.nan, 0.2], [np.nan, 1.0, np.nan], [0.2, np.nan, 1.0]])
    axes = axes_of(plots.correlation_heatmap(["b", "flat", "a"], matrix))
    shown = axes.images[0].get_array()
    assert shown is not None
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a", "flat"]
    np.testing.assert_array_equal(
        np.ma.filled(shown, np.nan), [[1, 0.2, np.nan], [0.2, 1, np.nan], [np.nan, np.nan, 1]]
    )
    assert [text.get_text() for text in axes.texts] == [".20", ".20"]


def test_numbers_in_cells_have_a_sign_and_no_negative_zero() -> None:
    matrix = np.array([[1.0, -0.001, -0.5], [-0.001, 1.0, 0.999], [-0.5, 0.999, 1.0]])
    axes = axes_of(plots.correlation_heatmap(["a", "b", "c"], matrix))
    assert {text.get_text() for text in axes.texts} == {".00", "\N{MINUS SIGN}.50", "1.00"}


@given(
    hnp.arrays(
        np.float64,
        st.integers(1, 8).map(lambda n: (n, n)),
        elements=st.one_of(st.floats(-1, 1), st.just(np.nan)),
    )
)
@settings(deadline=None, max_examples=50)
def test_order_by_mean_correlation_falls(matrix: FloatArray) -> None:
    order = plots.by_mean_correlation(matrix)
    off = np.where(np.eye(len(matrix), dtype=bool) | np.isnan(matrix), 0.0, matrix)
    means = [float(sum(off[:, place])) for place in order]
    assert sorted(order) == list(range(len(matrix)))
    assert all(first >= second - 1e-9 for first, second in pairwise(means))


@given(
    st.lists(st.one_of(st.floats(-1, 1), st.just(np.nan)), max_size=60),
    st.sampled_from([0.5, 0.85, 1.0]),
)
@settings(deadline=None, max_examples=20)
def test_distribution_counts_every_pair_once(rho: list[float], threshold: float) -> None:
    figure = plots.correlation_distribution(rho, threshold)
    known = [value for value in rho if value == value]
    assert sum(bar.get_height() for bar in bars(axes_of(figure))) == len(known)
    assert figure.texts[0].get_text() == f"Correlations of {len(known)} pairs"
    beyond = sum(value > threshold or value < -threshold for value in known)
    found = re.search(r"(\d+) pairs", axes_of(figure).texts[0].get_text())
    assert found is not None
    assert int(found[1]) == beyond


def test_names_are_text_and_not_formulas() -> None:
    # "$a$" would be set as mathematics and an odd "\\frac$$" would not draw at all.
    names = ["$\\frac$", "$a$"]
    for figure in (
        plots.index_weights(names, [0.5, 0.5]),
        plots.correlation_heatmap(names, correlations(2)),
        plots.cluster_scatter(names, [0.5, 1.0], [0.1, 0.2], [0, 0], names),
    ):
        assert png(figure)


def test_colours_of_correlations_are_evenly_apart_and_darken_from_zero() -> None:
    heatmap = plots.correlation_heatmap(["a", "b"], correlations(2))
    lab = cie_lab(axes_of(heatmap).images[0].get_cmap()(np.linspace(0, 1, 101))[:, :3])
    steps = np.linalg.norm(lab[5::5] - lab[:-5:5], axis=1)
    assert np.abs(steps / steps.mean() - 1).max() < 0.2
    assert (np.diff(lab[:51, 0]) > 0).all()
    assert (np.diff(lab[50:, 0]) < 0).all()


# Severity 1 of G. Machado, M. Oliveira, L. Fernandes, IEEE TVCG 15, 2009, on linear sRGB.
SIGHT = {
    "full": np.eye(3),
    "no red cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_of_five_clusters_can_be_told_apart(sight: str) -> None:
    colours = np.array([to_rgb(colour) for colour in CATEGORIES[:5]])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(SIGHT[sight]), 0, 1)
    lab = cie_lab(np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055))
    apart = [np.linalg.norm(one - other) for one, other in combinations(lab, 2)]
    assert min(apart) >= (45 if sight == "full" else 30)


def cie_lab(rgb: FloatArray) -> FloatArray:
    """CIE 1976 L*a*b* of sRGB colours under D65."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = np.cbrt(linear @ to_xyz.T / [0.9505, 1.0, 1.089]).T
    return np.column_stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("step", ["1us", "1min", "5h", "1D", "33D", "700D"])
def test_ticks_of_a_time_axis_lie_within_its_instants(count: int, step: str) -> None:
    times = pd.date_range("2026-01-31 23:59", periods=count, freq=step).to_numpy("datetime64[us]")
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot(times, np.ones(count))
    time_axis(axes, times)
    figure.draw_without_rendering()
    # matplotlib gives its dates no types
    place = np.asarray(date2num(times), dtype=np.float64)  # type: ignore[no-untyped-call]
    ticks = np.asarray(axes.get_xticks())
    assert bool(ticks.size) == bool(count)
    assert count == 0 or place[0] <= ticks[0] <= ticks[-1] <= place[-1]
