import base64
import os
import struct
from dataclasses import fields, replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from lakehouse.errors import TableError
from lakehouse.settings import load_settings
from lakehouse.tables import Lake
from ml import plots
from ml.frames import correlation_matrix
from ml.images import Image
from ml.index_results import IndexResult
from ml.leaders_portfolio import LEADERS
from ml.leaders_section import stability, tiny_clusters
from ml.report import exports, write_report
from ml.report_data import (
    ReportData,
    load_report_data,
    runs_of,
    threshold,
    with_runs_of_indices,
)
from ml.report_page import render, skill
from ml.report_tables import report_tables
from tests.ml.made_up_index import HOSTILE as HOSTILE_MEMBER
from tests.ml.made_up_index import index_result, level_rows

AS_OF = pd.Timestamp("2026-01-01", tz="UTC")
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
HOSTILE = '<b>"BOLD"&USDT'
CONF = Path(__file__).parents[2] / "conf" / "sample.yaml"
VOID = {"meta", "img", "br", "hr", "link", "input"}


def runs() -> pd.DataFrame:
    tasks = ["ingest_archive", "clean_candles", "asset_metrics", "correlations", "smart_index"]
    rows = [
        {
            "run_id": "20260102T030405Z-1a2b3c4d",
            "task": task,
            "status": "succeeded",
            "started_at": AS_OF + timedelta(days=1, minutes=minute),
            "ended_at": AS_OF + timedelta(days=1, minutes=minute + 1),
            "figures": {},
            "read_versions": {"silver.candles": 3, "gold.asset_metrics": 2},
            "written_versions": {"gold.asset_metrics": 5},
            "settings_digest": "9f8e7d6c5b4a39281706" * 3,
            "settings": "{}",
            "code_version": "0.1.0+3f2a9c01b2d4",
            "mlflow_run_id": "5c0ffee" if task == "gbt" else None,
        }
        for minute, task in enumerate([*tasks, "pca", "kmeans", "gbt"])
    ]
    return pd.DataFrame(rows)


def report_data() -> ReportData:
    """A few symbols as the tables would hold them, with a NULL wherever one is allowed."""
    symbols = [HOSTILE, "BTCUSDT", "ETHUSDT", "FLATUSDT"]
    metrics = pd.DataFrame(
        {
            "symbol": symbols,
            "bars": [2742, 2742, 300, 20],
            "annual_return": [0.255, -1.0571, 10.5, np.nan],
            "annual_volatility": [0.455, 0.715, 4.25, np.nan],
            "sharpe": [0.56044, -1.4784, 2.470588, np.nan],
            "max_drawdown": [-0.321, -0.6, -0.9, np.nan],
            "median_daily_quote_volume": [1.6e10, 1.2e10, 5e6, np.nan],
        }
    )
    return ReportData(
        market="um",
        interval="4h",
        as_of=AS_OF,
        threshold=0.85,
        listings=pd.DataFrame(
            {
                "symbol": symbols,
                "first_open_time": pd.Timestamp("2024-10-01", tz="UTC"),
                "last_open_time": AS_OF - timedelta(hours=4),
                "bars": [2742, 2742, 300, 20],
                "filled_bars": [0, 1, 2, 3],
                "status": ["trading", "trading", "trading", "ended"],
            }
        ),
        metrics=metrics,
        correlations=pd.DataFrame(
            {
                "symbol_a": [HOSTILE, HOSTILE, HOSTILE, "BTCUSDT", "BTCUSDT", "ETHUSDT"],
                "symbol_b": ["BTCUSDT", "ETHUSDT", "FLATUSDT", "ETHUSDT", "FLATUSDT", "FLATUSDT"],
                "rho": [0.91, 0.3, np.nan, -0.2, np.nan, np.nan],
            }
        ),
        weights=pd.DataFrame(
            {
                "symbol": ["ETHUSDT", HOSTILE],
                "rank": [1, 2],
                "weight": [0.1, 0.9],
                "sharpe": [2.470588, 0.56044],
                "annual_volatility": [4.25, 0.455],
                "as_of": AS_OF,
            }
        ),
        decisions=pd.DataFrame(
            {
                "symbol": symbols,
                "decision": ["selected", "dropped", "selected", "ineligible"],
                "rule": ["rank", "correlation", "rank", "history"],
                "detail": ["rank 2", f"rho 0.910 with {HOSTILE}", "rank 1", "19 returns"],
            }
        ),
        indices=(),
        torn=(),
        pca_components=pd.DataFrame(
            {
                "component": [1, 2],
                "explained_variance": [0.7, 0.2],
                "cumulative_variance": [0.7, 0.9],
            }
        ),
        clusters=pd.DataFrame(
            {
                "symbol": [HOSTILE, "BTCUSDT", "ETHUSDT"],
                "cluster": [0, 0, 1],
                "is_leader": [True, False, True],
                "annual_return": [0.255, -1.0571, 10.5],
                "annual_volatility": [0.455, 0.715, 4.25],
                "sharpe": [0.56044, -1.4784, 2.470588],
            }
        ),
        pca_windows=pd.DataFrame(
            {
                "as_of": [AS_OF - timedelta(days=31)] * 2 + [AS_OF] * 2,
                "lookback_days": 90,
                "symbols": 3,
                "component": [1, 2, 1, 2],
                "explained_variance": [0.5, 0.3, 0.6, 0.25],
                "standardised_variance": [0.4, 0.2, 0.7, 0.1],
            }
        ),
        leaders=None,
        kmeans_figures={"resampled_agreement": "0.85", "monthly_agreement": "0.21"},
        importances=pd.DataFrame(
            {
                "feature": ["volatility_7", "ret_lag1"],
                "importance": [0.75, 0.25],
                "permutation_importance": [0.0021, -0.0004],
            }
        ),
        gbt_figures={
            "rmse": "0.0211",
            "oos_r2": "-0.0034",
            "rank_ic": "0.012",
            "random_split_oos_r2": "0.0151",
            "ridge_oos_r2": "-0.0012",
            "model": "models:/gbt@champion",
        },
        forecasts=pd.DataFrame(
            {
                "symbol": [HOSTILE, "BTCUSDT"],
                "open_time": AS_OF - timedelta(hours=4),
                "prediction": [0.00123, -0.0004],
                "model_version": [3, 3],
            }
        ),
        files=pd.DataFrame(
            {
                "status": ["corrupt_zip", "ingested"],
                "files": [1, 41],
                "rows": [0, 5804],
                "rejected_lines": [0, 3],
            }
        ),
        rejected_lines=pd.DataFrame({"reason": ["11 columns, not 12"], "lines": [3]}),
        rejected_candles=pd.DataFrame(
            {"broken": ["duplicate", "close_time, high_low"], "candles": [12, 2]}
        ),
        runs=runs(),
    )


class Page(HTMLParser):
    """Text by section, the tags in use, and everything that refers to something else."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.sections: dict[str, str] = {}
        self._open: list[str] = []
        self._heading = ""
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "h2":
            self._heading = ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in ("td", "th", "dt", "dd"):
            self.sections[self._heading] = self.sections.get(self._heading, "") + " "

    def handle_data(self, data: str) -> None:
        if "h2" in self._open and not self._heading:
            self._heading = data.strip()
        if "style" not in self._open:
            self.sections[self._heading] = self.sections.get(self._heading, "") + data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.sections.values()).split())


@pytest.fixture(scope="module")
def html() -> str:
    return render(report_data())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without the time that it takes to draw: what is tested is around the pictures."""
    for module in ("ml.report_page", "ml.index_section", "ml.leaders_section"):
        monkeypatch.setattr(f"{module}.image", lambda _, alt: Image("", alt))


def empty(data: ReportData, *names: str) -> ReportData:
    return replace(data, **{name: getattr(data, name).iloc[:0] for name in names})


def test_page_needs_nothing_from_elsewhere(html: str, page: Page) -> None:
    assert html.startswith("<!DOCTYPE html>")
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in html
    assert "@import" not in html
    assert page.references
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)


def test_every_picture_is_a_png_with_words(html: str, page: Page) -> None:
    assert len(page.references) == 8
    assert html.count('alt="') == 8
    for reference in page.references:
        content = base64.b64decode(reference.removeprefix("data:image/png;base64,"))
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", content[16:24])
        assert min(width, height) > 300


def test_names_are_escaped(html: str, page: Page) -> None:
    assert "b" not in page.tags
    assert HOSTILE not in html
    assert page.text.count(HOSTILE) >= 5


@pytest.mark.parametrize(
    "section",
    ["Smart index", "Correlations", "Clusters of risk and return", "Principal components"],
)
def test_sections_over_all_history_say_in_sample(page: Page, section: str) -> None:
    assert "in-sample" in page.sections[section].partition("\n")[0]


def test_importances_say_in_sample_and_the_random_split_optimistic(page: Page) -> None:
    forecast = page.sections["Forecast of the next bar"]
    assert "In-sample" in forecast
    assert "optimistic" in forecast


def test_index_names_the_survivorship_of_its_data(page: Page) -> None:
    section = " ".join(page.sections["Smart index"].split())
    assert "1 of 4 symbols stopped trading within the data." in section
    assert (
        "If the archive holds only symbols that still trade, results carry survivorship bias."
        in section
    )


def test_headline_figures(page: Page) -> None:
    head = " ".join(page.sections[""].split())
    assert "USDT-margined perpetual futures, 4h candles" in head
    assert "2024-10-01 to 2026-01-01 UTC" in head
    assert "as of 2026-01-01 00:00 UTC" in head
    for tile in (
        "Symbols 4 4 with metrics",
        "Candles 5,804 and 6 filled",
        "Source files 42 1 refused",
        "Rejected 17 3 lines, 14 candles",
        "Index members 2",
    ):
        assert tile in head


def test_index_tables_say_who_was_chosen_and_who_was_dropped_for_whom() -> None:
    tables = report_tables(report_data())
    assert tables["members"].rows == (
        ("1", "ETHUSDT", "10.0%", "1,050.0%", "425.0%", "2.47", f"{MINUS}90.0%", "300"),
        ("2", HOSTILE, "90.0%", "25.5%", "45.5%", "0.56", f"{MINUS}32.1%", "2,742"),
    )
    assert tables["dropped"].rows == (("BTCUSDT", f"{MINUS}1.48", f"rho 0.910 with {HOSTILE}"),)
    assert [row[0] for row in tables["symbols"].rows] == ["ETHUSDT", HOSTILE, "BTCUSDT", "FLATUSDT"]
    assert tables["symbols"].rows[-1] == (
        *("FLATUSDT", DASH, DASH, DASH, DASH, "20", DASH, "ineligible", "19 returns"),
    )


def test_effective_number_of_members(page: Page) -> None:
    # 1 / (0.1² + 0.9²) = 1.2195
    assert "as concentrated as 1.2 equal ones" in " ".join(page.sections["Smart index"].split())


def test_cluster_tables_give_means_and_equal_weights() -> None:
    tables = report_tables(report_data())
    assert tables["clusters"].rows == (
        ("0", "2", f"{MINUS}40.1%", "58.5%", f"{MINUS}0.46"),
        ("1", "1", "1,050.0%", "425.0%", "2.47"),
    )
    assert [row[:3] for row in tables["leaders"].rows] == [
        ("0", HOSTILE, "50.0%"),
        ("1", "ETHUSDT", "50.0%"),
    ]


def test_the_page_says_how_long_clusters_last_and_which_leaders_to_take_with_care(
    page: Page,
) -> None:
    section = " ".join(page.sections["Clusters of risk and return"].split())
    assert "resampled symbols agree with these by 0.85" in section
    assert "by 0.21: a symbol's cluster says next to nothing of its cluster a month on" in section
    assert "Clusters of fewer than 5 symbols: 0 (2), 1 (1). Take their leaders with care" in section
    many = pd.DataFrame({"cluster": [0] * 5 + [1] * 4})
    assert "symbols: 1 (4)." in tiny_clusters(many)
    assert tiny_clusters(many[:5]) == ""
    assert stability({}) == ()
    assert "mostly stays" in stability({"monthly_agreement": "0.7"})[0]


def leaders() -> IndexResult:
    """A made-up index under the leaders' name, with a reason for each member."""
    made = index_result()
    named = {
        name: getattr(made, name).replace({"index_name": {made.name: LEADERS}})
        for name in ("levels", "statistics", "weights")
    }
    named["weights"] = named["weights"].assign(detail="leads the 3 of cluster 0, Sharpe 1.00")
    return replace(made, name=LEADERS, **named)


def test_the_leaders_stand_beside_their_benchmarks_and_are_walked_forward() -> None:
    page = Page(render(replace(report_data(), leaders=leaders())))
    section = " ".join(page.sections["Clusters of risk and return"].split())
    assert "Leaders of each month's clusters walk-forward, after costs" in section
    assert "It lost to equal weight of the eligible universe" in section
    assert "cannot be told from luck" in section
    assert "2025-01-01 AUSDT 50.0% leads the 3 of cluster 0" in section
    assert section.index("2025-03-01 AUSDT") < section.index("2025-01-01 AUSDT")
    assert "After costs cluster_leaders equal_weight buy_and_hold_btc" in section
    assert len(page.references) == 9


def test_small_losses_are_no_negative_zero() -> None:
    data = report_data()
    data.weights["sharpe"] = [-0.001, -0.006]
    data.metrics["annual_return"] = -0.0002
    members = report_tables(data)["members"].rows
    assert [row[5] for row in members] == ["0.00", f"{MINUS}0.01"]
    assert [row[3] for row in members] == ["0.0%", "0.0%"]


def test_walk_forward_stands_beside_the_ridge_and_the_random_split() -> None:
    table = report_tables(report_data())["gbt"]
    assert table.rows == (
        ("Root mean squared error", "0.0211", DASH, DASH),
        ("R² against the zero forecast", f"{MINUS}0.0034", f"{MINUS}0.0012", "0.0151"),
        ("Rank information coefficient", "0.012", DASH, DASH),
    )


def test_the_newest_forecasts_name_their_bar_and_their_model(page: Page) -> None:
    section = page.sections["Forecast of the next bar"]
    assert (
        "The newest forecasts: 2 symbols, the bar after that of 2025-12-31 20:00 UTC, by version 3 "
        "of the model"
    ) in section
    assert report_tables(report_data())["forecasts"].rows == (
        (HOSTILE, "0.123"),
        ("BTCUSDT", f"{MINUS}0.04"),
    )


def test_provenance_names_versions_code_and_settings(page: Page) -> None:
    provenance = page.sections["Provenance"]
    for text in (
        "20260102T030405Z-1a2b3c4d",
        "gold.asset_metrics v2\nsilver.candles v3",
        "gold.asset_metrics v5",
        "0.1.0+3f2a9c01b2d4",
        "9f8e7d6c5b4a",
        "5c0ffee",
    ):
        assert text in provenance


def test_numbers_stand_flush_right(html: str) -> None:
    assert '<td class="n">1,050.0%</td>' in html
    assert "<td>ETHUSDT</td>" in html
    assert ".n { text-align: right;" in html


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, ""),
        ({"rank_ic": "0.3"}, ""),
        ({"oos_r2": "not a number"}, ""),
        ({"oos_r2": "-0.01", "rank_ic": "0.3"}, "No skill: the forecasts are no better"),
        ({"oos_r2": "0"}, "No skill: the forecasts are no better"),
        ({"oos_r2": "0.001", "rank_ic": "-0.019"}, "No skill to speak of"),
        ({"oos_r2": "0.001", "rank_ic": "0.02"}, "Better than a forecast of zero"),
        ({"oos_r2": "0.001"}, "Better than a forecast of zero"),
    ],
)
def test_skill_is_put_into_words(figures: dict[str, str], words: str) -> None:
    assert skill(figures).startswith(words)
    assert bool(skill(figures)) == bool(words)


def test_page_says_that_there_is_no_skill(page: Page) -> None:
    assert "No skill" in page.sections["Forecast of the next bar"]


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("weights", "No index in this warehouse"),
        ("correlations", "No correlations in this warehouse"),
        ("clusters", "No clusters in this warehouse"),
        ("pca_components", "No principal components in this warehouse"),
        ("files", "No record of source files in this warehouse"),
        ("runs", "No run is recorded"),
        ("rejected_lines", "None."),
        ("rejected_candles", "None."),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_an_empty_section_says_so(page: Page, missing: str, words: str) -> None:
    assert words not in page.text
    assert words in Page(render(empty(report_data(), missing))).text


@pytest.mark.usefixtures("undrawn")
def test_a_page_of_metrics_alone() -> None:
    data = report_data()
    frames = {
        field.name: pd.DataFrame(columns=getattr(data, field.name).columns)
        for field in fields(data)
        if isinstance(getattr(data, field.name), pd.DataFrame) and field.name != "metrics"
    }
    page = Page(render(replace(data, gbt_figures={}, **cast("dict[str, Any]", frames))))
    assert "No forecasts in this warehouse: run candlelake run medallion." in page.text
    assert page.references == []
    assert page.text.count("in this warehouse") == 6
    assert "BTCUSDT" in page.sections["Smart index"]


@pytest.mark.usefixtures("undrawn")
def test_a_figure_of_another_run_names_that_run_and_no_span(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spans: dict[str, str] = {}
    for name in ("scree", "importances", "permutation_importances"):
        drawn = getattr(plots, name)
        monkeypatch.setattr(
            plots,
            name,
            lambda *given, name=name, drawn=drawn: spans.update({name: given[-1]}) or drawn(*given),
        )
    data = report_data()
    data.runs.loc[data.runs["task"] == "pca", "run_id"] = "older"
    render(data)
    assert spans == {
        "scree": "USDT-margined perpetual futures, 4h, run older, in-sample",
        "importances": (
            "USDT-margined perpetual futures, 4h, 2024-10-01 to 2026-01-01 UTC, in-sample"
        ),
        "permutation_importances": (
            "USDT-margined perpetual futures, 4h, 2024-10-01 to 2026-01-01 UTC, walk-forward"
        ),
    }


def test_correlation_matrix_is_symmetric_with_null_as_nan() -> None:
    symbols, matrix = correlation_matrix(report_data().correlations)
    assert symbols == sorted([HOSTILE, "BTCUSDT", "ETHUSDT", "FLATUSDT"])
    nan = np.nan
    np.testing.assert_array_equal(
        matrix,
        [[1, 0.91, 0.3, nan], [0.91, 1, -0.2, nan], [0.3, -0.2, 1, nan], [nan, nan, nan, 1]],
    )


def assert_same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal to the last bit."""
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.usefixtures("undrawn")
def test_csv_files_give_every_number_back(tmp_path: Path) -> None:
    data = report_data()
    data.clusters["sharpe"] = [1 / 3, -2e-17 / 7, 0.1 + 0.2]
    data.weights["weight"] = [0.1 + 0.2, 1 - (0.1 + 0.2)]
    data.importances["importance"] = [2 / 3, 1 / 3]
    write_report(tmp_path, data)
    read = {
        path.name: pd.read_csv(path, float_precision="round_trip")
        for path in tmp_path.glob("*.csv")
    }
    assert set(read) == set(exports(data))
    index = read["smart_index.csv"]
    assert index["as_of"].tolist() == ["2026-01-01T00:00:00Z"] * 2
    # In-sample weights must not be taken for those of an index that could have been followed.
    assert index["index_name"].tolist() == ["smart_static"] * 2
    assert index["evaluation"].tolist() == ["in_sample"] * 2
    figures = ["symbol", "rank", "weight", "sharpe", "annual_volatility"]
    assert_same(index[figures], data.weights[figures])
    clusters = read["kmeans_clusters.csv"]
    assert_same(clusters, data.clusters[list(clusters)])
    assert_same(read["pca_components.csv"], data.pca_components)
    windows = read["pca_windows.csv"]
    assert windows["as_of"].tolist()[1:3] == ["2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z"]
    assert_same(windows.drop(columns="as_of"), data.pca_windows.drop(columns="as_of"))
    importances = read["gbt_feature_importance.csv"]
    columns = ["feature", "importance", "permutation_importance"]
    assert_same(importances, data.importances[columns])
    forecasts = read["gbt_forecasts.csv"]
    assert forecasts["open_time"].tolist() == ["2025-12-31T20:00:00Z"] * 2
    assert_same(forecasts.drop(columns="open_time"), data.forecasts.drop(columns="open_time"))
    portfolio = read["kmeans_portfolio.csv"]
    assert portfolio["symbol"].tolist() == [HOSTILE, "ETHUSDT"]
    assert portfolio["weight"].tolist() == [0.5, 0.5]


def test_a_null_is_an_empty_field_and_a_section_without_rows_a_header() -> None:
    data = empty(report_data(), "weights", "pca_components")
    data.clusters.loc[1, "sharpe"] = np.nan
    files = {name: frame.to_csv(index=False) for name, frame in exports(data).items()}
    assert files["kmeans_clusters.csv"].splitlines()[2] == "BTCUSDT,0,False,-1.0571,0.715,"
    assert files["smart_index.csv"].splitlines() == [
        "index_name,evaluation,as_of,symbol,rank,weight,sharpe,annual_volatility"
    ]
    assert len(files["pca_components.csv"].splitlines()) == 1


@pytest.mark.usefixtures("undrawn")
def test_a_report_replaces_the_older_one(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "report"
    write_report(folder, report_data())
    page = write_report(folder, empty(report_data(), "weights"))
    assert "No index in this warehouse" in page.read_text(encoding="utf-8")
    assert len((folder / "smart_index.csv").read_text().splitlines()) == 1
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*exports(report_data()), "report.html"]
    )


@pytest.mark.usefixtures("undrawn")
def test_a_failed_write_leaves_the_older_report_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(tmp_path, report_data())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def disk_full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="no space"):
        write_report(tmp_path, empty(report_data(), "weights", "clusters"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_warehouse_without_gold_results_says_what_to_run() -> None:
    class NoTables:
        def exists(self, _: object) -> bool:
            return False

    settings = load_settings(CONF, ["warehouse=/data/lake"])
    with pytest.raises(TableError) as raised:
        load_report_data(cast("Lake", NoTables()), settings)
    assert str(raised.value) == (
        "no gold results for um 4h candles and no factor model in /data/lake: run "
        "`candlelake run medallion` or `candlelake run factor_model` first"
    )


def test_runs_are_those_that_made_the_rows() -> None:
    def run(task: str, run_id: str, day: int, status: str = "succeeded") -> dict[str, object]:
        return {"task": task, "run_id": run_id, "started_at": day, "status": status}

    history = pd.DataFrame(
        [
            run("pca", "a", 1),
            run("pca", "b", 2),
            run("pca", "c", 3, "unchanged"),
            run("ingest_archive", "a", 1),
            run("ingest_archive", "b", 2),
            run("ingest_archive", "c", 3, "unchanged"),
            run("ingest_archive", "d", 4, "failed"),
            run("gbt", "a", 1),
        ]
    )
    made = {
        "pca": pd.DataFrame({"run_id": ["b", "b"], "mlflow_run_id": ["m", "m"]}),
        "gbt": pd.DataFrame(columns=["run_id", "mlflow_run_id"]),
    }
    shown = runs_of(history, made)
    assert shown[["task", "run_id", "mlflow_run_id"]].values.tolist() == [
        ["ingest_archive", "b", None],
        ["pca", "b", "m"],
    ]


def test_threshold_is_that_of_the_run_that_made_the_index() -> None:
    settings = load_settings(CONF, ["index.correlation_threshold=0.5"])
    made = runs()
    made["settings"] = load_settings(CONF, ["index.correlation_threshold=0.7"]).as_json()
    assert threshold(made, settings) == 0.7
    assert threshold(made.iloc[:0], settings) == 0.5


@pytest.fixture(scope="module")
def walked() -> str:
    """A page with a walk-forward index."""
    return render(replace(report_data(), indices=(index_result(),)))


def test_a_walk_forward_index_has_a_section_with_its_label_and_the_caveat(walked: str) -> None:
    section = " ".join(Page(walked).sections["Index smart_monthly"].split())
    assert section.startswith("Index smart_monthly walk-forward, after costs")
    assert "in-sample" not in section
    for words in (
        "It lost to equal weight of the eligible universe",
        "cannot be told from luck. 1 of 4 symbols stopped trading within the data. If the archive "
        "holds only symbols that still trade, these results carry survivorship bias",
        "2025-01-01 to 2025-03-01 UTC. Determined monthly",
        "2025-01-20 08:00 GONEUSDT",
        "2025-02-01 00:00: 1 in, 2 out, 2 members; turnover 40.0%, costs 0.040%",
        "Nobody came in or went out.",
    ):
        assert words in section
    assert "as many eligible names as the index may hold" in section
    page = Page(walked)
    assert len(page.references) == 14
    assert "b" not in page.tags
    assert page.text.count(HOSTILE_MEMBER) == 2
    assert f"smart_monthly {MINUS}10.0% total return, walk-forward, after costs" in page.text


@pytest.mark.usefixtures("undrawn")
def test_the_in_sample_index_keeps_its_label_beside_it(walked: str) -> None:
    section = " ".join(Page(walked).sections["Smart index"].split())
    assert section.startswith("Smart index in-sample In-sample:")
    assert "walk-forward" not in section


@pytest.mark.usefixtures("undrawn")
def test_a_page_without_a_walk_forward_index_does_not_speak_of_one(page: Page) -> None:
    assert "after costs" not in page.text
    assert [heading for heading in page.sections if heading.startswith("Index")] == []


@pytest.mark.usefixtures("undrawn")
def test_an_index_whose_tables_are_of_two_runs_is_left_out_in_words() -> None:
    section = Page(render(replace(report_data(), torn=("top10",)))).sections["Index top10"]
    assert "Left out: its tables are of different runs" in section


@pytest.mark.usefixtures("undrawn")
def test_a_warehouse_of_walk_forward_indices_alone_misses_no_in_sample_one() -> None:
    page = Page(render(replace(empty(report_data(), "weights"), indices=(index_result(),))))
    assert "No in-sample index in this warehouse: index.mode asks for none." in page.text
    assert "Index members" not in page.text


def test_csv_files_of_the_walk_forward_indices() -> None:
    files = exports(replace(report_data(), indices=(index_result(), index_result())))
    levels = files["index_levels_daily.csv"]
    last = pd.DataFrame(level_rows()).set_index(["index_name", "open_time"])["drawdown"]
    at = pd.MultiIndex.from_arrays([levels["index_name"], pd.to_datetime(levels["open_time"])])
    assert levels["drawdown"].tolist() == last[at].tolist()  # of the bar that the row names
    assert list(levels) == ["rulebook", "index_name", "open_time", "level", "drawdown"]
    assert levels["open_time"].iloc[0] == "2024-12-31T20:00:00Z"
    assert len(levels) == 2 * len(index_result().levels)
    statistics = files["index_statistics.csv"].to_csv(index=False).splitlines()
    assert statistics[0] == "rulebook,index_name,statistic,value,at"
    assert "smart_monthly,smart_monthly,max_drawdown_peak,,2025-01-01T00:00:00Z" in statistics
    assert "smart_monthly,smart_monthly,max_drawdown_recovery,," in statistics
    changes = files["index_changes.csv"]
    assert changes["change"].tolist() == (["in"] * 4 + ["out"] * 2) * 2
    assert files["index_weights.csv"]["weight"].tolist() == [0.5, 0.3, 0.2, 0.6, 0.4, 0.6, 0.4] * 2
    without = exports(report_data())
    assert all(list(without[name]) == list(frame) for name, frame in files.items())
    assert without["index_weights.csv"].empty


def test_runs_of_walk_forward_indices_stand_behind_the_one_of_the_in_sample_index() -> None:
    def run(task: str, run_id: str, **figures: str) -> dict[str, object]:
        return {"task": task, "run_id": run_id, "figures": figures, "mlflow_run_id": None}

    static, logged, trees = (
        run("smart_index", "static"),
        run("index_run", "later", smart_monthly="m1", top10="m2"),
        run("gbt", "static"),
    )
    history = pd.DataFrame([static, run("smart_index", "run-index"), logged, trees])
    history = history.drop(columns="mlflow_run_id")
    shown = pd.DataFrame([static, logged, trees])
    none = with_runs_of_indices(shown, history, ())
    assert none["task"].tolist() == ["smart_index", "gbt"]
    both = with_runs_of_indices(shown, history, (index_result(),))
    assert both[["task", "run_id", "mlflow_run_id"]].values.tolist() == [
        ["smart_index", "static", None],
        ["smart_index", "run-index", None],
        ["index_run", "later", "m1\nm2"],
        ["gbt", "static", None],
    ]
