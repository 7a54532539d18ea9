"""Tricks that once ended in "supported" for a claim that is false, empty or already seen: each gets the honest
answer.
"""

import json
import math
import sys

import numpy as np
import pytest
import torch

from selviz import statistics
from selviz.ablation import Matching
from selviz.attribution.faithfulness import STEPS, deletion_areas, pixel_curves
from selviz.cli import main
from selviz.config import RunConfig, run_name
from selviz.errors import SelvizError
from selviz.hypotheses import claim_families, registry, run_identity
from selviz.hypotheses.decision import OPEN, REFUTED, SMALLER, SUPPORTED, decide
from selviz.hypotheses.power import power
from selviz.hypotheses.report import markdown_report
from selviz.hypotheses.templates import TEMPLATES
from selviz.hypotheses.templates import map as map_template
from selviz.runs.load import open_engine
from selviz.runs.train import train_run
from selviz.store import Store, append, read_chain, read_json, write_json
from selviz.store.ledger import record_hash
from selviz.testing.toy import WIDE, wide_known

COMMON = {"level": 0.05, "permutations": 199, "seed": 0, "class_index": 0}


def name(kind: str, alpha: float = 0, seed: int = 0) -> str:
    return run_name(RunConfig(WIDE, f"wide-{kind}", alpha=alpha, seed=seed, epochs=0))


S = name("selective")


@pytest.fixture
def wide(tmp_path):
    """A store of three hand-set networks that differ in their seed."""
    with wide_known():
        store = Store(tmp_path / "store")
        for seed in range(3):
            train_run(store, RunConfig(WIDE, "wide-selective", seed=seed, epochs=0))
        yield store


def lost(share: float, images: int) -> np.ndarray:
    return (np.arange(images) < round(share * images)).astype(float)


# ------------------------------------------------------------------------------- a supported claim supports its
# sentence


@pytest.mark.parametrize(
    ("share", "smallest", "verdict"),
    [(0.10, 0.10, SMALLER), (0.30, 0.10, SUPPORTED), (0.02, 0.10, REFUTED), (0.02, 0.02, OPEN)],
)
def test_a_drop_is_supported_only_if_its_whole_interval_lies_above_the_smallest_that_matters(share, smallest, verdict):
    images = 120
    settings = {**COMMON, "smallest": smallest, "sets": {"random": 99}}
    labels = np.repeat([0, 1], images)
    units = np.concatenate([lost(share, images), np.zeros(images)])
    sample = {"units": units, "random": np.zeros((99, 2 * images)), "labels": labels}
    parts = TEMPLATES["necessary_units"].judge(sample, settings)
    assert decide(parts, 0.05)[0] == verdict, parts


def test_with_exactly_the_smallest_effect_that_matters_power_is_below_the_level():
    settings = {**COMMON, "smallest": 0.2, "direction": "positive"}
    found = power("predicts", settings, {"sizes": [60, 60], "assumed": False}, draws=300, effect=0.2)
    assert found["power"] <= 0.05
    assert found["curve"][0] == {"effect": 0.2, "power": pytest.approx(found["power"], abs=0.06)}


def test_a_sealed_third_costs_power_and_the_registration_says_how_much(wide):
    found = registry.preview(wide, "necessary", {"run": S, "unit": "relu:1", "class": "b"})["power"]
    assert found["two_folds"] >= found["power"] - 0.1 and found["effect"] == 0.2


# ------------------------------------------------------------------------------------------------------ the sealed fold


def test_nothing_but_the_test_of_a_claim_shows_an_outcome_of_the_sealed_fold(wide, capsys):
    run, sealed = S, set(wide.sealed_images(S)["image"])
    assert len(sealed) == 60 and not sealed & set(wide.images(run)["image"])
    assert len(wide.matrix(run, "relu")) == 120 == len(wide.activations(run, "relu", 0))
    for view in ("images", "activations"):
        table = wide.sql(f"select distinct image from {view}")
        assert not sealed & set(table["image"]) and len(table) == 120
        rows = json.loads(wide.export(run, view, format="json"))
        assert sealed.isdisjoint(row["image"] for row in rows)
    assert wide.run(run)["images"] == 120 and wide.run(run)["sealed_images"] == 60
    assert len(open_engine(wide, run).labels) == 120
    with pytest.raises(SelvizError, match="Fold 2 is sealed"):
        open_engine(wide, run, 2)
    assert main(["ablate", run, "--units", "relu:1", "--fold", "2", "--data", str(wide.path)]) == 2
    assert "invalid choice" in capsys.readouterr().err


def test_a_claim_on_what_a_visitor_has_just_looked_at_is_tested_on_images_that_nobody_saw(wide):
    registered = registry.register(wide, "necessary", {"run": S, "unit": "relu:1", "class": "b"})
    assert registered["confirmatory"] and registered["settings"]["fold"] == 2
    registry.run_test(wide, registered["hypothesis"])
    begun = next(record for record in read_chain(wide.path).records if record["kind"] == "begun")
    assert begun["opens_fold"] == 2


def test_a_run_without_a_sealed_fold_keeps_working_and_its_claims_are_exploratory(tmp_path, monkeypatch):
    from selviz.datasets import dataset

    with wide_known():
        store = Store(tmp_path)
        old = RunConfig(WIDE, "wide-selective", epochs=0)
        from selviz.testing import toy

        monkeypatch.setitem(
            __import__("selviz.datasets", fromlist=["DATASETS"]).DATASETS,
            WIDE,
            lambda: toy.wide_dataset().with_sealed(0),
        )
        train_run(store, old)
        assert dataset and len(store.images(S)) == 180 and store.sealed_images(S).empty
        found = registry.preview(store, "necessary", {"run": S, "unit": "relu:1", "class": "b"})
    assert (found["confirmatory"], found["settings"]["fold"]) == (False, 1)
    assert found["why"] == "this run has no sealed fold, so these images could be looked at"


# ------------------------------------------------------------------------------------------------- shopping and
# stopping


def test_claims_like_one_another_are_counted_whether_or_not_a_study_was_named(wide):
    asked = {"run": S, "unit": "relu:1", "class": "b"}
    keys = [registry.register(wide, "necessary", {**asked, "controls": n})["hypothesis"] for n in (39, 38, 37)]
    other = registry.register(wide, "selective", {"run": S, "layer": "relu", "k": 3})["hypothesis"]
    registry.run_test(wide, keys[0])
    registry.abandon(wide, keys[1], "did not fit")
    registry.run_test(wide, other)
    records = read_chain(wide.path).records
    family = claim_families.family_of(records, registry.find(wide, keys[0])[0])
    assert (family.registered, family.tested, family.abandoned, family.repeats) == (4, 2, 1, 2)
    from statsmodels.stats.multitest import multipletests

    p = [registry.find(wide, key)[1]["p"] for key in (keys[0], other)]
    assert family.holm == pytest.approx(multipletests(p, method="holm")[1][0])
    assert family.bh == pytest.approx(multipletests(p, method="fdr_bh")[1][0])
    page = markdown_report(wide, keys[0])
    assert "4 claims of this store are about the same quantity" in page and "2 of them repeat this very claim" in page
    row = registry.ledger(wide).set_index("hypothesis").loc[keys[0]]
    assert (row["like_it"], row["repeats"], row["verdict_holm"]) == (4, 2, family.verdict_holm)


def test_forty_two_claims_of_which_a_few_come_out_by_luck_are_not_supported_together():
    record = {"template": "selective", "settings": {"run": "a", "fold": 2}, "runs": [{"run": "a"}], "level": 0.05}
    records = []
    for number in range(42):
        key, p = f"{number:010d}", 0.02 if number < 3 else 0.4
        part = {"p": p, "p_smallest": p, "boundary": 0.0, "margin": 0.1}
        verdict = SUPPORTED if number < 3 else OPEN
        records += [
            {**record, "kind": "registered", "hash": key},
            {"kind": "begun", "hypothesis": key},
            {"kind": "result", "hypothesis": key, "p": p, "verdict": verdict, "parts": [part]},
        ]
    family = claim_families.family_of(records, records[0])
    assert family.tested == 42 and family.holm == pytest.approx(0.84) and family.verdict_holm == OPEN


def test_what_a_test_has_found_so_far_cannot_be_read_before_it_ends(wide):
    key = registry.register(wide, "necessary", {"run": S, "unit": "relu:1", "class": "b"})["hypothesis"]

    class Stopped(BaseException):
        pass

    def stop(progress):
        if progress["done"] == 20:
            raise Stopped

    with pytest.raises(Stopped):
        registry.run_test(wide, key, stop)
    parts = list((wide.path / "hypotheses" / "partial" / key).iterdir())
    assert len(parts) == 20
    for part in parts:
        with pytest.raises(ValueError):
            np.load(part, allow_pickle=False)
        assert b"lost" not in part.read_bytes() and b"PK" not in part.read_bytes()[:40]
    parts[3].write_bytes(parts[3].read_bytes()[:-1])  # a damaged part is made again
    assert registry.run_test(wide, key)["verdict"] == SUPPORTED
    assert registry.ledger(wide)["state"].tolist() == ["tested"]


# ------------------------------------------------------------------------------------------- numbers and runs as they
# were


def test_a_rewritten_summary_neither_moves_a_test_nor_goes_unseen(wide):
    before = registry.preview(wide, "single", {"run": S, "layer": "relu", "class": "b"})
    path = wide.run_path(S) / "summary.json"
    summary = read_json(path)
    write_json(path, {**summary, "test_accuracy": 0.5})  # with a checksum that fits
    with pytest.raises(SelvizError, match="test_accuracy 0.5, and what is stored gives 1: it was rewritten"):
        registry.preview(wide, "single", {"run": S, "layer": "relu", "class": "b"})
    write_json(path, summary)
    assert registry.preview(wide, "single", {"run": S, "layer": "relu", "class": "b"})["settings"] == before["settings"]


def test_other_networks_under_the_names_that_were_registered_are_refused(wide):
    for seed in range(3):
        train_run(wide, RunConfig(WIDE, "wide-weak", alpha=1, seed=seed, epochs=0))
    registered = registry.register(wide, "alpha", {"run": S, "alpha": 2, "claim": "no cost", "seeds": "0-2"})
    for seed in range(3):  # other networks under the names that were registered
        source, target = wide.run_path(name("weak", 1, seed)), wide.run_path(name("selective", 2, seed))
        source.rename(target)
    with pytest.raises(SelvizError, match="are not those of its name"):
        registry.run_test(wide, registered["hypothesis"])


def test_files_that_were_changed_after_registration_are_named(wide):
    key = registry.register(wide, "single", {"run": S, "layer": "relu", "class": "b"})["hypothesis"]
    from selviz.runs.train import capture_run

    file = wide.run_path(S) / "capture.duckdb"
    content = file.read_bytes()
    capture_run(wide, S)
    if file.read_bytes() != content:
        with pytest.raises(SelvizError, match="capture.duckdb.* of run .* were changed after registration"):
            registry.run_test(wide, key)


def test_one_network_under_two_names_is_not_two_networks(wide, tmp_path):
    wide.unpack(wide.pack(S, tmp_path / "run.zip"), "a-second-one")
    with pytest.raises(SelvizError, match="equal weights .*: they are one network under two names"):
        registry.preview(wide, "replicates", {"run": S, "unit": "relu:0", "runs": "a-second-one"})
    networks = [run_identity.identity(wide, run) for run in (S, name("selective", 0, 1), "a-second-one")]
    assert run_identity.same_networks(networks) == [(S, "a-second-one")]


def test_a_run_that_was_seen_deleted_and_is_to_be_trained_again_is_noticed(wide):
    import shutil

    registry.register(wide, "single", {"run": name("selective", 0, 2), "layer": "relu", "class": "b"})
    shutil.rmtree(wide.run_path(name("selective", 0, 2)))
    found = registry.preview(wide, "alpha", {"run": S, "alpha": 3, "claim": "cost", "seeds": "2,8,9"})
    assert not found["confirmatory"] and "was in the store before (record 1)" in found["why"]


# ------------------------------------------------------------------------------------------------------ the chain's
# head


def test_a_chain_that_was_cut_or_written_again_no_longer_has_the_head_that_was_noted(tmp_path):
    store, folder = Store(tmp_path), tmp_path / "hypotheses"
    for number in range(3):
        append(tmp_path, lambda records, number=number: {"kind": "note", "value": number})
    head = read_chain(tmp_path).head
    assert registry.check_head(store, head) == {"record": 3, "records": 3, "head": head}
    append(tmp_path, lambda records: {"kind": "note", "value": 3})
    assert registry.check_head(store, head[:12])["records"] == 4
    for number in (3, 4):
        (folder / f"{number:06d}.json").unlink()
    assert read_chain(tmp_path).problems == []  # the chain itself cannot know
    with pytest.raises(SelvizError, match="records were cut off or rewritten"):
        registry.check_head(store, head)
    previous = ""
    for path in sorted(folder.glob("*.json")):  # all of it again, with other values and hashes that fit
        record = json.loads(path.read_text()) | {"value": 9, "previous": previous}
        record["hash"] = previous = record_hash(record)
        path.write_text(json.dumps(record))
    assert read_chain(tmp_path).problems == []
    with pytest.raises(SelvizError, match="records were cut off or rewritten"):
        registry.check_head(store, head)


def test_the_head_is_shown_and_checked_by_a_command(wide, capsys):
    registry.register(wide, "single", {"run": S, "layer": "relu", "class": "b"})
    assert main(["hypothesis", "head", "--json", "--data", str(wide.path)]) == 0
    head = json.loads(capsys.readouterr().out)["head"]
    assert main(["hypothesis", "head", "--check", head, "--data", str(wide.path)]) == 0
    assert "The chain is whole" in capsys.readouterr().out
    assert main(["hypothesis", "head", "--check", "0" * 64, "--data", str(wide.path)]) == 2
    assert main(["hypothesis", "head", "--check", "ab", "--data", str(wide.path)]) == 2


# ------------------------------------------------------------------------------------------------- images and control
# sets


def test_an_interval_of_a_set_holds_both_uncertainties_as_a_two_way_bootstrap_does():
    random = np.random.default_rng(0)
    images, sets = 300, 60
    easy = random.beta(1, 4, images)
    chosen = (random.random(images) < 1.5 * easy).astype(float)
    # Sets differ much more among themselves than images alone make them.
    controls = (random.random((sets, images)) < random.beta(0.3, 2, sets)[:, None] * 2 * easy).astype(float)
    draws = []
    for _ in range(2000):
        rows, columns = random.integers(0, sets, sets), random.integers(0, images, images)
        draws.append(chosen[columns].mean() - controls[np.ix_(rows, columns)].mean())
    drops = controls.mean(axis=1)
    estimate = statistics.bounded_mean(chosen - controls.mean(axis=0), drops.std(ddof=1) / math.sqrt(sets))
    low, high = np.quantile(draws, (0.025, 0.975))
    assert estimate.lower(0.025) == pytest.approx(low, abs=0.015)
    assert estimate.upper(0.025) == pytest.approx(high, abs=0.015)


def test_a_set_that_ranks_first_but_whose_interval_for_new_images_holds_0_is_open():
    settings = {**COMMON, "smallest": 0.03, "sets": {"random": 99}}
    change = lost(0.02, 150)[None]
    drops = np.zeros((99, 1))
    sample = {"change": change, "drops": {"random": drops}, "typical": {"random": np.zeros((1, 150))}}
    parts = TEMPLATES["selective"].judge(sample, settings)
    assert parts[0].p == 0.01 and parts[0].low < 0
    assert decide(parts, 0.05)[0] == OPEN


def test_a_set_that_beats_random_ones_and_keeps_next_to_nothing_is_not_sufficient():
    labels = np.repeat([0, 1], 100)
    inside = labels == 0
    sample = {
        "called": np.where(inside, lost(0.35, 200) * (np.arange(200) < 35), 0),  # 35 of 100
        "controls": np.zeros((99, 200)),
        "intact": inside.astype(float),
        "labels": labels,
    }
    parts = TEMPLATES["sufficient"].judge(sample, {**COMMON, "smallest": 0.1, "share": 0.5})
    assert decide(parts[:1], 0.05)[0] == SUPPORTED and decide(parts, 0.05)[0] == REFUTED


def test_parts_of_a_joint_claim_share_the_error_rate_of_refutation():
    random = np.random.default_rng(1)
    settings, refuted = {**COMMON, "smallest": 0.2, "controls": {"a": 19, "b": 19, "c": 19}, "alike": 0.5}, 0
    kinds = {"noise": 19, "images": 19, "units": 9}
    for number in range(300):  # every part has exactly the smallest effect that matters
        worse = {kind: 0.7 + random.uniform(-0.25, 0.25, 30) for kind in kinds}
        sample = {"correlation": random.normal(0.5, 0.1, 30), "worse": worse}
        parts = TEMPLATES["map"].judge(sample, {**settings, "controls": kinds, "seed": number})
        refuted += decide(parts, 0.05)[0] == REFUTED
    assert refuted / 300 <= 0.05


# -------------------------------------------------------------------------------------------------- template by
# template


class _Edges(torch.nn.Module):
    """A unit that fires on edges: pixels taken away here and there make more of them."""

    def forward(self, images):
        return torch.relu(images[..., 1:] - images[..., :-1]).mean(dim=(1, 2, 3)) + images.mean(dim=(1, 2, 3)) / 4


def smoothed(generator, side=16):
    noise = np.fft.fft2(generator.normal(size=(side, side)))
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    return torch.from_numpy(np.fft.ifft2(noise * np.exp(-((f / 0.08) ** 2))).real.copy()).float()


def test_a_map_of_smoothed_noise_passes_against_random_pixels_and_not_against_maps_as_smooth(monkeypatch):
    generator, places, scattered = np.random.default_rng(0), [], []
    module = sys.modules["selviz.attribution.faithfulness"]
    monkeypatch.setattr(module, "target_values", lambda response, part: response(part).flatten())
    for seed in range(24):
        image = 0.5 + smoothed(generator)[None, None] / 4
        map_ = smoothed(generator)
        controls = torch.stack([map_, *(map_template.surrogate(map_, generator) for _ in range(19))])
        area, *areas = deletion_areas(_Edges(), image, controls, torch.zeros_like(image), STEPS, seed)
        places.append(float((np.array(areas) > area).mean()))
        curve = pixel_curves(_Edges(), image, map_, torch.zeros_like(image), STEPS, 19, seed)["deletion"]
        scattered.append(float((np.array(curve["random_areas"]) > curve["area"]).mean()))
    assert np.mean(scattered) > 0.9  # what once was the control
    kinds = {"noise": 19}
    sample = {"correlation": np.zeros(24) + np.linspace(-0.1, 0.1, 24), "worse": {"noise": places}}
    parts = TEMPLATES["map"].judge(sample, {**COMMON, "smallest": 0.2, "alike": 0.5, "controls": kinds})
    assert decide(parts, 0.05)[0] in (OPEN, REFUTED) and abs(np.mean(places) - 0.5) < 0.2


def test_a_surrogate_has_the_autocorrelation_of_its_map():
    generator = np.random.default_rng(2)
    map_ = smoothed(generator)
    other = map_template.surrogate(map_, generator)
    spectra = [np.abs(np.fft.fft2(part.double().numpy())) for part in (map_, other)]
    np.testing.assert_allclose(spectra[0], spectra[1], atol=1e-3)
    assert abs(np.corrcoef(map_.flatten(), other.flatten())[0, 1]) < 0.5


def test_a_perfect_order_of_four_units_weighs_as_four_units_do():
    estimate = statistics.pooled_correlation([1.0, 0.0, 0.0, 0.0], [4, 64, 64, 64])
    assert estimate.effect == pytest.approx(1 / 184) and estimate.lower(0.025) < 0 < estimate.upper(0.025)
    low, high = (statistics.pooled_correlation([1.0], [4]).lower(0.025), statistics.correlation_interval(1.0, 4)[0])
    assert low == pytest.approx(high) and low < 0.3  # four in order say little


def test_an_area_near_1_hides_what_a_unit_misses_at_a_stated_false_alarm_rate():
    random = np.random.default_rng(0)
    positive = np.repeat([True, False], [300, 3000])
    readout = np.where(positive, 6.0, 0.0) + random.normal(size=3300)
    unit = np.where(positive, 2.6, 0.0) + random.normal(size=3300) * np.where(positive, 1.0, 0.9)
    settings = {**COMMON, "smallest": 0.05, "hits": 0.1, "alarms": 0.01}
    parts = TEMPLATES["single"].judge({"unit": unit, "readout": readout, "labels": (~positive).astype(int)}, settings)
    from sklearn.metrics import roc_auc_score

    gap = roc_auc_score(positive, unit) - roc_auc_score(positive, readout)
    assert parts[0].effect == pytest.approx(gap) and decide(parts[:1], 0.05)[0] == SUPPORTED
    threshold = [np.sort(scores[~positive])[-31] for scores in (unit, readout)]
    hits = [(scores[positive] > cut).mean() for scores, cut in zip((unit, readout), threshold)]
    assert parts[1].effect == pytest.approx(hits[0] - hits[1], abs=0.01) and decide(parts, 0.05)[0] == REFUTED


def test_selectivity_counts_from_what_shuffled_labels_make_of_the_unit():
    null = np.full((1, 199), 0.15) + np.linspace(-0.02, 0.02, 199)
    sample = {"names": ["a"], "observed": [0.25], "null": null, "resampled": np.linspace(0.22, 0.28, 99)[None]}
    parts = TEMPLATES["replicates"].judge({**sample, "images": 300, "of_class": 30}, {**COMMON, "smallest": 0.2})
    assert parts[0].effect == pytest.approx(0.1, abs=0.01) and decide(parts, 0.05)[0] == REFUTED


def test_an_interval_over_starts_is_students_t_and_over_networks_holds_the_error_of_the_starts_too():
    from scipy import stats

    random = np.random.default_rng(3)
    beyond = random.normal(0.4, 0.3, (1, 12))
    (part,) = TEMPLATES["made_image"].judge({"beyond": beyond}, {**COMMON, "smallest": 0.1})
    test = stats.ttest_1samp(beyond[0], 0, alternative="greater")
    assert (part.effect, part.p) == pytest.approx((beyond.mean(), test.pvalue))
    assert (part.low, part.high) == pytest.approx(
        tuple(stats.t.interval(0.95, 11, beyond.mean(), stats.sem(beyond[0])))
    )
    # Networks that agree, shown images that do not: the mean over networks is as uncertain as the images are.
    beyond = np.tile(beyond, (6, 1)) + random.normal(0, 1e-6, (6, 12))
    parts = TEMPLATES["made_image"].judge({"beyond": beyond}, {**COMMON, "smallest": 0.1})
    error = (parts[1].effect - parts[1].low) / stats.t.ppf(0.975, 4)
    assert parts[1].n == 5 and error == pytest.approx(stats.sem(beyond[0]), rel=1e-3)


def test_a_made_image_is_measured_as_natural_ones_are_and_a_test_that_was_cut_off_makes_none_again(
    wide, tmp_path, monkeypatch
):
    from selviz.attribution import feature_visualization
    from selviz.hypotheses.template import Work

    kind, makes, made = TEMPLATES["made_image"], feature_visualization.synthesise, []

    def counted(network, layer, unit, normalise, shape, steps, seed):
        made.append(makes(network, layer, unit, normalise, shape, 12, seed))
        return made[-1]

    monkeypatch.setattr(feature_visualization, "synthesise", counted)
    others = [name("selective", 0, seed) for seed in (1, 2)]
    settings = {"run": S, "layer": "relu", "unit": 1, "others": others, "starts": 3, "steps": 12, "fold": 2, "seed": 0}
    sample = kind.measure(wide, settings, Work(tmp_path / "work", key="a"))
    # On paper: channel b less 1, not below 0, mean over positions; 1 on the best natural image, which is 3 above.
    pixels = np.stack([each.pixels for each in made]).astype(float)
    expected = np.maximum(pixels[:, 1] - 1, 0).mean(axis=(1, 2)) - 1
    np.testing.assert_allclose(sample["beyond"], np.tile(expected, (3, 1)), rtol=1e-5)
    assert sample["best"] == pytest.approx([1, 1, 1]) and len({each.pixels.tobytes() for each in made}) == 3
    again = kind.measure(wide, {**settings, "starts": 4}, Work(tmp_path / "work", key="a"))
    assert len(made) == 4
    np.testing.assert_array_equal(again["beyond"][:, :3], sample["beyond"])


def test_matched_means_within_a_caliper_and_where_nothing_is_there_is_no_control():
    random = np.random.default_rng(0)
    table = random.normal(size=(200, 2))
    table[:3] = (5.0, 5.0)  # three units like no other
    found = Matching(table, [10], np.ones(200, bool))
    spread = table.std(axis=0)
    expected = [u for u in range(200) if u != 10 and (np.abs(table[u] - table[10]) / spread <= 0.25).all()]
    assert found.candidates == [expected] and found.possible == bool(expected)
    sets = list(found.sets(500))
    assert sorted(unit for (unit,) in sets) == expected  # each once: no set is counted twice
    balance = found.balance(sets)
    assert all(abs(row.difference) <= 0.25 for row in balance)
    lonely = Matching(table, [0, 1, 2], np.ones(200, bool))
    assert not lonely.possible and list(lonely.sets(10)) == []
    assert "within 0.25 standard deviations of unit 0 of relu" in lonely.why_not("relu")


def test_rows_that_share_a_run_are_not_independent_because_they_are_rows(wide):
    text = """
claim: Units of some networks are more active.
table: units
runs: [{runs}]
{independent}
measure: mean_activation
with: si
statistic: rank correlation
direction: positive
smallest: 0.1
"""
    runs = ", ".join(name("selective", 0, seed) for seed in range(3))
    told = "lacks independent, .* not independent because they are rows: add the line independent: unit .or run,"
    with pytest.raises(SelvizError, match=told):  # as a file of an older selviz
        registry.preview(wide, "own", {"yaml": text.format(runs=runs, independent="")})
    with pytest.raises(SelvizError, match="at least 4 means by run"):
        registry.preview(wide, "own", {"yaml": text.format(runs=runs, independent="independent: run")})
    found = registry.preview(wide, "own", {"yaml": text.format(runs=runs, independent="independent: rows")})
    assert "each row is taken as independent" in found["sample"]


def test_a_record_of_the_first_rules_keeps_its_words_and_is_shown_as_decided_by_them(wide):
    registered = registry.register(wide, "single", {"run": S, "layer": "relu", "class": "b"})
    for path in (wide.path / "hypotheses").glob("0*.json"):
        path.unlink()
    old = {key: value for key, value in registered.items() if key not in
           ("hypothesis", "schema", "number", "written", "previous", "hash", "rules")}  # fmt: skip
    old["power"] = {
        "power": 0.9,
        "draws": 200,
        "effect": 0.05,
        "assumed": True,
        "told": "as it was",
        "low": 0,
        "high": 1,
    }
    key = append(wide.path, lambda records: old)["hash"][:10]
    part = {"name": "a", "test": "t", "effect": 0.1, "low": 0.02, "high": 0.2, "p": 0.01, "smallest_p": 0.0,
            "observed": 0.1, "null": [0.0, 0.1], "boundary": 0.0, "margin": 0.1, "n": 10, "of": "images"}  # fmt: skip
    append(wide.path, lambda records: {"kind": "begun", "hypothesis": key})
    result = {"kind": "result", "hypothesis": key, "verdict": "supported", "p": 0.01, "parts": [part], "details": {},
              "checklist": [], "selviz": "0.0", "versions": {}}  # fmt: skip
    append(wide.path, lambda records: result)
    page = markdown_report(wide, key)
    assert "Supported" in page and "Decided by the old rules" in page and "told from none" in page
    assert registry.ledger(wide)[["verdict", "rules"]].values.tolist() == [["supported", 1]]
    with pytest.raises(SelvizError, match="under other rules"):
        registry.repeat(wide, key)
