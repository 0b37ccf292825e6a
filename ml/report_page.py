"""The report's HTML page: plots inside it, nothing fetched from elsewhere.

`render` turns `ReportData` into figures, tables and sentences; the template lays them out and
escapes every text.
"""

from __future__ import annotations

from collections.abc import Mapping

import jinja2
import numpy as np
import pandas as pd

from ml import pca_plots, plots
from ml.factor_section import factor_section
from ml.frames import correlation_matrix, floats
from ml.images import Image, image
from ml.index_figures import instants
from ml.index_section import index_section
from ml.leaders_section import leaders_section, stability, tiny_clusters
from ml.plot_style import MARKETS
from ml.report_data import ReportData
from ml.report_tables import count, minute, number, percent, precise, ratio, report_tables
from ml.skill import verdict

LIQUID_SYMBOLS = 30
"""Symbols of the second correlation map, whose names and numbers can all be read."""


def render(data: ReportData) -> str:
    """The page as one HTML document. Times are UTC; what all history went into says in-sample."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ml", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    weight = floats(data.weights["weight"])
    return environment.get_template("report.html").render(
        market=MARKETS[data.market],
        interval=data.interval,
        span=_span(data),
        as_of=minute(data.as_of),
        threshold=f"{data.threshold:g}",
        medallion=len(data.metrics) > 0,
        tiles=_tiles(data),
        symbols=len(data.listings),
        ended=int((data.listings["status"] == "ended").sum()),
        decided=data.decisions["decision"].value_counts().to_dict(),
        effective=f"{1 / float(weight @ weight):.1f}" if len(weight) else "",
        images=_images(data),
        tables=report_tables(data),
        indices=[index_section(index, MARKETS[data.market]) for index in data.indices],
        torn=data.torn,
        skill=skill(data.gbt_figures),
        forecast=_forecast(data.forecasts),
        leaders=leaders_section(data),
        stability=stability(data.kmeans_figures),
        tiny=tiny_clusters(data.clusters),
        factors=factor_section(data.factors) if data.factors else None,
    )


def skill(figures: Mapping[str, str]) -> str:
    """What the trees' walk-forward figures mean, in words; empty without an R2.

    Args:
        figures: `oos_r2` is measured against the zero forecast, `rank_ic` across symbols.
    """
    values = {name: number(figures, name) for name in ("oos_r2", "rank_ic", "rank_ic_t")}
    said = verdict(values)
    if not said:
        return ""
    shown = f"out-of-sample R\N{SUPERSCRIPT TWO} {precise(values['oos_r2'])}"
    if np.isfinite(values["rank_ic"]):
        shown += f", rank information coefficient {precise(values['rank_ic'])}"
    if np.isfinite(values["rank_ic_t"]):
        shown += f" with t-statistic {ratio(values['rank_ic_t'])}"
    if said.startswith("No skill"):
        return f"{said} ({shown})."
    return f"{said} ({shown}), before any cost of trading on it."


def _forecast(forecasts: pd.DataFrame) -> str:
    """Which model forecasts which bar, in words; empty without a forecast."""
    if forecasts.empty:
        return ""
    bar = minute(forecasts["open_time"].iloc[0])
    version = count(forecasts["model_version"].iloc[0])
    symbols = count(len(forecasts))
    return f"{symbols} symbols, the bar after that of {bar} UTC, by version {version} of the model"


def _span(data: ReportData) -> str:
    """First open to last close of the data, as UTC days."""
    first = data.listings["first_open_time"].min()
    start = "" if pd.isna(first) else f"{first:%Y-%m-%d} "
    return f"{start}to {data.as_of:%Y-%m-%d} UTC"


def _about(data: ReportData, task: str, judged: str = "in-sample") -> str:
    """What a figure was made from: the span of the data, or the run when it is another one.

    The span is known of the run of the metrics; an older run has seen other data.
    """
    # Of runs of one task, the first made the in-sample results.
    runs = data.runs.drop_duplicates("task").set_index("task")["run_id"]
    same = runs.get(task) == runs.get("asset_metrics")
    made_from = _span(data) if same else f"run {runs.get(task)}"
    return f"{MARKETS[data.market]}, {data.interval}, {made_from}, {judged}"


def _tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """Headline figures: what, how many, and a note; of indices only where there are metrics."""
    listings, files = data.listings, data.files
    refused = files.loc[files["status"] != "ingested", "files"].sum()
    lines, candles = files["rejected_lines"].sum(), data.rejected_candles["candles"].sum()
    filled = listings["filled_bars"].sum()
    symbols = f"{len(data.metrics)} with metrics" if len(data.metrics) else "with candles"
    return [
        ("Symbols", count(len(listings)), symbols),
        ("Candles", count(listings["bars"].sum()), f"and {count(filled)} filled"),
        ("Source files", count(files["files"].sum()), f"{count(refused)} refused"),
        ("Rejected", count(lines + candles), f"{count(lines)} lines, {count(candles)} candles"),
        *(_index_tiles(data) if len(data.metrics) else ()),
    ]


def _index_tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """What each walk-forward index earned, and how many members the in-sample one has."""
    tiles = [
        (
            index.name,
            percent(index.statistic("total_return")),
            "total return, walk-forward, after costs",
        )
        for index in data.indices
    ]
    if len(data.weights) or not tiles:
        tiles.append(("Index members", count(len(data.weights)), "chosen in-sample"))
    return tiles


def _images(data: ReportData) -> dict[str, Image]:
    """The figures that there are data for, by name."""
    images = _correlation_images(data, _about(data, "correlations"))
    weights, clusters = data.weights, data.clusters
    components, importances = data.pca_components, data.importances
    if len(weights):
        about = _about(data, "smart_index")
        figure = plots.index_weights(weights["symbol"].tolist(), floats(weights["weight"]), about)
        images["weights"] = image(figure, "Weight of each member of the index")
    if len(clusters):
        figure = plots.cluster_scatter(
            clusters["symbol"].tolist(),
            floats(clusters["annual_volatility"]),
            floats(clusters["annual_return"]),
            clusters["cluster"].tolist(),
            clusters["symbol"][clusters["is_leader"].astype(bool)].tolist(),
            _about(data, "kmeans"),
        )
        images["clusters"] = image(figure, "Return against volatility of each symbol, by cluster")
    if len(components):
        explained = floats(components["explained_variance"])
        cumulative = floats(components["cumulative_variance"])
        figure = plots.scree(explained, cumulative, _about(data, "pca"))
        images["scree"] = image(figure, "Variance explained by each principal component")
    if len(data.pca_windows):
        wide = data.pca_windows.pivot(
            index="as_of", columns="component", values="standardised_variance"
        )
        days = int(data.pca_windows["lookback_days"].iloc[0])
        figure = pca_plots.market_integration(
            instants(pd.DatetimeIndex(wide.index)),
            wide.to_numpy(dtype=np.float64),
            f"{MARKETS[data.market]}, {data.interval}, windows of {days} days",
        )
        images["integration"] = image(figure, "Variance explained in trailing windows, by month")
    if len(importances):
        values = floats(importances["importance"])
        features = importances["feature"].tolist()
        figure = plots.importances(features, values, _about(data, "gbt"))
        images["importances"] = image(figure, "Importance of each feature")
        falls = floats(importances["permutation_importance"])
        if np.isfinite(falls).all():
            figure = plots.permutation_importances(
                features, falls, _about(data, "gbt", "walk-forward")
            )
            images["permutation"] = image(figure, "Permutation importance of each feature")
    return images


def _correlation_images(data: ReportData, about: str) -> dict[str, Image]:
    """The spread of the pairs, the map, and of a map too big for names its most liquid part."""
    if data.correlations.empty:
        return {}
    symbols, matrix = correlation_matrix(data.correlations)
    rho = floats(data.correlations["rho"])
    images = {
        "spread": image(
            plots.correlation_distribution(rho, data.threshold, about),
            "Histogram of the correlations of all pairs",
        ),
        "map": image(
            plots.correlation_heatmap(symbols, matrix, about), "Correlation map of all symbols"
        ),
    }
    if len(symbols) > plots.MOST_LABELS:
        volume = data.metrics.set_index("symbol")["median_daily_quote_volume"].astype(float)
        order = np.argsort(-volume.reindex(symbols).fillna(0.0).to_numpy(), kind="stable")
        liquid = order[:LIQUID_SYMBOLS]
        figure = plots.correlation_heatmap(
            [symbols[place] for place in liquid],
            matrix[np.ix_(liquid, liquid)],
            f"The most liquid by median daily volume. {about}",
        )
        images["liquid"] = image(figure, "Correlation map of the most liquid symbols")
    return images
