"""The measures beside SI are what scikit-learn, scipy and paper say, on a trained network and on a hand-set one."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy import stats
from sklearn import metrics as reference

from selviz.cli import main
from selviz.errors import SelvizError
from selviz.networks.unit_network import UnitNetwork
from selviz.selectivity import index, other_measures
from selviz.selectivity.other_measures import METRICS, WITH_CLASS, Responses, agreement, best
from selviz.store import Store
from selviz.studies.unit_measures import class_groups, run_metrics
from selviz.testing.toy import ToyNetwork, toy_dataset

BY_CLASS = ("ccmas", *WITH_CLASS)


@pytest.fixture(scope="module")
def responses(tiny_store, tiny_run):
    """layer -> the responses of its units, [N, U], with the labels of ten classes."""
    labels = tiny_store.images(tiny_run)["label_index"].to_numpy()
    layers = tiny_store.layers(tiny_run)["layer"]
    return {layer: Responses(tiny_store.matrix(tiny_run, layer), labels, 10) for layer in layers}


def every_unit_and_class(responses):
    """(layer, unit, class, activations [N], whether an image is of the class [N])."""
    for layer, here in responses.items():
        for unit, values in enumerate(here.values):
            for label in range(here.classes):
                yield layer, unit, label, values, here.labels == label


@pytest.fixture(scope="module")
def toy_values():
    """Activations of layer `relu`, [12, 4], and the labels."""
    dataset = toy_dataset()
    _, layers = UnitNetwork(ToyNetwork().eval(), dataset.example).observe(dataset.inputs())
    return layers[0].detach().numpy(), dataset.eval_labels.numpy()


# --------------------------------------------------------------------------------------------- against other libraries


def test_the_tiny_run_has_many_units_with_ties(responses):
    zeros = np.concatenate([(here.values == 0).mean(axis=1) for here in responses.values()])
    assert ((zeros > 0.05) & (zeros < 1)).sum() >= 20, "else nothing here tests ties"


def test_auc_average_precision_and_informedness_agree_with_scikit_learn_for_every_unit_and_class(responses):
    found = {
        layer: [measure(here) for measure in (other_measures.auc, other_measures.average_precision)]
        for layer, here in responses.items()
    }
    informed = {layer: other_measures.informedness(here) for layer, here in responses.items()}
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for layer, unit, label, values, member in every_unit_and_class(responses):
            false, true, _ = reference.roc_curve(member, values)
            assert found[layer][0][label, unit] == pytest.approx(reference.auc(false, true), abs=1e-12)
            assert informed[layer][label, unit] == pytest.approx((true - false).max(), abs=1e-12)
            expected = reference.average_precision_score(member, values)
            assert found[layer][1][label, unit] == pytest.approx(expected, abs=1e-12)


def test_auc_is_the_mann_whitney_statistic_as_a_share_of_all_pairs(responses):
    for here in responses.values():
        found = other_measures.auc(here)
        for label in range(10):
            member = here.labels == label
            u = stats.mannwhitneyu(here.values[:, member], here.values[:, ~member], axis=1).statistic
            np.testing.assert_allclose(found[label], u / (member.sum() * (~member).sum()), rtol=1e-12)


def test_mutual_information_agrees_with_scikit_learn_on_the_same_bins(responses):
    for here in responses.values():
        found = other_measures.mutual_information(here)
        bins = np.minimum((10 * (stats.rankdata(here.values, axis=1) - 0.5) / here.images).astype(int), 9)
        expected = [reference.mutual_info_score(here.labels, row) / np.log(2) for row in bins]
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert found.min() >= 0 and found.max() <= np.log2(10)


def test_means_and_spreads_enter_as_numpy_computes_them(responses):
    found = {
        layer: {name: getattr(other_measures, name)(here) for name in ("ccmas", "d_prime", "localist")}
        for layer, here in responses.items()
    }
    for layer, unit, label, values, member in every_unit_and_class(responses):
        inside, rest = values[member].astype(float), values[~member].astype(float)
        if not values.any():
            expected = {"ccmas": 0, "d_prime": 0, "localist": 0}
        else:
            spread = np.sqrt((inside.var(ddof=1) + rest.var(ddof=1)) / 2)
            expected = {
                "ccmas": (inside.mean() - rest.mean()) / (inside.mean() + rest.mean()),
                "d_prime": (inside.mean() - rest.mean()) / spread,
                "localist": inside.min() - rest.max(),
            }
        for name, value in expected.items():
            assert found[layer][name][label, unit] == pytest.approx(value, rel=1e-6, abs=1e-9), (layer, unit, name)


def test_precision_is_the_mean_over_random_orders_of_equal_activations(responses):
    here = responses["relu4"]
    found, random = other_measures.precision(here), np.random.default_rng(0)
    np.testing.assert_allclose(found.sum(axis=0), 1)
    for unit in range(20):
        counts = np.zeros(10)
        for _ in range(200):
            order = np.lexsort((random.random(here.images), -here.values[unit]))[:100]
            counts += np.bincount(here.labels[order], minlength=10) / 100
        np.testing.assert_allclose(found[:, unit], counts / 200, atol=0.015)


def test_precision_looks_at_half_a_percent_of_many_images_and_at_a_hundred_of_few():
    for images, top in ((80, 80), (540, 100), (20_000, 100), (30_000, 150)):
        labels = np.arange(images) % 2
        values = np.zeros((images, 1))
        values[np.flatnonzero(labels == 1)[:20], 0] = 1  # twenty of the places, then ties
        expected = (20 + (top - 20) * (images // 2 - 20) / (images - 20)) / top
        assert other_measures.precision(Responses(values, labels, 2))[1, 0] == pytest.approx(expected)


def test_sparseness_is_that_of_the_class_means(responses):
    for here in responses.values():
        means = index.class_means(torch.from_numpy(here.values.T).double(), torch.from_numpy(here.labels), 10)[0]
        live = here.values.any(axis=1)
        expected = (1 - means.mean(dim=0) ** 2 / means.square().mean(dim=0)) / 0.9
        np.testing.assert_allclose(other_measures.sparseness(here)[live], expected.numpy()[live], atol=1e-12)


# -------------------------------------------------------------------------------------------------------- by hand


def test_the_toy_units_have_the_values_that_paper_gives(toy_values):
    """Unit 0 is 2 1 1 over the classes, unit 1 is 0 1 0, unit 2 is dead, unit 3 is 4 on all; four images a class."""
    table = other_measures.unit_metrics(*toy_values, classes=3)
    inf, third = np.inf, 1 / 3
    expected = {
        "ccmas": [third, 1, 0, 0],
        "precision": [third] * 4,  # all twelve images are looked at
        "localist": [1, 1, 0, 0],
        "localist_class": [0, 1, 0, 0],
        "auc": [1, 1, 0.5, 0.5],
        "auc_class": [0, 1, 0, 0],
        "average_precision": [1, 1, third, third],
        "informedness": [1, 1, 0, 0],
        "d_prime": [inf, inf, 0, 0],
        "mutual_information": [np.log2(3) - 2 / 3] * 2 + [0, 0],
        "sparseness": [(1 - (16 / 9) / 2) / (2 / 3), 1, 0, 0],
    }
    for name, values in expected.items():
        assert table[name].tolist() == pytest.approx(values, abs=1e-12), name
    assert list(table.columns) == ["unit", "ccmas", *[c for n in WITH_CLASS for c in (n, f"{n}_class")], *METRICS[-2:]]


def test_tied_activations_by_hand():
    """Class 1 at 3, 1, 0, class 0 at 2, 1, 1, 0: pairs won 4 + 2 + 0, tied 0 + 2 + 1, of twelve."""
    values, labels = np.array([[3, 1, 0, 2, 1, 1, 0.0]]).T, np.array([1, 1, 1, 0, 0, 0, 0])
    here = Responses(values, labels, 2)
    assert other_measures.auc(here)[:, 0] == pytest.approx([1 - 6.5 / 12, 6.5 / 12])
    assert other_measures.average_precision(here)[1, 0] == pytest.approx((1 / 1 + 2 / 5 + 3 / 7) / 3)
    assert other_measures.informedness(here)[1, 0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7])
def test_a_unit_that_never_changes_has_the_value_of_chance_and_no_nan(value):
    labels = np.repeat([0, 1, 2], [5, 3, 2])
    table = other_measures.unit_metrics(np.full((10, 2), value, dtype=np.float32), labels, 3)
    chance = {"precision": 0.5, "auc": 0.5, "average_precision": 0.5}
    for name in METRICS:
        assert table[name].tolist() == pytest.approx([chance.get(name, 0.0)] * 2, abs=1e-12), name


def test_signed_activations_have_ranks_and_spreads_like_any_other():
    random = np.random.default_rng(1)
    labels, shift = np.arange(300) % 3, np.array([-5.0, -2.0, 3.0])
    values = random.normal(size=(300, 4)).astype(np.float32)
    values[:, 0] += (labels == 2) * 4  # class 2 highest
    values[:, 1] = -np.abs(values[:, 1]) - (labels != 1)  # all negative, class 1 least so
    moved = Responses(values + shift.mean(), labels, 3)
    plain = Responses(values, labels, 3)
    for measure in (
        other_measures.auc,
        other_measures.average_precision,
        other_measures.informedness,
        other_measures.d_prime,
    ):
        np.testing.assert_allclose(measure(moved), measure(plain), atol=1e-4)  # where zero lies does not matter
        assert best(measure(plain))[1][:2].tolist() == [2, 1]
    table = other_measures.unit_metrics(values, labels, 3)
    assert np.isfinite(table.to_numpy()).all()
    assert table["sparseness"].max() <= 1.5  # 1 / (1 - 1/C) for means of both signs


def test_a_class_without_images_is_nan_and_never_the_best():
    random = np.random.default_rng(2)
    here = Responses(random.gamma(2, size=(60, 5)), np.arange(60) % 2 * 2, 4)
    for name in BY_CLASS:
        found = getattr(other_measures, name)(here)
        assert np.isnan(found[[1, 3]]).all() and np.isfinite(found[[0, 2]]).all()
        assert set(best(found)[1]) <= {0, 2}


@pytest.mark.parametrize(
    ("values", "labels"),
    [(np.ones((4, 2)), [0, 0, 0, 0]), (np.ones((4, 2)), [0, 1]), (np.full((2, 1), np.nan), [0, 1])],
)
def test_what_cannot_be_compared_is_refused(values, labels):
    with pytest.raises(ValueError, match="classes|labels|finite"):
        Responses(values, labels, 2)


def test_pieces_of_a_layer_give_the_same_table(responses, monkeypatch):
    here = responses["relu4"]
    whole = other_measures.unit_metrics(here.values.T, here.labels, 10)
    monkeypatch.setattr(other_measures, "PIECE", 7)
    pd.testing.assert_frame_equal(other_measures.unit_metrics(here.values.T, here.labels, 10), whole)


def test_superclass_selectivity_is_si_on_merged_labels(toy_values):
    """With b and c merged, unit 0 is 2 against 1 and unit 1 0 against 1/2; without c, unit 1 is 0 against 1."""
    values, labels = toy_values
    si, group, null = other_measures.superclass_selectivity(values, labels, [0, 1, 1])
    assert si.tolist() == pytest.approx([1 / 3, 1, 0, 0], abs=1e-6)
    assert group[:2].tolist() == [0, 1] and null.shape == (100, 4) and (null[:, 2] == 0).all()
    si, _, _ = other_measures.superclass_selectivity(values, labels, [1, 0, -1])
    assert si.tolist() == pytest.approx([1 / 3, 1, 0, 0], abs=1e-6)
    with pytest.raises(ValueError, match="two groups"):
        other_measures.superclass_selectivity(values, labels, [0, 0, -1])


# ------------------------------------------------------------------------------------------------------ agreement


def test_agreement_is_spearmans_correlation_within_each_layer_over_live_units(tiny_store, tiny_run, responses):
    table = pd.concat(
        [
            other_measures.unit_metrics(here.values.T, here.labels, 10).assign(
                layer=layer, dead=~here.values.any(axis=1), si=tiny_store.units(tiny_run, layer)["si"]
            )
            for layer, here in responses.items()
        ]
    )
    found = agreement(table)
    assert list(found) == ["relu1", "relu2", "relu3", "relu4"]
    for layer, matrix in found.items():
        live = table[(table["layer"] == layer) & ~table["dead"]]
        assert matrix.attrs["units"] == len(live)
        expected = stats.spearmanr(live[["si", *METRICS]].to_numpy()).statistic
        np.testing.assert_allclose(matrix.to_numpy(), expected, atol=1e-12)


def test_agreement_keeps_infinite_values_and_has_nan_for_a_metric_that_does_not_vary():
    table = pd.DataFrame({"layer": "a", "si": [1.0, 2, 3], "d_prime": [0, 5, np.inf], "auc": 0.5})
    matrix = agreement(table)["a"]
    assert matrix.loc["si", "d_prime"] == pytest.approx(1) and np.isnan(matrix.loc["si", "auc"])


# ------------------------------------------------------------------------------------------------------ stored


@pytest.fixture
def own_store(tiny_store, tmp_path):
    shutil.copytree(tiny_store.path, tmp_path / "data")
    return Store(tmp_path / "data")


def test_metrics_of_a_run_are_stored_resume_and_are_read_as_table_and_as_view(own_store, tiny_run, responses):
    folder = own_store.run_path(tiny_run)
    with pytest.raises(SelvizError, match=f"selviz metrics {tiny_run}"):
        own_store.unit_metrics(tiny_run)

    class Killed(BaseException):
        pass

    def kill(news):
        if news["layer"] == "relu3":
            raise Killed

    with pytest.raises(Killed):
        run_metrics(own_store, tiny_run, report=kill)
    parts = list((folder / "partial").glob("unit_metrics-*.npz"))
    assert len(parts) == 3
    table = run_metrics(own_store, tiny_run)
    assert not list((folder / "partial").glob("unit_metrics-*"))
    assert len(table) == 144 and table["superclass_si"].isna().all()
    for layer, here in responses.items():
        expected = other_measures.unit_metrics(here.values.T, here.labels, 10)
        part = own_store.unit_metrics(tiny_run, layer)
        np.testing.assert_allclose(part[list(METRICS)].to_numpy(), expected[list(METRICS)].to_numpy(), rtol=1e-12)
        assert part["auc_index"].tolist() == expected["auc_class"].tolist()
        assert part["auc_class"].tolist() == [str(label) for label in expected["auc_class"]]
    units = own_store.units(tiny_run)
    assert table["si"].tolist() == units["si"].tolist()
    assert table["ccmas_class"].tolist() == units["preferred_class"].tolist()
    found = own_store.sql("select layer, unit, precision, auc from unit_metrics where layer = 'relu2' order by unit")
    assert found["precision"].tolist() == own_store.unit_metrics(tiny_run, "relu2")["precision"].tolist()
    exported = own_store.export(tiny_run, "unit_metrics").decode()
    assert exported.count("\n") == 145


def test_a_finished_stage_is_kept_until_the_superclasses_change(own_store, tiny_run):
    file = own_store.run_path(tiny_run) / "unit_metrics.duckdb"
    run_metrics(own_store, tiny_run)
    written = file.stat().st_mtime_ns
    run_metrics(own_store, tiny_run)
    assert file.stat().st_mtime_ns == written
    parts = {"even": list("02468"), "odd": list("13579")}
    table = run_metrics(own_store, tiny_run, parts)
    values = torch.from_numpy(own_store.matrix(tiny_run, "relu4").copy()).double()
    labels = torch.from_numpy(own_store.images(tiny_run)["label_index"].to_numpy(dtype="int64")) % 2
    expected = index.index(*index.class_means(values, labels, 2))
    here = table[table["layer"] == "relu4"]
    np.testing.assert_allclose(here["superclass_si"], expected.numpy(), rtol=1e-12)
    assert set(here["superclass"]) == {"even", "odd"}
    assert (here["superclass_null_mean"] <= here["superclass_null_p95"]).all()
    pd.testing.assert_frame_equal(run_metrics(own_store, tiny_run), table)  # asked without, it stays


@pytest.mark.parametrize(
    ("superclasses", "sentence"),
    [
        ({"a": ["0"], "b": ["cat"]}, "Unknown class 'cat'"),
        ({"a": ["0", "1"], "b": ["1"]}, "in two superclasses"),
        ({"a": ["0", "1"]}, "at least two"),
        ({"a": ["0", "1"], "b": []}, "at least two"),
    ],
)
def test_superclasses_that_make_no_sense_are_one_sentence(superclasses, sentence):
    with pytest.raises(SelvizError, match=sentence):
        class_groups(superclasses, list("0123"))


def test_the_command_lists_units_and_correlations(own_store, tiny_run, capsys):
    where = ["--json", "--data", str(own_store.path)]
    options = [
        "--layer",
        "relu4",
        "--sort",
        "auc",
        "--limit",
        "3",
        "--superclass",
        "low=0,1,2",
        "--superclass",
        "high=7,8",
    ]
    assert main(["metrics", tiny_run, *options, *where]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 3 and {"layer", "unit", "si", *METRICS, "superclass_si"} <= set(rows[0])
    assert [row["auc"] for row in rows] == sorted(own_store.unit_metrics(tiny_run, "relu4")["auc"], reverse=True)[:3]
    assert main(["metrics", tiny_run, "--layer", "relu4", "--agreement", *where]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["relu4"]["si"]["si"] == 1 and -1 <= found["relu4"]["si"]["d_prime"] <= 1
    assert main(["metrics", tiny_run, "--agreement", "--data", str(own_store.path)]) == 0
    assert "live units" in capsys.readouterr().out
    for wrong, sentence in ((["--sort", "acu"], "'auc'"), (["--superclass", "even"], "NAME=CLASS,CLASS")):
        assert main(["metrics", tiny_run, *wrong, *where]) == 2
        assert sentence in capsys.readouterr().err
