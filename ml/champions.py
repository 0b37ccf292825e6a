"""The champion of a model: the version that the alias `champion` names.

The alias moves to a new version only when that beats the one before on the experiment's honest
metric. A tag of each version says why it is the champion, why not, or what dethroned it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from ml.tracking import is_absent

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
REASON = "candlelake.champion"
"""Tag of a version: why it became the champion, why not, or why it no longer is."""


@dataclass(frozen=True)
class _Measured:
    """What the run of a version came to.

    Attributes:
        value: The honest metric; None when the run has none, or is gone.
        tables: The tables that it was measured on, each with its version, in words.
        data: The same and where they lie.
        settings: Settings of the fit.
    """

    value: float | None = None
    tables: str = ""
    data: frozenset[tuple[str, str]] = frozenset()
    settings: Mapping[str, str] = field(default_factory=dict)


def find_champion(client: MlflowClient, name: str) -> ModelVersion | None:
    """The version with the alias; None when no version has it.

    Raises:
        MlflowException: The store cannot say.
    """
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if is_absent(error):
            return None
        raise


def choose_champion(
    client: MlflowClient, version: ModelVersion, experiment: str, metric: str
) -> str:
    """Make a new version the champion if it is better, and tag both with the reason.

    Versions of runs that end at the same time are compared with each other: the champion is
    looked at again right before the alias moves, and after that.

    Args:
        client: Of the store.
        version: The new version.
        experiment: Its section of the settings.
        metric: Metric of the runs by which versions are compared; higher is better.

    Returns:
        Why it is the champion, or why not.

    Raises:
        MlflowException: The store cannot say which version is the champion, or what it is worth.
    """
    name, number = version.name, version.version
    mine = _measured(client, version, experiment, metric)
    reason, beaten = "", None
    while (champion := find_champion(client, name)) is None or champion.version != number:
        held = _measured(client, champion, experiment, metric) if champion else _Measured()
        is_better, reason = _compared(mine, champion, held, metric)
        if not is_better:
            beaten = None
            break
        now = find_champion(client, name)
        if (now and now.version) == (champion and champion.version):
            client.set_registered_model_alias(name, CHAMPION, number)
            beaten = champion
    client.set_model_version_tag(name, number, REASON, reason)
    if beaten is not None:
        said = f"no longer champion: version {number} is, {reason.removeprefix('champion: ')}"
        client.set_model_version_tag(name, beaten.version, REASON, said)
    return reason


def _compared(
    mine: _Measured, champion: ModelVersion | None, held: _Measured, metric: str
) -> tuple[bool, str]:
    """Whether a version beats the champion, and the reason in words."""
    if mine.value is None:
        return False, f"not champion: the run has no {metric}"
    value = f"{metric} {mine.value:.6g} on {mine.tables}"
    if champion is None:
        return True, f"champion: there was none, {value}"
    if held.value is None:
        return True, f"champion: {value}, version {champion.version} has none"
    is_better = mine.value > held.value
    verb = "beats" if is_better else "does not beat"
    other = [
        *(["other data"] if mine.data != held.data else []),
        *(["other settings"] if mine.settings != held.settings else []),
    ]
    return is_better, (
        f"{'champion' if is_better else 'not champion'}: {value} {verb} {held.value:.6g} of "
        f"version {champion.version} on {held.tables}"
        + (f" ({' and '.join(other)})" if other else "")
    )


def _measured(
    client: MlflowClient, version: ModelVersion, experiment: str, metric: str
) -> _Measured:
    """What the run that made a version came to; a metric that is no number is none."""
    if not version.run_id:
        return _Measured()
    try:
        run = client.get_run(version.run_id)
    except MlflowException as error:
        if is_absent(error):  # it has been deleted
            return _Measured()
        raise
    read = [each.dataset for each in (run.inputs.dataset_inputs if run.inputs else [])]
    value = run.data.metrics.get(metric)
    return _Measured(
        value if value is not None and isfinite(value) else None,
        ", ".join(sorted({dataset.name for dataset in read})),
        frozenset((dataset.name, dataset.digest) for dataset in read),
        {
            key: text
            for key, text in run.data.params.items()
            if key == "ml.seed" or key.startswith(f"ml.{experiment}.")
        },
    )
