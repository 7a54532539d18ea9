"""The directions of the second paper over networks: on made-up measures, and on a store with too few networks."""

import numpy as np
import pandas as pd
import pytest

from selviz.studies import published_directions
from selviz.studies.published_directions import NOT, OPPOSITE, REPRODUCED, UNTESTABLE


def made_up(n: int = 30, seed: int = 0) -> pd.DataFrame:
    """Measures of networks of three alphas: corruptions and pgd 8 follow SI down, most of the rest is noise."""
    generator = np.random.default_rng(seed)
    si = np.linspace(0.05, 0.5, n)
    noise = lambda: generator.normal(size=n)  # noqa: E731
    return pd.DataFrame(
        {
            "run": [f"r{i}" for i in range(n)],
            "alpha": np.repeat([-1.0, 0.0, 1.0], n // 3),
            "seed": range(n),
            "mean_si": si,
            "mean_si_live": si,
            "corruptions": 0.5 - si + 0.02 * noise(),
            "pgd 2": noise(),
            "pgd 8": 0.5 - si + 0.02 * noise(),
            "early units": noise(),
            "early units attack - corruption": 2 + 0.5 * noise(),
            "gradient over images": noise(),
            "gradient over units": si + 0.01 * noise(),
        }
    )


@pytest.fixture
def verdicts(monkeypatch):
    def of(table: pd.DataFrame) -> pd.DataFrame:
        monkeypatch.setattr(published_directions, "measures", lambda store, run, kind: table)
        return published_directions.directions(None, "r0").set_index("measure")

    return of


def test_each_direction_gets_the_verdict_that_its_measures_deserve(verdicts):
    found = verdicts(made_up())
    expected = {
        "corruptions": REPRODUCED,
        "pgd 2": NOT,
        "pgd 8": OPPOSITE,
        "early units": NOT,
        "early units attack - corruption": REPRODUCED,
        "gradient over images": NOT,
        "gradient over units": REPRODUCED,
    }
    assert found["verdict"].to_dict() == expected
    assert found.loc["corruptions", "effect"] < -0.9 and found.loc["corruptions", "high"] < 0
    assert found.loc["early units attack - corruption", "effect"] == pytest.approx(2, abs=0.3)
    assert (found["p_holm"] >= found["p"]).all() and found["p"].min() >= 2 / 10_000


def test_few_networks_or_few_alphas_are_not_testable(verdicts):
    assert set(verdicts(made_up().iloc[:6])["verdict"]) == {UNTESTABLE}
    assert set(verdicts(made_up().assign(alpha=0.0))["verdict"]) == {UNTESTABLE}
    assert set(verdicts(made_up().assign(corruptions=np.nan))["verdict"]) > {UNTESTABLE}


def test_an_attack_that_leaves_every_network_below_chance_tells_nothing(verdicts):
    table = made_up()
    beaten = verdicts(table.assign(**{"pgd 8": table["pgd 8"] - 1}))["verdict"]
    assert beaten["pgd 8"] == UNTESTABLE and beaten["pgd 2"] == NOT


def test_without_any_effect_a_verdict_is_seldom_reached(verdicts):
    generator = np.random.default_rng(1)
    wrong = 0
    for _ in range(6):
        table = made_up()
        numbers = [name for name in table if " " in name or name == "corruptions"]
        wrong += (verdicts(table.assign(**{n: generator.normal(size=30) for n in numbers}))["verdict"] != NOT).sum()
    assert wrong <= 1  # of 42


def test_a_store_without_the_stages_has_no_measures(tiny_store, tiny_run):
    assert published_directions.measures(tiny_store, tiny_run).empty
    assert set(published_directions.directions(tiny_store, tiny_run)["verdict"]) == {UNTESTABLE}
