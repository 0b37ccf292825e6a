"""The command `candlelake risk` as far as it needs no Spark: what it refuses, what it prints."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from rich.table import Table

from gold.portfolio_risk import FactorModel, Holdings, portfolio_risk
from gold.risk_at import Measured, RiskHistory
from gold.risk_view import history_tables, risk_tables
from lakehouse import cli

CONF = Path(__file__).parents[2] / "conf" / "sample.yaml"
NAN = np.nan


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["risk", "--conf", str(CONF), *arguments])


def printed(measured: Measured, name: str = "mine") -> str:
    return text_of(risk_tables(measured, name))


def text_of(tables: Iterable[Table]) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    for table in tables:
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def measured(
    residual: tuple[float, ...] = (0.04, NAN), stressed: str = "market_return"
) -> Measured:
    """Two holdings, one of them without exposures; the third factor is not in use."""
    factors = ("market_return", "liquidity_low", "momentum_low")
    stress = {stressed: -0.2}
    holdings = Holdings(
        ("AUSDT", "[bold]USDT"),
        np.array([0.5, 0.25]),
        np.array([[1.2, -0.4, NAN], [NAN, NAN, NAN]]),
        np.array(residual),
    )
    moves = np.array([stress.get(factor, NAN) for factor in factors])
    model = FactorModel(factors, np.diag([0.25, 0.01, NAN]), moves, 1.0)
    at = datetime(2026, 2, 4, tzinfo=UTC)
    risk = portfolio_risk(holdings, model)
    return Measured("um", "1m", at, at, 1440, stress, risk)


def row(text: str, first: str) -> list[str]:
    """Cells of the line that begins with a text."""
    (line,) = (line for line in text.splitlines() if line[2:].startswith(first))
    return [cell.strip() for cell in line.strip("│┃").split("│")]


def test_the_command_stands_among_the_others() -> None:
    assert "risk" in cli.main.list_commands(None)  # type: ignore[arg-type]
    shown = CliRunner().invoke(cli.main, ["risk", "--help"])
    assert shown.exit_code == 0
    for option in ("--index", "--csv", "--date", "--from", "--to", "--conf", "--set"):
        assert option in shown.output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("symbol,weight\nBTCUSDT,much\n", "line 2: the weight of BTCUSDT is no number: 'much'"),
        ("symbol,weight\nA,1\nA,2\n", "line 3: A stands twice"),
        ("coin,weight\nA,1\n", "no column symbol"),
    ],
)
def test_a_bad_file_is_one_line_before_anything_starts(
    tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(content)
    result = call("--csv", str(path))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert words in line
    assert str(path) in line


def test_two_portfolios_at_once_are_wrong_usage(tmp_path: Path) -> None:
    result = call("--csv", str(tmp_path / "mine.csv"), "--index", "smart_monthly")
    assert result.exit_code == 2
    assert "--index and --csv" in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--date", "2026-02-03", "--from", "2026-02-01"), "--from and --to are many"),
        (("--date", "2026-02-03", "--to", "2026-02-04"), "--from and --to are many"),
        (("--from", "2026-02-02", "--to", "2026-02-01"), "--from is after --to"),
    ],
)
def test_days_that_contradict_each_other_are_wrong_usage(
    options: tuple[str, ...], words: str
) -> None:
    result = call(*options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_warehouse_without_tables_is_named(tmp_path: Path) -> None:
    result = call("--set", f"warehouse={tmp_path}/lake")
    assert result.exit_code == 1
    assert "no tables in" in result.stderr


def test_exposures_decomposition_and_stress_are_printed() -> None:
    text = printed(measured())
    # Exposures 0.6 and -0.2: variance 0.25 x 0.36 + 0.01 x 0.04, and 0.25 x 0.04 specific.
    assert "Risk of mine" in text
    assert row(text, "exposures as of")[1] == "2026-02-04 00:00 UTC"
    assert row(text, "volatility per year")[1] == f"{np.sqrt(0.0904 + 0.01):.1%}"
    assert row(text, "variance by factors")[1] == "90.0%"
    assert row(text, "specific variance")[1] == "10.0%"
    assert row(text, "return if market_return -20.0%")[1] == "-12.0%"
    assert row(text, "market_return ")[1:] == ["+0.600", "89.6%"]
    assert row(text, "liquidity_low")[1:] == ["-0.200", "0.4%"]
    assert row(text, "AUSDT")[1:] == ["50.0%", "90.0%", "10.0%", "100.0%"]


def test_what_has_no_exposures_is_named_with_its_weight() -> None:
    text = printed(measured())
    assert row(text, "weight with exposures")[1] == "50.0%, 1 of 2 holdings"
    assert row(text, "[bold]USDT")[1] == "25.0%"


def test_a_portfolio_without_any_exposures_says_so() -> None:
    text = printed(measured((NAN, NAN)), "[mine]")
    assert "Risk of [mine]" in text
    assert "no holding has exposures at this time" in text
    assert "Factors" not in text
    assert row(text, "AUSDT")[1] == "50.0%"


def test_a_stress_of_a_factor_that_is_not_in_use_is_unknown() -> None:
    text = printed(measured(stressed="momentum_low"))
    assert row(text, "return if momentum_low -20.0%")[1] == "unknown"
    assert row(text, "the same, the other factors moving along")[1] == "unknown"
    assert row(text, "not among the model's factors")[1] == "momentum_low"
    assert "not among" not in printed(measured())


def test_without_a_scenario_there_is_no_stress() -> None:
    assert "return if" not in printed(replace(measured(), stress={}))


def history() -> RiskHistory:
    """A day of two factors, not in their order, and one without exposures."""
    known = {
        "as_of": datetime(2026, 2, 3, tzinfo=UTC),
        "covered_weight": 0.5,
        "annual_volatility": 0.5,
        "factor_variance": 0.2,
        "specific_variance": 0.05,
        "stress_return": None,
        "conditional_stress_return": -0.19,
        "uncovered": [("[b]USDT", 0.5)],
    }
    figures = ("annual_volatility", "factor_variance", "specific_variance")
    bare = {**known, **dict.fromkeys((*figures, "conditional_stress_return"))}
    of_factors = [
        {"as_of": known["as_of"], "name": name, "exposure": exposure, "factor_variance": variance}
        for name, exposure, variance in (("liquidity_low", -0.2, -0.05), ("market_return", 1, 0.25))
    ]
    without = [("AUSDT", 0.5), ("[b]USDT", 0.5)]
    at = datetime(2026, 2, 4, tzinfo=UTC)
    later = {**bare, "as_of": at, "covered_weight": 0.0, "uncovered": without}
    return RiskHistory({"market_return": -0.2}, (known, later), tuple(of_factors))


def test_a_series_has_a_line_for_each_day_and_for_each_factor_and_day() -> None:
    text = text_of(history_tables(history(), "[mine]"))
    assert "Risk of [mine]" in text
    first = ["2026-02-03 00:00", "50.0%", "80.0%", "20.0%", "50.0%", "unknown", "-19.0%"]
    assert row(text, "2026-02-03") == first
    assert row(text, "2026-02-04") == [
        *("2026-02-04 00:00", "unknown", "-", "-", "0.0%", "unknown", "unknown"),
    ]
    assert row(text, "market_return")[1:] == ["2026-02-03 00:00", "+1.000", "100.0%"]
    assert row(text, "liquidity_low")[1:] == ["2026-02-03 00:00", "-0.200", "-20.0%"]
    assert text.index("│ market_return") < text.index("│ liquidity_low")
    assert row(text, "AUSDT")[1] == "1 of 2"
    assert row(text, "[b]USDT")[1] == "2 of 2"


def test_a_series_without_exposures_or_scenario_has_its_days_alone() -> None:
    days = tuple({**row, "uncovered": []} for row in history().risk)
    text = text_of(history_tables(RiskHistory({}, days, ()), "mine"))
    assert "Without exposures" not in text
    assert "Factors" not in text
    assert "return if" not in text
    assert len(row(text, "2026-02-03")) == 5
