import pytest

from ml.skill import verdict


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, ""),
        ({"oos_r2": float("nan"), "rank_ic": 0.3}, ""),
        ({"oos_r2": -0.01, "rank_ic": 0.3}, "No skill: the forecasts are no better"),
        ({"oos_r2": 0.0}, "No skill: the forecasts are no better"),
        ({"oos_r2": 0.001, "rank_ic": -0.019}, "No skill to speak of: its ranking of symbols is"),
        ({"oos_r2": 0.001, "rank_ic": 0.05, "rank_ic_t": 1.9}, "No skill to speak of: its ranking"),
        ({"oos_r2": 0.001, "rank_ic": 0.05, "rank_ic_t": 2.1}, "Better than a forecast of zero"),
        ({"oos_r2": 0.001, "rank_ic": -0.05, "rank_ic_t": -5.0}, "No skill to speak of: its rank"),
        ({"oos_r2": 0.001, "rank_ic": 0.05, "rank_ic_t": -5.0}, "No skill to speak of: its rank"),
        ({"oos_r2": 0.001}, "Better than a forecast of zero"),
    ],
)
def test_figures_are_put_into_words(figures: dict[str, float], words: str) -> None:
    assert verdict(figures).startswith(words)
    assert bool(verdict(figures)) == bool(words)
