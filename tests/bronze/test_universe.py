from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bronze.exchange import ExchangeSymbol
from bronze.universe import (
    Universe,
    all_usdt_universe,
    diversified_universe,
    historical_usdt_universe,
    is_leveraged,
    named_universe,
    top100_universe,
)
from lakehouse.settings import load_settings
from tests.conftest import ROOT


@pytest.mark.parametrize(
    "base",
    ["BTCUP", "ETHDOWN", "1INCHUP", "1INCHDOWN", "XRPBULL", "XRPBEAR", "BULL", "BEAR", "SUSHIUP"],
)
def test_leveraged_tokens(base: str) -> None:
    assert is_leveraged(base)


@pytest.mark.parametrize(
    "base",
    [
        "JUP",
        "SYRUP",
        "UP",  # a coin of its own: there is nothing before it to be leveraged
        "BTC",
        "SUPER",
        "PUMP",
        "BTCDOM",
        "BULLA",
        "BEAMX",
        "BERA",
        "UPTOWN",
        "DOWNTOWN",
    ],
)
def test_coins_that_only_look_leveraged(base: str) -> None:
    assert not is_leveraged(base)


def test_historical_usdt_keeps_delisted_symbols_and_names_what_it_filters() -> None:
    listed = [
        "SYRUPUSDT",
        "BTCUSDT",
        "BTCUPUSDT",
        "BULLUSDT",
        "JUPUSDT",
        "BTCUSDT_250328",
        "BTCUSDC",
        "USDTTRY",
        "USDT",
        "LUNAUSDT",
        "币安人生USDT",
    ]
    assert historical_usdt_universe(listed) == Universe(
        symbols=("BTCUSDT", "JUPUSDT", "LUNAUSDT", "SYRUPUSDT", "币安人生USDT"),
        leveraged=("BTCUPUSDT", "BULLUSDT"),
    )


def test_named_symbols_that_the_archive_lacks_are_reported() -> None:
    universe = named_universe(
        ["ETHUSDT", "NOSUCHUSDT", "BTCUPUSDT", "ETHUSDT"], ["BTCUSDT", "ETHUSDT", "BTCUPUSDT"]
    )
    assert universe == Universe(symbols=("BTCUPUSDT", "ETHUSDT"), absent=("NOSUCHUSDT",))


NAMES = st.lists(
    st.builds(
        str.__add__,
        st.sampled_from(["BTC", "J", "SYR", "", "BTCUP", "XBEAR", "JUP"]),
        st.sampled_from(["USDT", "USDC", "UPUSDT", "BULLUSDT", ""]),
    )
)


@settings(max_examples=100, deadline=None)
@given(named=NAMES, listed=NAMES)
def test_no_symbol_is_lost_or_counted_twice(named: list[str], listed: list[str]) -> None:
    by_name = named_universe(named, listed)
    assert sorted(by_name.symbols + by_name.absent) == sorted(set(named))
    assert set(by_name.symbols) <= set(listed)

    historical = historical_usdt_universe(listed)
    quoted = {name for name in listed if name.endswith("USDT") and len(name) > 4}
    assert sorted(historical.symbols + historical.leveraged) == sorted(quoted)


def told(symbol: str, base: str, volume: float | None = 1.0, **changed: str) -> ExchangeSymbol:
    """A symbol that trades against USDT, but for what is changed."""
    return replace(ExchangeSymbol(symbol, "TRADING", base, "USDT", None, volume), **changed)


TRAPS = [
    told("JUPUSDT", "JUP"),
    told("SYRUPUSDT", "SYRUP"),
    told("币安人生USDT", "币安人生"),
    # AEUR is an asset too: the quote of ADAEUR cannot be told from its name.
    told("ADAEUR", "ADA", quote_asset="EUR"),
    told("AEURUSDT", "AEUR"),
    told("BTCUPUSDT", "BTCUP"),
    told("BTCUSDT", "BTC"),
    told("BTCUSDC", "BTC", quote_asset="USDC"),
    told("USDTTRY", "USDT", quote_asset="TRY"),
    told("LUNAUSDT", "LUNA", status="BREAK"),
    told("NEWUSDT", "NEW"),
]


def test_all_usdt_takes_what_trades_today_and_says_so() -> None:
    listed = {each.symbol for each in TRAPS} - {"NEWUSDT"} | {"GONEUSDT"}
    universe = all_usdt_universe(TRAPS, listed)
    assert universe.symbols == (*("AEURUSDT", "BTCUSDT", "JUPUSDT", "SYRUPUSDT", "币安人生USDT"),)
    assert universe.absent == ("NEWUSDT",)
    assert universe.leveraged == ("BTCUPUSDT",)
    assert "survivorship bias" in universe.bias


@pytest.mark.parametrize(
    ("contract_type", "taken"),
    [
        ("PERPETUAL", True),
        ("TRADIFI_PERPETUAL", True),
        ("CURRENT_QUARTER", False),
        ("NEXT_QUARTER", False),
        ("PERPETUAL DELIVERING", False),
        ("", False),
    ],
)
def test_a_contract_with_a_day_of_delivery_is_no_member(contract_type: str, taken: bool) -> None:
    contract = told("BTCUSDT_250328", "BTC", contract_type=contract_type)
    assert bool(all_usdt_universe([contract], ["BTCUSDT_250328"]).symbols) is taken


SECTORS = {"large": ("BTC", "ETH", "SOL"), "meme": ("DOGE", "PEPE"), "stable": ("USDC",)}
MARKET = [
    told("BTCUSDT", "BTC", 100.0),
    told("ETHUSDT", "ETH", 90.0),
    told("SOLUSDT", "SOL", 80.0, status="HALT"),
    told("DOGEUSDT", "DOGE", 5.0),
    told("1000PEPEUSDT", "1000PEPE", 4.0),
    told("USDCUSDT", "USDC", 1.0),
    told("XRPUSDT", "XRP", 70.0),
    told("ADAUSDT", "ADA", 60.0),
    told("ZILUSDT", "ZIL", 60.0),
    told("DEADUSDT", "DEAD", None),
    told("UNLISTEDUSDT", "UNLISTED", 999.0),
]
LISTED = {each.symbol for each in MARKET} - {"UNLISTEDUSDT"}


@pytest.mark.parametrize(
    ("target", "symbols"),
    [
        (1, "BTC"),
        (3, "BTC DOGE USDC"),  # the first seed of each sector
        (5, "BTC DOGE USDC ETH 1000PEPE"),
        (6, "BTC DOGE USDC ETH 1000PEPE XRP"),  # then by volume
        (7, "BTC DOGE USDC ETH 1000PEPE XRP ADA"),  # a tie in the order of the names
        (300, "BTC DOGE USDC ETH 1000PEPE XRP ADA ZIL DEAD"),
    ],
)
def test_diversified_takes_seeds_in_turns_and_then_what_is_traded_most(
    target: int, symbols: str
) -> None:
    universe = diversified_universe(MARKET, SECTORS, target, LISTED)
    assert universe.symbols == tuple(sorted(f"{base}USDT" for base in symbols.split()))
    assert universe.absent == ("SOLUSDT",)
    assert "survivorship bias" in universe.bias


def test_top100_takes_an_asset_or_a_multiple_of_it() -> None:
    listed = ["BTCUSDT", "PEPEUSDT", "1000PEPEUSDT", "1000SHIBUSDT", "1MBABYDOGEUSDT", "SHIBUSDC"]
    bases = ["BTC", "PEPE", "SHIB", "BABYDOGE", "GONE"]
    universe = top100_universe(bases, "2026-03-31", listed)
    assert universe.symbols == ("1000SHIBUSDT", "1MBABYDOGEUSDT", "BTCUSDT", "PEPEUSDT")
    assert universe.absent == ("GONEUSDT",)
    assert "2026-03-31" in universe.bias


def test_the_modes_that_ask_nothing_of_today_carry_no_bias() -> None:
    assert historical_usdt_universe(["BTCUSDT"]).bias == ""
    assert named_universe(["BTCUSDT"], ["BTCUSDT"]).bias == ""


def test_the_reviewed_lists() -> None:
    assets = load_settings(ROOT / "conf" / "base.yaml").assets
    assert len(set(assets.top100)) == len(assets.top100) == 100
    seeds = [base for sector in assets.sectors.values() for base in sector]
    assert len(set(seeds)) == len(seeds)
    assert set(assets.sectors) == {
        *("large_cap", "meme", "stable", "commodity", "infrastructure_and_exchange", "defi"),
        *("ai_and_data", "gaming_and_nft"),
    }
    for base in {*assets.top100, *seeds}:
        assert base == base.upper()
        assert not base.endswith("USDT")
        assert not is_leveraged(base), base
    assert {"JUP"} <= {*assets.top100} & {*seeds}
