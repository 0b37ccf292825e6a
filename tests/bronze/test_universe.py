import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bronze.universe import Universe, historical_usdt_universe, is_leveraged, named_universe


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
