"""Distances to baselines and best linear maps of stored runs: what is stored, resumed, refused; `selviz basis`."""

import json

import pandas as pd
import pytest

from selviz.cli import main
from selviz.config import RunConfig
from selviz.errors import SelvizError
from selviz.runs import families
from selviz.runs.background_jobs import Stopped
from selviz.runs.train import train_run
from selviz.store import Store
from selviz.studies import basis

MAPS = {"restarts": 5, "steps": 3, "images": 200}


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """A store with three baselines, alpha -1 with the seed of one of them, and an untrained network."""
    store = Store(tmp_path_factory.mktemp("family"))
    for seed in range(3):
        train_run(store, RunConfig("digits", "cnn", seed=seed, epochs=1))
    train_run(store, RunConfig("digits", "cnn", alpha=-1, seed=0, epochs=1))
    train_run(store, RunConfig("digits", "cnn", epochs=0))
    return store


def named(store, **settings) -> list[str]:
    table = store.runs()
    for name, value in settings.items():
        table = table[table[name] == value]
    return sorted(table["run"])


def test_a_run_stands_beside_all_pairs_of_baselines_without_that_of_its_own_seed(family):
    (suppressed,) = named(family, alpha=-1)
    baselines = basis.baselines_of(family, suppressed)
    assert baselines == named(family, alpha=0, epochs=1)
    found = basis.run_similarity(family, [suppressed], baselines, images=200)
    assert len(found) == 4 * 4
    assert set(found["null_pairs"]) == {6}
    row = found[found["run"] == suppressed].set_index("layer").loc["relu4"]
    assert row["compared"] == 2
    pairs = family.similarity(suppressed)
    assert len(pairs) == 4 * 3
    others = pairs[(pairs["layer"] == "relu4") & (pairs["other"] != named(family, alpha=0, seed=0, epochs=1)[0])]
    assert row["pwcca"] == pytest.approx(others["pwcca"].mean())
    assert 0 < row["null_low"] <= row["null_pwcca"] <= row["null_high"] < 1
    assert row["ratio"] == pytest.approx(row["pwcca"] / row["null_pwcca"])
    assert set(pairs.loc[pairs["layer"] == "relu1", "rows"]) == {200 * 16}
    own = pairs[pairs["other"] != others["other"].iloc[0]]
    assert own["pwcca"].min() < others["pwcca"].min()  # one seed, one start: left out because it stays near


def test_what_is_stored_is_not_computed_again_and_a_later_baseline_is_added(family, monkeypatch):
    (suppressed,) = named(family, alpha=-1)
    baselines = basis.baselines_of(family, suppressed)
    first = basis.run_similarity(family, [suppressed], baselines, images=200)
    news = []
    again = basis.run_similarity(family, [suppressed], baselines, images=200, report=news.append)
    assert news == []
    assert again.equals(first)
    (untrained,) = named(family, epochs=0)
    more = basis.run_similarity(family, [suppressed], [*baselines[1:], untrained], images=200, report=news.append)
    assert {entry["run"] for entry in news} == {suppressed, untrained, *baselines[1:]}
    assert set(family.similarity(suppressed)["other"]) == {*baselines, untrained}
    assert set(more["null_pairs"]) == {6}


def test_a_search_that_was_cut_off_goes_on_where_it_was(family):
    (suppressed,) = named(family, alpha=-1)

    def stop(news):
        if news["layer"] == "relu2":
            raise Stopped

    with pytest.raises(Stopped):
        basis.run_linear_maps(family, suppressed, **MAPS, report=stop)
    kept = sorted((family.run_path(suppressed) / "partial").glob("linear_maps-*.npz"))
    assert len(kept) == 2
    written = [path.stat().st_mtime_ns for path in kept]
    calls = []

    def watch(news):
        calls.append(news["layer"])
        if len(calls) == 4:
            assert [path.stat().st_mtime_ns for path in kept] == written

    maps = basis.run_linear_maps(family, suppressed, **MAPS, report=watch)
    assert calls == ["relu1", "relu2", "relu3", "relu4"]
    assert not any(path.exists() for path in kept)
    assert maps.groupby("basis").size().to_dict() == {"found": 20, "rotation": 80, "units": 4}
    assert maps.groupby("layer")["chosen"].sum().tolist() == [1] * 4
    assert basis.run_linear_maps(family, suppressed, **MAPS, report=calls.append).equals(maps)
    assert len(calls) == 4
    told = basis.map_summary(maps)
    assert told["layer"].tolist() == ["relu1", "relu2", "relu3", "relu4"]
    assert set(told["rotations"]) == {20}


def test_two_baselines_are_refused_and_so_are_three_of_two_seeds_and_too_few_restarts(family):
    (suppressed,), (untrained,) = named(family, alpha=-1), named(family, epochs=0)
    baselines = basis.baselines_of(family, suppressed)
    for few in (baselines[:2], [baselines[0], baselines[1], untrained]):
        with pytest.raises(SelvizError, match="at least 3 baselines of different seeds, and there are 2"):
            basis.run_similarity(family, [suppressed], few)
    with pytest.raises(SelvizError, match="at least 5 restarts"):
        basis.run_linear_maps(family, suppressed, restarts=4)


def test_the_command_prints_the_same_table_and_says_why_there_is_no_null(family, capsys):
    (suppressed,) = named(family, alpha=-1)
    options = ["--data", str(family.path), "--images", "200", "--restarts", "5", "--steps", "3"]
    assert main(["basis", suppressed[:12], *options, "--json"]) == 2
    assert "runs begin with" in capsys.readouterr().err
    assert main(["basis", suppressed, *options, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["baselines"] == basis.baselines_of(family, suppressed)
    rows = {(row["run"], row["layer"]): row for row in result["layers"]}
    assert len(rows) == 16
    row = rows[suppressed, "relu4"]
    assert row["alpha"] == -1
    assert 0 <= row["unit_si"] <= 1 and 0 <= row["found_si"] <= 1 and row["ratio"] > 0 and row["cka"] <= 1
    (untrained,) = named(family, epochs=0)
    assert main(["basis", untrained, *options]) == 0
    told = capsys.readouterr()
    assert "no PWCCA: The null needs at least 3 baselines of different seeds, and there is 1" in told.err
    assert "found_si" in told.out and "ratio" not in told.out
    assert main(["basis", suppressed, "--baseline", f"{suppressed},{untrained}", *options]) == 2


def test_runs_of_a_family_differ_by_alpha_and_seed_and_share_the_baselines_of_families_with_another_penalty(family):
    table = family.runs()
    (suppressed,) = named(family, alpha=-1)
    assert sorted(families.siblings(table, suppressed)["run"]) == sorted(
        [suppressed, *named(family, alpha=0, epochs=1)]
    )
    assert families.siblings(table, named(family, epochs=0)[0])["run"].tolist() == named(family, epochs=0)
    shuffled = table[table["run"] == suppressed].assign(run="shuffled", penalty_labels="shuffled")

    both = pd.concat([table, shuffled], ignore_index=True)
    assert "shuffled" not in families.siblings(both, suppressed)["run"].tolist()
    assert families.siblings(both, "shuffled")["alpha"].tolist() == [-1, 0, 0, 0]
    assert "shuffled" not in families.siblings(both, basis.baselines_of(family, suppressed)[0])["run"].tolist()


def test_numbers_by_alpha_have_an_interval_from_three_seeds_on(family):
    found = families.by_alpha(family.runs().query("epochs == 1"), "test_accuracy").set_index("alpha")
    assert found["n"].to_dict() == {-1: 1, 0: 3}
    assert found["kind"].to_dict() == {-1: "", 0: "t"}
    assert found.loc[0, "low"] <= found.loc[0, "mean"] <= found.loc[0, "high"]
    assert found.loc[[-1], ["low", "high"]].isna().all(axis=None)
