"""What the report says of the factor model, by made-up results, and what its figures show."""

from __future__ import annotations

import base64
import io
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gold.factor_names import LONG_SHORT_FACTORS, MARKET_RETURN
from gold.returns import FloatArray
from gold.risk_rows import SORTED_FACTORS
from lakehouse.intervals import Interval
from ml import factor_plots
from ml.factor_results import MOST_TIMES, spacing
from ml.factor_section import FactorSection, factor_exports, factor_section
from ml.plot_style import TimeArray
from ml.report import exports
from ml.report_page import render
from tests.ml.made_up_factors import AS_OF, COINS, HOSTILE, TIMES, factor_results
from tests.ml.test_report import report_data

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
NAN = np.nan


@pytest.fixture(scope="module")
def section() -> FactorSection:
    return factor_section(factor_results())


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue()


def panels(figure: Figure) -> list[Axes]:
    """Axes but for those of colour bars, as they stand after the layout."""
    figure.draw_without_rendering()
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def test_the_span_names_market_bars_times_and_buckets(section: FactorSection) -> None:
    assert section.span == (
        "USDT-margined perpetual futures, 1m, 2026-02-01 to 2026-02-04 00:00 UTC, trailing buckets"
    )
    assert not section.in_sample
    assert factor_section(factor_results("static")).in_sample


def test_statistics_stand_in_the_order_of_the_model(section: FactorSection) -> None:
    titles = [row[0] for row in section.statistics.rows]
    factors = (*SORTED_FACTORS, *LONG_SHORT_FACTORS)
    assert titles == [factor_plots.title_of(factor) for factor in factors]
    assert section.statistics.rows[0][1:] == (
        *("4,320", "25.0%", "50.0%", "0.50", f"{MINUS}1.25", DASH),
    )
    assert section.statistics.rows[-1][-1] == "0.50"


def test_risk_stress_and_what_is_left_out_are_told_in_words(section: FactorSection) -> None:
    equal, index = section.portfolios
    assert equal.name == "all_coins, weights of 1m candles"
    assert equal.summary == (
        "Volatility 50.0% per year: 80.0% of the variance comes from the factors, 20.0% is "
        "specific to the holdings."
    )
    assert f"market {MINUS}20.0%" in equal.stress
    assert equal.stress.index(f"{MINUS}19.0%") < equal.stress.index(f"{MINUS}4.0%")
    assert equal.uncovered == ""
    assert index.uncovered == (
        "Without exposures and in none of these figures, 30.0% of the weight: "
        f"{HOSTILE} 20.0%, GONEUSDT 10.0%."
    )


def test_a_stress_that_is_unknown_is_not_told() -> None:
    results = factor_results()
    unknown = replace(results, risk=results.risk.assign(stress_return=np.nan))
    for portfolio in factor_section(unknown).portfolios:
        assert portfolio.stress.endswith(
            "when the other factors move along as they did on average."
        )


def test_every_figure_is_a_png_with_words(section: FactorSection) -> None:
    assert set(section.images) == {"growth", "correlations", "exposures", "r2"}
    for portfolio in section.portfolios:
        assert set(portfolio.images) == {"risk", "exposures"}
    every = [section.images, *(portfolio.images for portfolio in section.portfolios)]
    for image in (image for images in every for image in images.values()):
        assert base64.b64decode(image.png).startswith(b"\x89PNG")
        assert image.alt


def test_a_portfolio_without_any_exposures_has_words_and_no_figure() -> None:
    results = factor_results()
    nothing = {"annual_volatility": 0.0, "factor_variance": 0.0, "specific_variance": 0.0}
    bare = replace(results, risk=results.risk.assign(**nothing, stress=[{}] * 6))
    bare.contributions.drop(bare.contributions.index, inplace=True)
    for portfolio in factor_section(bare).portfolios:
        assert portfolio.summary == "No holding has exposures at that time."
        assert portfolio.images == {}
        assert portfolio.stress == ""


def test_a_model_without_exposures_has_its_factors_alone() -> None:
    results = factor_results()
    bare = replace(results, exposures=results.exposures[:0], risk=results.risk[:0])
    assert set(factor_section(bare).images) == {"growth", "correlations"}
    assert factor_section(bare).portfolios == ()


def test_the_page_has_the_section_with_names_escaped() -> None:
    html = render(replace(report_data(), factors=factor_results("static")))
    assert "Factor model" in html
    assert "the coins were sorted with the whole sample in view" in html
    assert HOSTILE not in html
    assert "&lt;b&gt;$\\frac$USDT" in html
    assert "Factor model" not in render(report_data())


def test_a_page_of_the_factor_model_alone_says_which_job_makes_the_rest() -> None:
    data, results = report_data(), factor_results()
    kept = ("listings", "files", "runs")
    frames: dict[str, Any] = {
        field.name: getattr(data, field.name).iloc[:0]
        for field in fields(data)
        if isinstance(getattr(data, field.name), pd.DataFrame) and field.name not in kept
    }
    without = {"gbt_figures": {}, "kmeans_figures": {}}
    alone = replace(data, **frames, **without, as_of=results.as_of, factors=results)
    html = render(alone)
    assert [line for line in html.splitlines() if line.startswith("<h2>")] == [
        *("<h2>Factor model</h2>", "<h2>Data quality</h2>", "<h2>Provenance</h2>"),
    ]
    assert html.count("candlelake run medallion") == 1
    assert "Index members" not in html
    assert {name: len(frame) for name, frame in exports(alone).items() if len(frame)} == {
        name: len(frame) for name, frame in factor_exports(results).items()
    }
    assert "The factor model alone" not in render(replace(data, factors=results))


def test_csv_files_have_every_row() -> None:
    results = factor_results()
    files = factor_exports(results)
    assert {name: len(frame) for name, frame in files.items()} == {
        "factor_statistics.csv": 13,
        "portfolio_risk.csv": 6,
        "risk_contributions.csv": 64,
    }
    assert "uncovered" not in files["portfolio_risk.csv"]


@pytest.mark.parametrize(
    ("span", "interval", "expected"),
    [
        ("5D", "1m", "30min"),
        ("1h", "1m", "1min"),
        ("1h", "1d", "1D"),
        ("365D", "1m", "1D"),
        ("2000D", "1m", "5D"),
        ("0D", "1m", "1min"),
        ("28h", "3m", "15min"),
        ("150D", "8h", "1D"),
    ],
)
def test_a_series_has_few_points_on_a_round_grid(
    span: str, interval: Interval, expected: str
) -> None:
    step = pd.Timedelta(spacing(pd.Timedelta(span), interval), "us")
    assert step == pd.Timedelta(expected)
    assert pd.Timedelta(span) / step <= MOST_TIMES


def test_growth_compounds_and_begins_at_nothing() -> None:
    results = factor_results()
    times = TIMES[:3].tz_localize(None).to_numpy()
    levels = {factor: np.array([0.0, 0.1, -0.05]) for factor in SORTED_FACTORS}
    figure = factor_plots.cumulative_returns(times, levels)
    axes = panels(figure)
    assert [each.get_title(loc="left") for each in axes] == [
        *("market", "liquidity", "volatility", "momentum"),
    ]
    assert [len(each.lines) for each in axes[1:]] == [4, 4, 4]
    assert np.asarray(axes[1].lines[1].get_ydata()).tolist() == [0.0, 0.1, -0.05]
    assert factor_section(results).images["growth"].png


def test_cumulative_returns_begin_together_and_a_factor_without_any_has_no_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[tuple[TimeArray, dict[str, FloatArray]]] = []
    plain = factor_plots.cumulative_returns

    def seen(times: TimeArray, growth: dict[str, FloatArray], subtitle: str) -> Figure:
        drawn.append((times, growth))
        return plain(times, growth, subtitle)

    monkeypatch.setattr(factor_plots, "cumulative_returns", seen)
    results = factor_results()
    section = factor_section(results)
    ((times, levels),) = drawn
    assert section.begin == "2026-02-01 01:30"
    assert times[0] == np.datetime64("2026-02-01T01:30")
    for factor in SORTED_FACTORS:
        if factor == "momentum_low":
            assert np.isnan(levels[factor]).all()
            continue
        whole = np.prod(np.exp(results.growth[factor])) - 1
        assert levels[factor][-1] == pytest.approx(whole)
        assert np.isfinite(levels[factor]).all()


def test_the_page_says_from_where_lines_count_and_what_few_coins_do_to_the_figures() -> None:
    html = " ".join(render(replace(report_data(), factors=factor_results())).split())
    assert "All lines count from 2026-02-01 01:30 UTC, the first bar by which each of them" in html
    assert "each of them is a large part of its own buckets: exposures and R&sup2; then" in html


def test_a_long_short_model_shows_what_coins_are_regressed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[tuple[list[str], FloatArray]] = []
    plain = factor_plots.factor_correlations

    def seen(factors: list[str], matrix: FloatArray, subtitle: str) -> Figure:
        drawn.append((factors, matrix))
        figure = plain(factors, matrix, subtitle)
        figure.draw_without_rendering()
        assert all(text.get_window_extent().x1 < figure.bbox.x1 for text in figure.texts)
        return figure

    monkeypatch.setattr(factor_plots, "factor_correlations", seen)
    results = factor_results(portfolios="long_short")
    section = factor_section(results)
    ((factors, matrix),) = drawn
    assert factors == [MARKET_RETURN, *LONG_SHORT_FACTORS]
    assert np.isfinite(matrix).all()
    assert set(section.images) == {"growth", "correlations", "exposures", "r2"}
    html = " ".join(render(replace(report_data(), factors=results)).split())
    assert (
        "regressed on the return of the market and on three spreads: of coins sorted into thirds "
        "by liquidity, volatility and momentum, the return of the high third less that of the low "
        "one, over the 1,440 bars that end with each bar." in html
    )
    assert "The buckets share the market" not in html
    buckets = " ".join(render(replace(report_data(), factors=factor_results())).split())
    assert (
        "regressed on the return of the market and of coins sorted into thirds by liquidity, "
        "volatility and momentum, over the 1,440 bars that end with each bar." in buckets
    )
    assert "The buckets share the market" in buckets


def test_growth_of_a_spread_is_a_line_beside_the_market() -> None:
    times = TIMES[:3].tz_localize(None).to_numpy()
    level = np.array([0.0, 0.1, -0.05])
    levels = dict.fromkeys((MARKET_RETURN, *LONG_SHORT_FACTORS), level)
    figure = factor_plots.cumulative_returns(times, levels)
    assert [len(each.lines) for each in panels(figure)[1:]] == [2, 2, 2]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["high minus low", "market"]


def test_correlations_keep_the_order_of_the_factors_and_tell_their_numbers() -> None:
    matrix = np.array([[1.0, 0.914, NAN], [0.914, 1.0, NAN], [NAN, NAN, NAN]])
    figure = factor_plots.factor_correlations(SORTED_FACTORS[:3], matrix)
    (axes,) = panels(figure)
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("market", "liquidity low", "liquidity medium"),
    ]
    assert [text.get_text() for text in axes.texts] == ["0.91", "0.91"]
    assert png(figure)


def test_each_coin_has_a_strip_over_the_same_times_and_colours() -> None:
    times = TIMES[:4].tz_localize(None).to_numpy()
    betas = {coin: np.full((4, 2), value) for coin, value in zip(COINS, (0.5, -3.0), strict=True)}
    betas["AUSDT"][1] = NAN
    figure = factor_plots.exposures_over_time(times, SORTED_FACTORS[:2], betas, "Exposures")
    strips = panels(figure)
    assert [axes.get_title(loc="left") for axes in strips] == list(COINS)
    images = [axes.images[0] for axes in strips]
    assert {image.get_clim() for image in images} == {(-3.0, 3.0)}
    shown = images[0].get_array()
    assert shown is not None
    np.testing.assert_array_equal(np.ma.filled(shown, NAN), [[0.5, NAN, 0.5, 0.5]] * 2)
    assert png(figure)


@pytest.mark.parametrize("least", [0.0, -0.13])
def test_colours_are_scaled_to_the_exposures_however_small(least: float) -> None:
    times = TIMES[:100].tz_localize(None).to_numpy()
    betas = np.linspace(least, 0.13, 100)[:, None]
    betas[7] = NAN
    (strip,) = panels(factor_plots.exposures_over_time(times, ["market_return"], {"A": betas}, ""))
    low, high = strip.images[0].get_clim()
    assert low == -high
    assert 0.12 < high <= 0.13
    none = factor_plots.exposures_over_time(times, ["market_return"], {"A": 0 * betas}, "")
    assert panels(none)[0].images[0].get_clim() == (-1.0, 1.0)


@pytest.mark.parametrize("freq", ["2h", "1D"])
def test_no_month_without_data_is_named_below_an_axis(freq: str) -> None:
    february = pd.date_range("2026-02-01", "2026-03-01", freq=freq, inclusive="left").to_numpy()
    ones = np.ones(february.size)
    figures = (
        factor_plots.cumulative_returns(february, dict.fromkeys(SORTED_FACTORS, ones)),
        factor_plots.explained_over_time(february, {"A": ones}),
        factor_plots.exposures_over_time(february, ["market_return"], {"A": ones[:, None]}, ""),
    )
    for figure in figures:
        axis = panels(figure)[-1].xaxis
        named = [label.get_text() for label in axis.get_ticklabels()]
        assert (named[0], len(named)) == ("Feb", 7)
        assert "Mar" not in named
        assert axis.get_offset_text().get_text() == "2026-Feb"


def test_exposures_of_a_portfolio_stand_at_the_day_that_they_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[tuple[str, list[str], int]] = []
    plain = factor_plots.exposures_over_time

    def seen(times: TimeArray, *given: Any) -> Figure:
        (betas,) = list(given[1].values())[:1]
        drawn.append((given[2], [str(day) for day in times.astype("datetime64[D]")], len(betas)))
        return plain(times, *given)

    monkeypatch.setattr(factor_plots, "exposures_over_time", seen)
    results = factor_results()
    # The last day is not over yet.
    now = AS_OF - pd.Timedelta(hours=5)
    factor_section(
        replace(
            results,
            as_of=now,
            risk=results.risk.replace({"as_of": {AS_OF: now}}),
            contributions=results.contributions.replace({"as_of": {AS_OF: now}}),
        )
    )
    of_portfolios = [each for each in drawn if each[0].startswith("all_coins")]
    days = ["2026-02-01", "2026-02-02", "2026-02-03"]
    assert of_portfolios == [("all_coins: exposures at the end of each day", days, 3)]


def test_one_time_alone_can_be_drawn() -> None:
    times = TIMES[:1].tz_localize(None).to_numpy()
    assert png(
        factor_plots.exposures_over_time(times, ["market_return"], {"A": np.ones((1, 1))}, "")
    )
    assert png(factor_plots.explained_over_time(times, {HOSTILE: np.array([0.5])}))


def test_bars_of_the_decomposition_sum_to_the_whole() -> None:
    factors = {MARKET_RETURN: 0.9, "liquidity_low": -0.1}
    holdings = {HOSTILE: (0.7, 0.15), "AUSDT": (0.1, 0.05)}
    figure = factor_plots.risk_decomposition(factors, 0.2, holdings, "mine")
    left, right = panels(figure)
    assert [label.get_text() for label in left.get_yticklabels()] == [
        *("market", "liquidity low", "specific"),
    ]
    assert sum(bar.get_width() for bar in left.patches) == pytest.approx(1.0)
    assert sum(bar.get_width() for bar in right.patches) == pytest.approx(1.0)
    assert [text.get_text() for text in left.texts] == ["90.0%", f"{MINUS}10.0%", "20.0%"]
    assert [text.get_text() for text in right.texts] == ["85.0%", "15.0%"]
    assert png(figure)


def test_small_holdings_are_drawn_as_one() -> None:
    holdings = {f"S{place}": (0.03, 0.01) for place in range(25)}
    figure = factor_plots.risk_decomposition({MARKET_RETURN: 0.75}, 0.25, holdings, "mine")
    _, right = panels(figure)
    names = [label.get_text() for label in right.get_yticklabels()]
    assert len(names) == factor_plots.MOST_HOLDINGS
    assert names[-1] == "6 others"
    assert sum(bar.get_width() for bar in right.patches) == pytest.approx(1.0)
