from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from ml import index_plots, member_plots
from ml.index_figures import index_figures, weight_matrix
from tests.ml.made_up_index import HOSTILE, MEMBERS, index_result
from tests.ml.test_plots import SUBTITLE, axes_of, bars, png

NAME = "smart"
TIMES = np.arange("2025-01-01", "2025-01-05", dtype="datetime64[D]")
RISING, FALLING = np.array([1000.0, 1100, 1200, 1300]), np.array([1000.0, 900, 800, 700])
BAND = {percent: RISING + percent for percent in (5, 25, 50, 75, 95)}
FALLS = np.array([0.0, -0.1, -0.4, 0.0])
DATES = TIMES[:3]
WEIGHTS = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
SYMBOLS = ["a", "b", "never"]

FIGURES: dict[str, Callable[[], Figure]] = {
    "equity": lambda: index_plots.equity_curves(
        TIMES, {NAME: RISING, "equal_weight": FALLING}, BAND, NAME, SUBTITLE
    ),
    "drawdown": lambda: index_plots.drawdowns(TIMES, {NAME: FALLS}, NAME, SUBTITLE),
    "monthly": lambda: index_plots.monthly_returns(
        np.array([659, 660]), np.array([0.1, -0.2]), NAME, SUBTITLE
    ),
    "weights": lambda: member_plots.weights_over_time(
        DATES, TIMES[-1], SYMBOLS, WEIGHTS, NAME, SUBTITLE
    ),
    "turnover": lambda: index_plots.turnover_and_costs(
        DATES, np.array([1.0, 0.2, 0.5]), np.array([0.1, 0.2, 0.5]), NAME, SUBTITLE
    ),
    "members": lambda: member_plots.membership_calendar(DATES, SYMBOLS, WEIGHTS, NAME, SUBTITLE),
}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())
def test_every_figure_has_a_title_a_span_and_named_axes(draw: Callable[[], Figure]) -> None:
    figure = draw()
    title, subtitle = (text.get_text() for text in figure.texts)
    assert title.startswith(f"{NAME}: ")
    assert subtitle == SUBTITLE
    for axes in figure.axes:
        assert axes.get_ylabel() or axes.get_yticklabels()
    assert png(figure)


def test_the_index_lies_over_its_benchmarks_and_the_bands_on_a_logarithmic_axis() -> None:
    figure = FIGURES["equity"]()
    axes = axes_of(figure)
    assert axes.get_yscale() == "log"
    # The legend is the reverse of what is drawn, and so names the index first.
    drawn = [line.get_label() for line in axes.lines]
    assert drawn[-1] == f"{NAME}: 1,300"
    assert legend(figure)[:2] == [f"{NAME}: 1,300", "equal_weight: 700"]
    np.testing.assert_array_equal(np.asarray(axes.lines[-1].get_ydata()), RISING)
    bands = [area for area in axes.collections if isinstance(area, PolyCollection)]
    edges = [sorted(set(area.get_paths()[0].vertices[:, 1])) for area in bands]
    assert [(edge[0], edge[-1]) for edge in edges] == [(1005, 1395), (1025, 1375)]


def test_an_index_without_random_portfolios_has_no_band() -> None:
    figure = index_plots.equity_curves(TIMES, {NAME: RISING}, {}, NAME)
    assert legend(figure) == [f"{NAME}: 1,300"]
    assert not axes_of(figure).collections


@pytest.mark.parametrize("last", [1300.0, 9e5])
def test_levels_have_ticks_whatever_their_range(last: float) -> None:
    level = np.array([1000.0, 1010, 1200, last])
    axes = axes_of(index_plots.equity_curves(TIMES, {NAME: level}, {}, NAME))
    low, high = axes.get_ylim()
    inside = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert 3 <= len(inside) <= 12


def test_the_legend_names_the_deepest_drawdown() -> None:
    assert legend(FIGURES["drawdown"]()) == [f"{NAME}: deepest \N{MINUS SIGN}40%"]


def test_months_stand_in_their_year_and_compound_to_it() -> None:
    # Months 659 and 660 since 1970-01 are December 2024 and January and February 2025.
    months, returns = np.array([659, 660, 661]), np.array([0.1, -0.2, 0.5])
    axes = axes_of(index_plots.monthly_returns(months, returns, NAME))
    written = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    minus = "\N{MINUS SIGN}"
    assert written == {
        (11, 0): "10.0%",
        (12, 0): "10.0%",
        (0, 1): f"{minus}20.0%",
        (1, 1): "50.0%",
        (12, 1): "20.0%",
    }
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2024", "2025"]
    assert [label.get_text() for label in axes.get_xticklabels()][::6] == ["Jan", "Jul", "Year"]
    shown = axes.images[0].get_array()
    assert shown is not None
    assert np.isnan(np.ma.filled(shown, np.nan)[:, 12]).all()


def test_a_month_that_moves_nothing_is_no_negative_zero() -> None:
    axes = axes_of(index_plots.monthly_returns(np.array([660]), np.array([-1e-9]), NAME))
    assert {text.get_text() for text in axes.texts} == {"0.0%"}


def test_weights_others_and_cash_fill_the_whole_at_each_date() -> None:
    weights = np.full((2, 12), 1 / 24)  # half is cash
    weights[1] = np.arange(12) / 66
    symbols = [f"S{place}" for place in range(12)]
    figure = member_plots.weights_over_time(TIMES[:2], TIMES[-1], symbols, weights, NAME)
    figure.draw_without_rendering()
    names = legend(figure)
    assert names[:2] == ["cash", "5 others"]
    assert names[2:] == [f"S{place}" for place in range(5, 12)]
    top = np.asarray(axes_of(figure).collections[-1].get_paths()[0].vertices)
    assert top[:, 1].max() == pytest.approx(1.0)
    assert top[:, 0].max() == pytest.approx(float(date2num(TIMES[-1])))


def test_symbols_are_text_and_not_formulas() -> None:
    symbols = ["$\\frac$", "$a$", "c"]
    for draw in (
        lambda: member_plots.weights_over_time(DATES, TIMES[-1], symbols, WEIGHTS, NAME),
        lambda: member_plots.membership_calendar(DATES, symbols, WEIGHTS, NAME),
    ):
        assert png(draw())


def test_costs_compound() -> None:
    figure = FIGURES["turnover"]()
    above, below = figure.axes
    assert [bar.get_height() for bar in bars(above)] == [1.0, 0.2, 0.5]
    assert [text.get_text() for text in above.texts] == ["100%", "20%", "50%"]
    assert below.lines[0].get_ydata() == pytest.approx([0.1, 1 - 0.9 * 0.8, 1 - 0.9 * 0.8 * 0.5])


def test_a_sale_beside_a_rebalance_makes_no_bar_thin() -> None:
    times = np.array(
        ["2025-01-01", "2025-02-01", "2025-02-01T04", "2025-03-01", "2025-04-01"],
        dtype="datetime64[us]",
    )
    costs = np.full(5, 0.001)
    above = index_plots.turnover_and_costs(times, costs, costs, NAME).axes[0]
    assert min(bar.get_width() for bar in bars(above)) > 10  # days


def test_the_calendar_shows_each_member_with_its_dates_and_nobody_else() -> None:
    axes = axes_of(FIGURES["members"]())
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a (2)", "b (1)"]
    shown = axes.images[0].get_array()
    assert shown is not None
    nan = np.nan
    np.testing.assert_array_equal(np.ma.filled(shown, nan), [[0.5, 1.0, nan], [0.5, nan, nan]])
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["2025-01-01", "2025-01-02", "2025-01-03"]


def test_a_calendar_of_many_keeps_those_that_were_members_most_often() -> None:
    count, dates = 100, np.arange("2020-01", "2025-01", dtype="datetime64[M]")
    weights = np.zeros((dates.size, count))
    for place in range(count):
        weights[: 1 + place % 60, place] = 0.01
    symbols = [f"S{place}" for place in range(count)]
    axes = axes_of(member_plots.membership_calendar(dates, symbols, weights, NAME))
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert len(shown) == member_plots.MOST_MEMBERS
    assert "of 100 symbols" in axes.get_xlabel()
    assert "S59 (60)" in shown
    assert "S0 (1)" not in shown
    assert len(axes.get_xticks()) <= 16


def test_an_index_that_held_nothing_still_has_its_curves() -> None:
    result = index_result()
    result.weights.drop(result.weights.index, inplace=True)
    result.trades.drop(result.trades.index, inplace=True)
    result.random.drop(result.random.index, inplace=True)
    names = [found.name for found in index_figures(result, "Spot")]
    assert names == ["equity", "drawdown", "monthly_returns"]


def test_every_figure_says_walk_forward_and_after_costs() -> None:
    found = list(index_figures(index_result(), "Spot"))
    assert [figure.name for figure in found] == [
        *("equity", "drawdown", "monthly_returns", "weights_over_time", "members", "turnover"),
    ]
    assert {figure.figure.texts[1].get_text() for figure in found} == {
        "Spot, 4h, 2025-01-01 to 2025-03-01 UTC, walk-forward, after costs"
    }
    assert all(png(figure.figure) for figure in found)


def test_weights_by_date_and_symbol() -> None:
    symbols, weights = weight_matrix(index_result())
    assert symbols == sorted(["AUSDT", "GONEUSDT", "NEWUSDT", HOSTILE])
    for row, members in zip(weights, MEMBERS, strict=True):
        assert dict(zip(symbols, row, strict=True)) == dict.fromkeys(symbols, 0.0) | members
