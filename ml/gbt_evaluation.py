"""Fits of the return model and what they are worth: only computed, neither tracked nor written.

The trees are fitted to all rows, to each walk-forward fold and to a random split; a ridge
regression to each fold. Every forecast is of rows that its model was not fitted to.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, cast

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.errors import NotEnoughData
from lakehouse.intervals import MICROS_PER_DAY, interval_micros
from lakehouse.session import threads
from ml.contracts import FEATURES
from ml.feature_table import complete, in_scope
from ml.features import FEATURE_NAMES, LABEL_BARS, TARGET
from ml.fits import KEY, TrainingRows, fit_gbt, fit_ridge, training_rows
from ml.forecasts import FORECAST_COLUMNS, ScoredForecasts, score_forecasts
from ml.permuted_forecasts import permutation_importances
from ml.results import ModelResult
from ml.splits import RANDOM_SPLIT, Split, random_split, walk_forward
from ml.validation import Fold, ForecastScore, walk_forward_splits

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.ml.regression import GBTRegressionModel

    from lakehouse.tasks import TaskContext

RIDGE = "ridge"

# A fit is a hundred small jobs, between which the driver works alone.
_FITS_AT_ONCE = 2
_IMPORTANCE = "importance_"
_PERMUTATION = "permutation_importance_"


@dataclass(frozen=True)
class Judged:
    """A fit and its forecasts of the rows that judge it.

    Attributes:
        name: `fold_1` …, `random_split`, `ridge_fold_1` …
        split: What was fitted and predicted.
        model: The fit.
        rows: What it was fitted to.
        seconds: How long the fit took.
    """

    name: str
    split: Split
    model: PipelineModel
    rows: TrainingRows
    seconds: float

    @property
    def is_ridge(self) -> bool:
        """Whether it is a regression and no trees."""
        return self.name.startswith(RIDGE)

    @property
    def forecasts(self) -> DataFrame:
        """`FORECAST_COLUMNS`, computed when they are used; split is the name."""
        stamps = {"split": F.lit(self.name), "train_mean": F.lit(self.rows.mean)}
        predicted = self.model.transform(self.split.test)
        return predicted.withColumns(stamps).select(*FORECAST_COLUMNS)


@dataclass(frozen=True)
class GbtFits:
    """All fits.

    Attributes:
        kept: The trees fitted to all rows.
        judged: The walk-forward folds, in order, the random split, and the ridge's folds.
    """

    kept: PipelineModel
    judged: tuple[Judged, ...]

    @property
    def folds(self) -> tuple[Judged, ...]:
        """The trees' walk-forward folds."""
        return tuple(one for one in self.judged if not one.is_ridge and not one.split.is_optimistic)

    @property
    def beside(self) -> tuple[Judged, ...]:
        """What stands beside them: the random split, and the ridge's folds."""
        return tuple(one for one in self.judged if one not in self.folds)


def gbt_result(context: TaskContext) -> ModelResult:
    """Fit and evaluate.

    Raises:
        NotEnoughData: Too few bars for a fold.
    """
    fits = fit_all(context)
    scored = score_forecasts(all_forecasts(fits.judged))
    return model_result(context, fits, scored)


def fit_all(context: TaskContext) -> GbtFits:
    """Fit the trees and the ridge to all rows and splits, a few at once.

    Raises:
        NotEnoughData: Too few bars for a fold.
    """
    features = complete(in_scope(context.lake.read(FEATURES), context))
    rows = features.select(*KEY, *FEATURE_NAMES, TARGET)
    folds = walk_forward(rows, _folds(context, rows))
    splits = [*folds, random_split(rows, context.settings.ml.seed)]

    def trees(split: Split) -> Judged:
        return _judged(split, split.name, lambda known: fit_gbt(context, split.train, known.count))

    def ridge(split: Split) -> Judged:
        return _judged(split, f"{RIDGE}_{split.name}", lambda _: fit_ridge(context, split.train))

    with threads(context.spark, _FITS_AT_ONCE, "gbt") as pool:
        kept = pool.submit(lambda: fit_gbt(context, rows, rows.count()))
        # The largest first, so that no thread is left with a long fit at the end.
        judged = [pool.submit(trees, split) for split in reversed(splits)]
        lines = [pool.submit(ridge, split) for split in reversed(folds)]
        results = [*(one.result() for one in reversed(judged))]
        results += [*(one.result() for one in reversed(lines))]
        return GbtFits(kept.result(), tuple(results))


def all_forecasts(judged: tuple[Judged, ...]) -> DataFrame:
    """Forecasts of several fits, one below the other."""
    return reduce(DataFrame.unionByName, (one.forecasts for one in judged))


def model_result(
    context: TaskContext, fits: GbtFits, scored: Mapping[str, ScoredForecasts]
) -> ModelResult:
    """Metrics of all folds together, those beside them, importances, and what tells fits apart.

    Returns:
        `oos_r2` and the like are those of the trees, walking forward; `ridge_…` those of the
        ridge on the same rows; `random_split_…` the optimistic ones, and `optimism` by how much
        their R² is higher. The output has a digest of the kept trees and of each split's forecasts.
    """
    trees = cast("GBTRegressionModel", fits.kept.stages[-1])
    walked = _together(scored, [one.name for one in fits.folds])
    ridge = _together(scored, [one.name for one in fits.judged if one.is_ridge])
    random = scored[RANDOM_SPLIT].score
    gains = zip(FEATURE_NAMES, trees.featureImportances.toArray(), strict=True)
    falls = permutation_importances(context, [(one.model, one.split.test) for one in fits.folds])
    metrics = walked.metrics() | {
        **_named(f"{RIDGE}_", ridge.metrics()),
        **_named(f"{RANDOM_SPLIT}_", random.metrics()),
        **_named(_IMPORTANCE, {name: float(value) for name, value in gains}),
        **_named(_PERMUTATION, falls),
    }
    if {"oos_r2", f"{RANDOM_SPLIT}_oos_r2"} <= metrics.keys():
        metrics["optimism"] = metrics[f"{RANDOM_SPLIT}_oos_r2"] - metrics["oos_r2"]
    written_out = trees.toDebugString.partition("\n")[2]  # the first line has an id of the fit
    digests = {"trees": hashlib.sha256(written_out.encode()).hexdigest()[:16]}
    digests |= {f"forecasts of {one.name}": scored[one.name].digest for one in fits.judged}
    output = pa.table({"of": list(digests), "digest": list(digests.values())})
    return ModelResult(metrics, output, fits.kept)


def gain_importances(metrics: Mapping[str, float]) -> dict[str, float]:
    """Feature -> its share of the loss reduction while the kept trees were fitted."""
    return {name: metrics[_IMPORTANCE + name] for name in FEATURE_NAMES}


def permuted_importances(metrics: Mapping[str, float]) -> dict[str, float]:
    """Feature -> the fall of the walk-forward R² when its values are shuffled."""
    return {name: metrics[_PERMUTATION + name] for name in FEATURE_NAMES}


def _folds(context: TaskContext, rows: DataFrame) -> tuple[Fold, ...]:
    opens = F.unix_micros("open_time")
    first, last = rows.agg(F.min(opens), F.max(opens)).collect()[0]
    if first is None:
        raise NotEnoughData("ml.features has no complete row: run the task gbt_features first")
    settings = context.settings.ml.gbt
    step = interval_micros(context.settings.archive.interval)
    return walk_forward_splits(
        first,
        last,
        step,
        day=MICROS_PER_DAY,
        block=settings.fold_days * MICROS_PER_DAY // step,
        purge=LABEL_BARS,
        embargo=settings.embargo_bars,
    )


def _judged(split: Split, name: str, fit: Callable[[TrainingRows], PipelineModel]) -> Judged:
    known = training_rows(split.train)
    started = time.monotonic()
    model = fit(known)
    return Judged(name, split, model, known, time.monotonic() - started)


def _together(scored: Mapping[str, ScoredForecasts], names: list[str]) -> ForecastScore:
    # A fold without a row to predict, as over months without data, has no score.
    return reduce(add, (scored[name].score for name in names if name in scored), ForecastScore())


def _named(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}{name}": value for name, value in values.items()}
