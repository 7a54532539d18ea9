"""Whoever rewrites what a claim reads: each file, each number, before registration, after it, and during the test."""

import hashlib
import json
import shutil

import duckdb
import numpy as np
import pytest

from selviz.config import RunConfig, run_name
from selviz.errors import SelvizError
from selviz.hypotheses import claim_families, registry, run_identity
from selviz.hypotheses.report import html_report
from selviz.runs.train import train_run
from selviz.store import Store, read_chain, read_json, write_json
from selviz.store.stage_files import make_record, record, record_path
from selviz.testing.toy import WIDE, wide_known


def name(kind: str, alpha: float = 0, seed: int = 0) -> str:
    return run_name(RunConfig(WIDE, f"wide-{kind}", alpha=alpha, seed=seed, epochs=0))


S = name("selective")
OWN = """
claim: Selective units are less active.
table: {table}
runs: [{run}]
where: {{layer: relu}}
independent: unit
measure: {measure}
with: unit
statistic: rank correlation
direction: positive
smallest: 0.1
"""


@pytest.fixture
def wide(tmp_path):
    """A store with one hand-set network."""
    with wide_known():
        store = Store(tmp_path / "store")
        train_run(store, RunConfig(WIDE, "wide-selective", epochs=0))
        yield store


def rewritten(store: Store, stage: str, statement: str, with_record: bool = True) -> None:
    """Change numbers of a stored stage; with its record, the file's checksum fits again."""
    file = store.run_path(S) / f"{stage}.duckdb"
    known = record(file)
    connection = duckdb.connect(str(file))
    connection.execute(statement)
    connection.close()
    if with_record:
        write_json(record_path(file), make_record(file, stage, known["rows"], known.get("provenance", {})))


def single(store: Store) -> str:
    return registry.register(store, "single", {"run": S, "layer": "relu", "class": "b"})["hypothesis"]


@pytest.mark.parametrize(
    ("stage", "statement"),
    [("capture", "UPDATE images SET prediction = 0 WHERE image = 1"), ("metrics", "UPDATE units SET si = 0.5")],
)
def test_a_stage_that_is_not_what_was_written_is_refused_at_registration(wide, stage, statement):
    rewritten(wide, stage, statement, with_record=False)
    with pytest.raises(SelvizError, match=f"{stage}.duckdb.* is (not what was written|damaged)"):
        single(wide)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE activations SET value = 5 WHERE layer = 0 AND unit = 1 AND image > 100", "other activations of relu"),
        ("UPDATE images SET prediction = 0 WHERE fold = 2", "other predictions than the network"),
        ("UPDATE images SET label = 1 WHERE image = 170", "other labels than the data set"),
        ("UPDATE images SET fold = 1 - fold WHERE fold < 2", "other folds than selviz does"),
    ],
)
def test_numbers_rewritten_with_a_checksum_that_fits_are_not_those_of_the_network(wide, statement, told):
    # ... and with a summary that fits what is stored now.
    rewritten(wide, "capture", statement)
    path = wide.run_path(S) / "summary.json"
    images = wide.images(S)
    accuracy = float((images["label_index"] == images["prediction_index"]).mean())
    write_json(path, {**read_json(path), "test_accuracy": accuracy})
    key = single(wide)
    with pytest.raises(SelvizError, match=f"cannot be tested: .*{told}.*it was rewritten"):
        registry.run_test(wide, key)
    assert [r["kind"] for r in read_chain(wide.path).records] == ["registered"]


def test_measures_rewritten_with_a_checksum_that_fits_are_not_those_of_the_activations(wide):
    rewritten(wide, "metrics", "UPDATE units SET mean_activation = unit WHERE layer = 0")
    key = registry.register(wide, "own", {"yaml": OWN.format(run=S, table="units", measure="mean_activation")})
    with pytest.raises(SelvizError, match="metrics.duckdb of run .* does not fit the stored activations .mean_activ"):
        registry.run_test(wide, key["hypothesis"])


def test_what_was_compared_with_the_network_stands_in_the_result(wide):
    (told,) = registry.run_test(wide, single(wide))["compared"]
    assert told == f"{S}: labels and folds of 180 images, predictions and activations of 180"
    page = html_report(wide, registry.ledger(wide)["hypothesis"][0])
    assert "compared with the network before the test" in page and told in page


def test_a_claim_of_ones_own_covers_every_stage_that_its_table_is_read_from(wide):
    from selviz.studies.ablation import run_atlas

    run_atlas(wide, S)
    asked = {"yaml": OWN.format(run=S, table="atlas", measure="loss_change")}
    registered = registry.register(wide, "own", asked)
    assert set(registered["runs"][0]["files"]) >= {"atlas.duckdb", "capture.duckdb", "metrics.duckdb", "config.json"}
    rewritten(wide, "atlas", "UPDATE atlas SET loss_change = unit")
    with pytest.raises(SelvizError, match="atlas.duckdb of run .* were changed after registration"):
        registry.run_test(wide, registered["hypothesis"])
    rewritten(wide, "atlas", "UPDATE atlas SET loss_change = -1.0 * unit", with_record=False)
    with pytest.raises(SelvizError, match="atlas.duckdb of run .* is not what was written"):
        registry.preview(wide, "own", asked)


def test_class_names_are_read_from_the_images_so_they_are_covered_as_well(wide):
    text = OWN.format(run=S, table="class_means", measure="mean").replace("layer: relu", "layer: relu, class: b")
    registered = registry.register(wide, "own", {"yaml": text})
    assert "images.duckdb" in registered["runs"][0]["files"]
    file = wide.path / "images" / wide.run(S)["fingerprint"] / "images.duckdb"
    known = record(file)
    connection = duckdb.connect(str(file))
    connection.execute("UPDATE classes SET name = CASE name WHEN 'a' THEN 'b' WHEN 'b' THEN 'a' ELSE name END")
    connection.close()
    write_json(record_path(file), make_record(file, "images", known["rows"], {}))
    with pytest.raises(SelvizError, match="images.duckdb of run .* were changed after registration"):
        registry.run_test(wide, registered["hypothesis"])


def test_a_claim_on_stored_rows_of_networks_that_are_there_is_exploratory_even_where_the_rows_are_not(wide):
    found = registry.preview(wide, "own", {"yaml": OWN.format(run=S, table="atlas", measure="loss_change")})
    assert found["stored"] == [] and not found["confirmatory"]
    assert "its networks were in the store, and the images that it measures are not sealed" in found["why"]


def test_another_network_put_in_place_while_a_test_was_interrupted_is_named(wide):
    for seed in range(3):
        train_run(wide, RunConfig(WIDE, "wide-selective", seed=seed, epochs=0))
    asked = {"run": S, "alpha": 2, "claim": "no cost", "seeds": "0-2"}
    key = registry.register(wide, "alpha", asked)["hypothesis"]
    for seed in range(3):
        train_run(wide, RunConfig(WIDE, "wide-selective", alpha=2, seed=seed, epochs=0))

    class Stopped(BaseException):
        pass

    def stop(progress):
        raise Stopped

    with pytest.raises(Stopped):
        registry.run_test(wide, key, stop)
    shutil.rmtree(wide.path / "hypotheses" / "partial" / key)  # whoever deletes what was found so far gains nothing
    again = name("selective", 2, 1)
    shutil.rmtree(wide.run_path(again))
    train_run(wide, RunConfig(WIDE, "wide-selective", alpha=2, seed=1, epochs=0))
    with pytest.raises(SelvizError, match=f"run {again} was changed after its test was begun"):
        registry.run_test(wide, key)


def test_a_config_that_was_rewritten_is_refused(wide):
    path = wide.run_path(S) / "config.json"
    text = json.loads(path.read_text())
    key = single(wide)
    path.write_text(json.dumps({**text, "alpha": 5}))
    with pytest.raises(SelvizError, match="config.json.*(damaged|changed)"):
        registry.run_test(wide, key)


def test_records_in_another_order_do_not_hold_together(wide):
    keys = [single(wide), registry.register(wide, "selective", {"run": S, "layer": "relu", "k": 3})["hypothesis"]]
    first, second = (wide.path / "hypotheses" / f"{number:06d}.json" for number in (1, 2))
    kept = first.read_text()
    first.write_text(second.read_text())
    second.write_text(kept)
    problems = read_chain(wide.path).problems
    assert any("is the record number 2 under another name" in problem for problem in problems)
    with pytest.raises(SelvizError, match="do not hold together"):
        registry.run_test(wide, keys[0])


def copied(store: Store, seed: int, change) -> str:
    """A network under the name of another seed, its weights changed a little."""
    from safetensors.numpy import load_file, save_file

    run = name("selective", 0, seed)
    train_run(store, RunConfig(WIDE, "wide-selective", seed=seed, epochs=0))
    weights = load_file(store.run_path(S) / "weights.safetensors")
    path = store.run_path(run) / "weights.safetensors"
    save_file(change(weights), path, metadata={"note": "another one"})
    summary = store.run_path(run) / "summary.json"
    known = read_json(summary)
    write_json(summary, {**known, "files": {"weights.safetensors": hashlib.sha256(path.read_bytes()).hexdigest()}})
    return run


def one_bit(weights):
    weights["conv.bias"].view(np.int32)[7] ^= 1 << 12
    return weights


def other_order(weights):
    order = np.random.default_rng(0).permutation(96)
    moved = {"conv.weight": weights["conv.weight"][order], "conv.bias": weights["conv.bias"][order]}
    return weights | moved | {"dense.weight": np.ascontiguousarray(weights["dense.weight"][:, order])}


@pytest.mark.parametrize("change", [dict, one_bit, other_order])
def test_a_network_copied_with_a_bit_changed_or_its_units_in_another_order_is_the_same_network(wide, change):
    copy = copied(wide, 1, change)
    with pytest.raises(SelvizError, match="equal weights .but for rounding or the order of units."):
        registry.preview(wide, "replicates", {"run": S, "unit": "relu:0", "runs": copy})


def test_a_claim_on_a_copy_of_a_network_counts_with_those_on_the_network(wide):
    asked = {"layer": "relu", "class": "b"}
    first = registry.register(wide, "single", {"run": S, **asked})
    registry.run_test(wide, first["hypothesis"])
    copy = copied(wide, 1, one_bit)
    found = registry.register(wide, "single", {"run": copy, **asked})
    assert found["runs"][0]["like"] == first["runs"][0]["network"]
    assert not found["confirmatory"] and "sealed fold was opened once by claims about the same quantity" in found["why"]
    assert registry.ledger(wide)["like_it"].tolist() == [2, 2]


def test_networks_of_other_seeds_are_other_networks():
    import torch

    sketches = []
    for seed in range(4):
        torch.manual_seed(seed)
        sketches.append(run_identity.sketch([torch.nn.Linear(300, 40).weight.detach().numpy(), np.ones(40, "f4")]))
    for place, one in enumerate(sketches):
        assert run_identity.nearly_equal(one, one)
        assert not any(run_identity.nearly_equal(one, other) for other in sketches[:place])


def test_the_same_claim_with_other_seeds_is_another_try_of_it(wide):
    for seed in range(3):
        train_run(wide, RunConfig(WIDE, "wide-selective", seed=seed, epochs=0))
    asked = {"run": S, "alpha": 2, "claim": "cost"}
    for seeds in ("10-12", "20-22", "30-32"):
        found = registry.register(wide, "alpha", {**asked, "seeds": seeds})
    assert found["confirmatory"] and registry.ledger(wide)["like_it"].tolist() == [3, 3, 3]
    registry.register(wide, "alpha", {**asked, "alpha": 3, "seeds": "10-12"})  # shares the baseline's networks
    assert registry.ledger(wide)["like_it"].tolist() == [4, 3, 3, 2]


def test_a_claim_registered_again_with_a_slightly_other_threshold_is_no_second_confirmation(wide):
    asked = {"run": S, "unit": "relu:1", "class": "b"}
    first = registry.register(wide, "necessary", {**asked, "smallest": 0.1})["hypothesis"]
    registry.run_test(wide, first)
    again = registry.register(wide, "necessary", {**asked, "smallest": 0.0999})
    assert not again["confirmatory"] and again["repeats"] == first


def test_a_sealed_fold_that_the_same_network_shows_under_another_name_is_not_sealed(tmp_path):
    from selviz.runs.train import train_run

    store = Store(tmp_path)
    few = train_run(store, RunConfig("digits", "cnn", epochs=0, max_images=300))["run"]  # the last 100 are sealed
    asked = {"run": few, "layer": "relu4", "k": 3}
    assert registry.preview(store, "selective", asked)["confirmatory"]
    train_run(store, RunConfig("digits", "cnn", epochs=0, seed=1))  # another network shows nothing of this one
    assert registry.preview(store, "selective", asked)["confirmatory"]
    everything = train_run(store, RunConfig("digits", "cnn", epochs=0))["run"]  # ... and are shown here
    found = registry.preview(store, "selective", asked)
    assert not found["confirmatory"]
    assert f"{everything} is the same network as {few} and shows images that are sealed in it" in found["why"]
    assert registry.preview(store, "selective", {**asked, "run": everything})["confirmatory"]


def test_registering_reads_no_outcome_of_the_sealed_fold(wide, monkeypatch):
    def refuse(*_):
        raise AssertionError("the sealed activations were read before a test was begun")

    monkeypatch.setattr(Store, "sealed_matrix", refuse)
    class_b = {"run": S, "layer": "relu", "class": "b"}
    unit = {"run": S, "unit": "relu:1"}
    for template, asked in (
        ("necessary", {**unit, "class": "b"}),
        ("necessary_units", {**class_b, "units": "1", "draws": 99}),
        ("sufficient", {**class_b, "units": "1"}),
        ("selective", {"run": S, "layer": "relu", "k": 3}),
        ("predicts", {"run": S, "layer": "relu"}),
        ("single", class_b),
        ("map", {**unit, "images": 20, "method": "gradient_x_input"}),
    ):
        assert registry.preview(wide, template, asked)["settings"]["fold"] == 2


def test_networks_that_were_trained_for_a_test_are_known_afterwards_under_any_name_and_when_deleted(wide, tmp_path):
    for seed in range(3):
        train_run(wide, RunConfig(WIDE, "wide-selective", seed=seed, epochs=0))
    asked = {"run": S, "alpha": 2, "claim": "no cost", "seeds": "0-2"}
    key = registry.register(wide, "alpha", asked)["hypothesis"]
    for seed in range(3):
        train_run(wide, RunConfig(WIDE, "wide-selective", alpha=2, seed=seed, epochs=0))
    registry.run_test(wide, key)
    trained = name("selective", 2, 1)
    wide.unpack(wide.pack(trained, tmp_path / "run.zip"), "a-copy")
    first = claim_families.networks(registry.preview(wide, "single", {"run": trained, "layer": "relu", "class": "b"}))
    copy = claim_families.networks(registry.preview(wide, "single", {"run": "a-copy", "layer": "relu", "class": "b"}))
    known = claim_families.networks(claim_families.registrations(read_chain(wide.path).records)[0])
    assert known & first and known & copy
    shutil.rmtree(wide.run_path(trained))
    found = registry.preview(wide, "alpha", {"run": S, "alpha": 2, "claim": "cost", "seeds": "1,8,9"})
    assert f"run {trained} was in the store before" in found["why"] and not found["confirmatory"]
