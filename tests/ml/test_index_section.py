from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.images import Image
from ml.index_results import IndexResult, membership_changes, stopped_members
from ml.index_section import index_section, rebalances, rules, standing
from tests.ml.made_up_index import (
    BAR,
    CHANGES,
    DATES,
    HOSTILE,
    NAME,
    RULES,
    STOPPED_AT,
    index_result,
)

RANDOM = ("random_share_below", "random_p05_total_return", "random_p95_total_return")
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.index_section.image", lambda _, alt: Image("", alt))


def with_statistics(**values: float) -> IndexResult:
    """The index with other values; those of equal weight are named with `equal_`."""
    result = index_result()
    table = result.statistics
    for name, value in values.items():
        of = "equal_weight" if name.startswith("equal_") else NAME
        statistic = name.removeprefix("equal_")
        table.loc[(table["index_name"] == of) & (table["statistic"] == statistic), "value"] = value
    return result


def test_who_came_in_and_who_went_out_and_why() -> None:
    found = membership_changes(index_result())
    assert list(found["decision"]) == ["selected"] * 4 + ["dropped", "ineligible"]
    rows = found[["as_of", "change", "symbol", "weight", "rule", "detail"]]
    assert [
        tuple(None if pd.isna(cell) else cell for cell in row) for row in rows.values.tolist()
    ] == CHANGES


@given(st.lists(st.sets(st.sampled_from("ABCDE")), min_size=1, max_size=6))
@settings(deadline=None, max_examples=50)
def test_changes_lead_from_nobody_to_the_members_of_each_date(members: list[set[str]]) -> None:
    dates = pd.date_range("2025-01-01", periods=len(members), freq="MS", tz="UTC")
    held = [(date, s) for date, each in zip(dates, members, strict=True) for s in sorted(each)]
    listed = [(date, s) for date in dates for s in "ABCDE"]
    result = replace(
        index_result(),
        weights=pd.DataFrame(held, columns=["as_of", "symbol"]).assign(weight=0.1, rank=1),
        decisions=pd.DataFrame(listed, columns=["as_of", "symbol"]).assign(
            decision="", rule="", detail=""
        ),
    )
    found = membership_changes(result)
    now: set[str] = set()
    for date, expected in zip(dates, members, strict=True):
        mine = found[found["as_of"] == date]
        came, went = (set(mine[mine["change"] == way]["symbol"]) for way in ("in", "out"))
        assert not came & now
        assert went <= now
        now = (now | came) - went
        assert now == expected
    assert len(rebalances(result)) == len(dates)


def test_members_that_stopped_trading_are_named() -> None:
    assert stopped_members(index_result()).values.tolist() == [[STOPPED_AT, "GONEUSDT"]]


def test_rebalances_newest_first_with_what_they_cost() -> None:
    found = rebalances(index_result())
    # January's costs include those of the member that had stopped trading.
    assert [each.title for each in found] == [
        "2025-03-01 00:00: 0 in, 0 out, 2 members; not in effect yet",
        "2025-02-01 00:00: 1 in, 2 out, 2 members; turnover 40.0%, costs 0.040%",
        "2025-01-01 00:00: 3 in, 0 out, 3 members; turnover 120.0%, costs 0.120%",
    ]
    assert found[1].changes.rows == (
        ("in", "NEWUSDT", "40.0%", "rank 2"),
        ("out", HOSTILE, DASH, "rho 0.910 with AUSDT > 0.85; Sharpe 0.1 < 0.2"),
        ("out", "GONEUSDT", DASH, "last bar 2025-01-18 08:00"),
    )
    assert found[0].changes.rows == ()


def test_standing_is_told_for_each_benchmark_and_luck() -> None:
    assert standing(index_result()) == (
        f"It lost to equal weight of the eligible universe: {MINUS}10.0% against {MINUS}5.0%.",
        f"It earned as much as buy-and-hold BTC: {MINUS}10.0% against {MINUS}10.0%.",
        "It ended above 432 of 500 random portfolios of 20 eligible names, equally weighted: "
        f"inside the band in which 90% of them ended ({MINUS}30.0% to 5.0%). Its names and weights "
        "together cannot be told from luck.",
    )


# Two standard errors of a 95 % quantile: 1.9 % of 500 draws, 0.4 % of 10,000, 9.7 % of 20.
@pytest.mark.parametrize(
    ("below", "drawn", "words"),
    [
        (0.02, 500, "below the band"),
        (0.04, 500, "at the edge of the band"),
        (0.08, 500, "inside the band"),
        (0.92, 500, "inside the band"),
        (0.94, 500, "at the edge of the band"),
        (0.96, 500, "at the edge of the band"),
        (0.998, 500, "above the band"),
        (0.94, 10_000, "inside the band"),
        (0.96, 10_000, "above the band"),
        (1.0, 20, "at the edge of the band"),
    ],
)
def test_luck_is_judged_no_finer_than_the_draws_allow(below: float, drawn: int, words: str) -> None:
    result = with_statistics(random_share_below=below)
    said = standing(replace(result, rules={**RULES, "random_portfolios": drawn}))[-1]
    assert words in said
    assert f"above {round(below * drawn):,} of {drawn:,} random" in said
    meaning = {"below": "did harm", "at": "by so few", "inside": "cannot", "above": "did better"}
    assert f"Its names and weights together {meaning[words.split()[0]]}" in said.replace(
        "cannot be told from luck by so few", "by so few"
    )


def test_equally_weighted_names_differ_from_random_ones_in_the_choice_alone() -> None:
    said = standing(replace(index_result(), rules={**RULES, "weighting": "equal"}))[-1]
    assert said.endswith("Its names cannot be told from luck.")


@pytest.mark.parametrize("below", [float("nan"), 1.0])
def test_of_random_portfolios_that_are_all_the_same_no_luck_is_read(below: float) -> None:
    edges = {"random_p05_total_return": -0.2, "random_p95_total_return": -0.2}
    said = standing(with_statistics(random_share_below=below, **edges))
    assert said[-1].startswith("Of luck nothing can be said")


def test_a_gain_on_equal_weight_is_told_and_no_luck_without_random_portfolios() -> None:
    nothing = {name: float("nan") for name in RANDOM}
    found = standing(with_statistics(equal_total_return=-0.2, **nothing))
    assert len(found) == 2
    assert found[0].startswith("It did better than equal weight")


def test_rules_are_told_in_a_sentence() -> None:
    assert rules({**RULES, "execution": "close", "cost_bps": 2.5}) == (
        "Determined monthly from the 90 days before: at most 20 members by Sharpe ratio, of "
        "eligible symbols with correlations within ±0.85, weighted by inverse volatility; traded "
        "at the close it was determined at, at 2.5 basis points of one-way turnover."
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "weighted by inverse volatility; traded at the next bar's open, at 10"),
        ({"delay_bars": 6}, "traded at the open 6 bars after the determination, at"),
        ({"delay_bars": 1, "execution": "close"}, "at the close 1 bar after the determination,"),
        ({"cap": 0.1}, "weighted by inverse volatility within 0.0% and 10.0%; traded"),
        ({"floor": 0.02, "cap": 0.1}, "within 2.0% and 10.0%; traded"),
        ({"rank_buffer": 10}, "at most 20 members by Sharpe ratio (who stay down to rank 30), of"),
    ],
)
def test_every_rule_that_is_on_is_told(changed: dict[str, object], words: str) -> None:
    assert words in rules({**RULES, **changed})


def test_a_determination_takes_effect_after_its_delay() -> None:
    result, day = index_result(), pd.Timedelta(days=1)
    # Sold between a determination and its effect: by what the one before had bought.
    sold = result.trades["open_time"].replace(STOPPED_AT, DATES[1] - 3 * BAR)
    late = replace(
        result,
        rules={**RULES, "delay_bars": 6},
        trades=result.trades.assign(open_time=sold),
        weights=result.weights.assign(as_of=result.weights["as_of"] - day),
        decisions=result.decisions.assign(as_of=result.decisions["as_of"] - day),
    )
    assert [each.title.partition("members; ")[2] for each in rebalances(late)] == [
        "not in effect yet",
        "turnover 40.0%, costs 0.040%",
        "turnover 120.0%, costs 0.120%",
    ]


@pytest.mark.usefixtures("undrawn")
def test_statistics_stand_beside_those_of_the_benchmarks() -> None:
    section = index_section(index_result(), "Spot")
    assert [column.title for column in section.statistics.columns] == [
        *("After costs", NAME, "equal_weight", "buy_and_hold_btc"),
    ]
    assert section.statistics.rows == (
        ("Total return", f"{MINUS}10.0%", f"{MINUS}5.0%", f"{MINUS}10.0%"),
        ("Sharpe", f"{MINUS}0.40", DASH, DASH),
        ("  from (UTC)", "2025-01-01 00:00", DASH, DASH),
        ("  recovered (UTC)", DASH, DASH, DASH),
    )
    assert section.against.rows == (
        ("equal_weight", "0.80", DASH, DASH, DASH),
        ("buy_and_hold_btc", DASH, DASH, DASH, DASH),
    )
    assert section.stopped.rows == (("2025-01-20 08:00", "GONEUSDT"),)
    assert section.span == "2025-01-01 to 2025-03-01 UTC"


def test_an_index_in_cash_has_its_dates_all_the_same() -> None:
    result = index_result()
    in_cash = replace(result, weights=result.weights.iloc[:0])
    assert membership_changes(in_cash).empty
    assert [each.title[:34] for each in rebalances(in_cash)] == [
        f"{date:%Y-%m-%d %H:%M}: 0 in, 0 out, 0 m" for date in reversed(DATES)
    ]
