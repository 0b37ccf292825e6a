"""What the exchange says of its symbols today: `exchangeInfo` and `ticker/24hr`.

Spot: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints
Futures: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api
"""

from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, StringConstraints, TypeAdapter, ValidationError

from bronze.http import Http, RequestFailed
from lakehouse.errors import ArchiveError

T = TypeVar("T")
_Name = Annotated[str, StringConstraints(min_length=1)]


@dataclass(frozen=True)
class ExchangeSymbol:
    """One symbol of a market, as the exchange tells it.

    Attributes:
        symbol: Trading pair or contract.
        status: `TRADING`, or why not.
        base_asset: What is traded, `ADA` of ADAEUR.
        quote_asset: What it is paid in, `EUR` of ADAEUR.
        contract_type: Of a future, such as `PERPETUAL` or `CURRENT_QUARTER`; None for spot.
        quote_volume: Traded in the last 24 h, in the quote asset; None if not told.
    """

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    contract_type: str | None
    quote_volume: float | None

    @property
    def is_perpetual(self) -> bool:
        """Whether it has no day of delivery: a spot pair, or a perpetual of any kind."""
        return self.contract_type is None or self.contract_type.endswith("PERPETUAL")


class _Symbol(BaseModel):
    symbol: _Name
    status: _Name
    baseAsset: _Name
    quoteAsset: _Name
    contractType: str | None = None


class _Info(BaseModel):
    symbols: Annotated[list[_Symbol], Field(min_length=1)]


class _Ticker(BaseModel):
    symbol: _Name
    quoteVolume: Annotated[float, Field(ge=0, allow_inf_nan=False)]


_INFO = TypeAdapter(_Info)
_TICKERS = TypeAdapter(Annotated[list[_Ticker], Field(min_length=1)])


def exchange_symbols(http: Http, info_url: str, ticker_url: str) -> list[ExchangeSymbol]:
    """Ask the exchange for a market's symbols and their volume of the last 24 h.

    Returns:
        Every symbol of `exchangeInfo`, whatever its status, in the order of the names.

    Raises:
        ArchiveError: An address cannot be reached or its answer is none; names the address and
            the universe modes that need neither.
    """
    info = _ask(http, info_url, _INFO, "exchange.<market>.info_url")
    tickers = _ask(http, ticker_url, _TICKERS, "exchange.<market>.ticker_url")
    volumes = {ticker.symbol: ticker.quoteVolume for ticker in tickers}
    found = {
        each.symbol: ExchangeSymbol(
            each.symbol,
            each.status,
            each.baseAsset,
            each.quoteAsset,
            each.contractType,
            volumes.get(each.symbol),
        )
        for each in info.symbols
    }
    return [found[symbol] for symbol in sorted(found)]


def _ask(http: Http, url: str, shape: TypeAdapter[T], key: str) -> T:
    offline = (
        "or take universe.mode=symbols or historical-usdt, which do not ask the exchange what "
        "trades today"
    )
    try:
        return http.read(url, shape.validate_json)
    except RequestFailed as error:
        raise ArchiveError(
            f"the exchange cannot be asked: {error}: try later, {offline}"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise ArchiveError(
            f"{url} does not answer as the exchange does ({where}: {first['msg']}): check {key}, "
            f"{offline}"
        ) from error
