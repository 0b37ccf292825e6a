"""A portfolio as a person hands it in: a CSV file with the columns `symbol` and `weight`."""

import csv
import math
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from lakehouse.errors import PortfolioError

_SYMBOL, _WEIGHT = "symbol", "weight"


def read_portfolio(path: Path) -> dict[str, float]:
    """Read a portfolio from a CSV file.

    Args:
        path: UTF-8, a header with at least the columns `symbol` and `weight`, one line for each
            holding. Weights are shares of the portfolio's value (0.25 is 25 %), negative for a
            short; what they lack to 1 is cash.

    Returns:
        Symbol -> weight, in the order of the file.

    Raises:
        PortfolioError: The file cannot be read, lacks a column or a value, has no holding, names a
            symbol twice, or has a weight that is no finite number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _weights(path, csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise PortfolioError(f"{path} cannot be read as a CSV file: {reason}") from error


def require_known(weights: Mapping[str, float], known: Collection[str], where: str) -> None:
    """Refuse symbols that nobody has heard of, which a typing error makes.

    Args:
        weights: Symbol -> weight.
        known: All symbols that there are.
        where: What they are the symbols of, for the message.

    Raises:
        PortfolioError: A symbol is not known; the message names those that look like it.
    """
    unknown = [symbol for symbol in weights if symbol not in known]
    if unknown:
        near = get_close_matches(unknown[0], list(known), n=3)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise PortfolioError(f"no such symbol in {where}: {', '.join(unknown)}{hint}")


def _weights(path: Path, lines: "csv.DictReader[str]") -> dict[str, float]:
    missing = [name for name in (_SYMBOL, _WEIGHT) if name not in (lines.fieldnames or ())]
    if missing:
        header = ",".join(lines.fieldnames or ())
        raise PortfolioError(
            f"{path} has no column {' and '.join(missing)}: its first line must be "
            f"{_SYMBOL},{_WEIGHT} and is {header or 'empty'}"
        )
    weights: dict[str, float] = {}
    for symbol, weight in _holdings(path, lines):
        if symbol in weights:
            raise PortfolioError(f"{path}, line {lines.line_num}: {symbol} stands twice")
        weights[symbol] = weight
    if not weights:
        raise PortfolioError(f"{path} has no holding: add a line for each, such as BTCUSDT,0.5")
    return weights


def _holdings(path: Path, lines: "csv.DictReader[str]") -> Iterator[tuple[str, float]]:
    for line in lines:
        symbol, text = ((line[name] or "").strip() for name in (_SYMBOL, _WEIGHT))
        place = f"{path}, line {lines.line_num}"
        if not symbol:
            raise PortfolioError(f"{place}: there is no symbol")
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not math.isfinite(weight):
            raise PortfolioError(f"{place}: the weight of {symbol} is no number: {text!r}")
        yield symbol, weight
