"""The pages Robustness and Dimensionality: empty, filled, several seeds, and links that name what is not there."""

import base64
import json
import shutil
import time

import numpy as np
import pandas as pd
import pytest

from app.compute import jobs, scheduler
from app.page import perturbed_runs
from selviz import figures
from selviz.cli import main
from selviz.config import RunConfig
from selviz.robustness import corruptions
from selviz.runs.train import train_run
from selviz.store import Store
from selviz.studies.dimensionality import run_dimensionality
from selviz.studies.robustness import AttackSettings, run_robustness
from tests.helpers.pages import text


@pytest.fixture(scope="module")
def tested(tiny_store, tmp_path_factory):
    """The tiny run and an untouched one, both with robustness and dimensionality."""
    folder = tmp_path_factory.mktemp("tested") / "store"
    shutil.copytree(tiny_store.path, folder)
    store = Store(folder)
    train_run(store, RunConfig("digits", "cnn", alpha=0, epochs=1), lambda news: None)
    for run in store.names():
        run_robustness(store, run, ("fog", "contrast"), (1, 5), ("pgd",), (8.0, 32.0), images=60)
        run_dimensionality(store, run, ("contrast",), images=50, draws=5)
    return store


def test_without_its_study_the_images_are_shown_and_the_command_is_named(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "robustness", kind="attack", epsilon="64")
    assert not page.exception and f"selviz robustness {tiny_run}" in text(page)
    (strip,) = [element.proto.body for element in page.get("html") if "selviz-strip" in element.proto.body]
    assert strip.count("<img") == 3 * perturbed_runs.SHOWN and strip.count("selviz-wrong") > 2
    assert "glass_blur needs at least 9 pixels" in text(page)
    images, names = min(1000, len(tiny_store.images(tiny_run))), corruptions.usable(8, 8)[0]
    assert images < 1000 and len(names) < len(corruptions.STANDARD), "or the sentence could be a fixed one"
    assert f"{len(names)} corruptions at five severities" in text(page) and f"on {images} images" in text(page)
    page = visit(tiny_store, "robustness", constants="cifar")
    names = corruptions.usable(8, 8, constants="cifar")[0]
    assert f"selviz robustness {tiny_run} --constants cifar" in text(page) and f"{len(names)} corruption" in text(page)
    page = visit(tiny_store, "hidden", part="dimensionality")
    assert not page.exception and f"selviz dimensionality {tiny_run}" in text(page)


def test_with_its_study_every_part_draws_and_says_what_is_stored(visit, tested, tiny_run):
    heads = {
        "curves": ["Accuracy by severity", "Accuracy under attack"],
        "grid": ["Which kind of corruption hurts this network?", "Which corruptions hurt whom"],
        "selectivity": ["Does selectivity go with robustness?", "Against selectivity", "Against alpha"],
        "units": ["Which units move most?", "Shift against selectivity", "Unit by unit"],
    }
    asked = {"run": tiny_run, "corruption": "contrast", "severity": "5", "layer": "relu3"}
    pages = {part: visit(tested, "robustness", part=part, **asked) for part in heads}
    for part, page in pages.items():
        assert not page.exception and not page.error
        assert [head.value for head in page.subheader] == heads[part]
    row = tested.robustness_layers(tiny_run, "relu3").query("name == 'contrast' and level == 5").iloc[0]
    rho = f"{abs(row['si_to_shift']):.2f} between SI and shift"
    assert rho in text(page) and f"n = {row['units']} units that vary" in text(page)
    units = tested.robustness_units(tiny_run, "relu3").query("name == 'contrast' and level == 5")
    shown = page.dataframe[-1].value
    assert shown["shift"].tolist() == sorted(units["shift"].dropna(), reverse=True)
    (families,) = [frame.value for frame in pages["grid"].dataframe if "family" in frame.value]
    summary = tested.robustness_summary(tiny_run).set_index("family")
    assert families["family"].tolist() == ["all", "weather"]  # fog and contrast, both of the weather
    assert families["accuracy"].tolist() == pytest.approx(100 * summary.loc[families["family"], "accuracy"])
    low, high = families["interval"].iloc[1].split(" to ")
    assert float(low) == pytest.approx(100 * summary.loc["weather", "low"], abs=0.06) and float(low) < float(high)
    other = visit(tested, "robustness", run=tiny_run, part="selectivity", family="weather")
    assert not other.exception
    assert "mean weather accuracy" in " ".join(str(chart.proto) for chart in other.get("plotly_chart"))
    other = visit(tested, "robustness", run=tiny_run, part="selectivity", against="attack", strength="8")
    assert not other.exception
    assert "accuracy under PGD 8" in " ".join(str(chart.proto) for chart in other.get("plotly_chart"))


def test_the_command_prints_the_mean_corruption_error_and_its_json_has_a_row_a_network(tested, tiny_run, capsys):
    command = ["robustness", tiny_run, "--corruption", "fog", "--severity", "1", "--attack", "none", "--images", "60"]
    assert main([*command, "--json", "--data", str(tested.path)]) == 0
    result = json.loads(capsys.readouterr().out)
    rows = {row["run"]: row for row in result["corruption_error"]}
    baseline = next(name for name in rows if name != tiny_run)
    assert rows[tiny_run]["baseline"] == baseline and rows[baseline]["mce"] == 1
    tables = {run: tested.robustness(run).query("kind == 'corruption'") for run in rows}
    errors = {run: 1 - table.groupby("name")["accuracy"].mean() for run, table in tables.items()}
    assert rows[tiny_run]["mce"] == pytest.approx((errors[tiny_run] / errors[baseline]).mean())
    assert main([*command, "--baseline", tiny_run, "--data", str(tested.path)]) == 0
    assert "mean corruption error 100 %: this network is the baseline" in capsys.readouterr().out
    assert main([*command, "--baseline", "nobody", "--data", str(tested.path)]) == 2
    assert "Unknown run 'nobody'" in capsys.readouterr().err


def test_networks_are_compared_above_chance_and_by_the_mean_corruption_error(visit, tested, tiny_run):
    from selviz.studies.corruption_error import corruption_errors

    errors = corruption_errors(tested, tiny_run).set_index("run")
    for scale, column, words in (
        ("above", "above_chance", "accuracy / clean, above chance"),
        ("mce", "mce", "error / baseline's"),
    ):
        page = visit(tested, "robustness", run=tiny_run, part="selectivity", scale=scale)
        assert not page.exception and not page.error
        drawn = json.loads(page.get("plotly_chart")[0].proto.spec)
        values = np.frombuffer(base64.b64decode(drawn["data"][0]["y"]["bdata"]), drawn["data"][0]["y"]["dtype"])
        assert sorted(values) == pytest.approx(sorted(100 * errors[column])) and words in str(drawn["layout"])
    attacked = visit(
        tested, "robustness", run=tiny_run, part="selectivity", against="attack", strength="8", scale="above"
    )
    assert not attacked.exception
    layout = json.loads(attacked.get("plotly_chart")[0].proto.spec)["layout"]
    assert "accuracy under PGD 8 / clean, above chance" in str(layout)


def test_the_constants_of_small_pictures_have_their_own_pictures_and_numbers(visit, tested, tiny_run):
    run_robustness(tested, tiny_run, ("contrast",), (5,), (), images=60, constants="cifar")
    page = visit(
        tested, "robustness", run=tiny_run, part="grid", constants="cifar", corruption="contrast", severity="5"
    )
    assert not page.exception and not page.error
    assert "motion_blur cannot be made as in CIFAR-10-C" in text(page)
    (families,) = [frame.value for frame in page.dataframe if "family" in frame.value]
    summary = tested.robustness_summary(tiny_run).query("kind == 'corruption_cifar'")
    assert families["accuracy"].tolist() == pytest.approx(100 * summary["accuracy"])
    page = visit(tested, "robustness", run=tiny_run, part="units", constants="cifar", corruption="fog")
    assert "--corruption fog --attack none --constants cifar" in text(page)


def test_the_page_says_whether_gradients_are_masked(visit, tested, tiny_run):
    assert "Not tested for gradient masking" in text(visit(tested, "robustness", run=tiny_run))
    run_robustness(tested, tiny_run, (), (), ("rays",), (32.0,), AttackSettings(queries=30), images=60)
    page = visit(tested, "robustness", run=tiny_run, under="rays")
    assert not page.exception and not page.error
    assert "No gradient masking was found" in text(page) and "Accuracy under RayS" in text(page)


def other_of(store, run):
    """The network of the store that no test measures more of."""
    return next(name for name in store.names() if name != run)


@pytest.mark.parametrize(
    ("key", "asked", "options"),
    [
        ("attack-fgsm", {"kind": "attack", "attack": "fgsm"}, "--corruption none --attack fgsm --images 60"),
        ("corruption-None", {"part": "grid", "constants": "cifar"}, "--attack none --constants cifar --images 60"),
        ("corruption-snow", {"part": "units", "corruption": "snow"}, "--corruption snow --attack none --images 60"),
        ("corruption-None", {"part": "selectivity", "constants": "cifar"}, "--attack none --constants cifar"),
    ],
)
def test_what_was_not_measured_is_offered_on_the_images_of_the_rest(visit, tested, tiny_run, key, asked, options):
    """The rest is on 60 images; what is measured on others would replace it."""
    run = other_of(tested, tiny_run)
    page = visit(tested, "robustness", run=run, **asked)
    assert not page.exception and not page.error
    assert page.button(key=f"study-{key}").label == "Measure it"
    assert f"selviz robustness {run} {options}" in text(page)


def test_an_attack_without_gradients_is_measured_beside_what_is_there(visit, tested, tiny_run, tmp_path, monkeypatch):
    """On the same images, at the epsilons of PGD; nothing that is stored goes."""
    monkeypatch.delenv("SELVIZ_NO_DEMO")
    monkeypatch.setattr(jobs, "start_demo_once", lambda: None)
    shutil.copytree(tested.path, tmp_path / "store")
    store, run = Store(tmp_path / "store"), other_of(tested, tiny_run)
    before = store.robustness(run)
    page = visit(store, "robustness", run=run, other=tiny_run)
    assert not page.exception
    page.button(key="without-gradients").click().run()
    options = ("--corruption", "none", "--attack", "transfer", "--from", tiny_run)
    options += ("--epsilon", "8", "--epsilon", "32", "--images", "60")
    study = jobs.Study(str(store.path), run, "robustness", options)
    assert study in jobs.study_processes() or scheduler.job_queue().ahead_of(study) is not None
    while scheduler.job_queue().ahead_of(study) is not None:
        time.sleep(0.05)
    assert not jobs.failed(study), jobs.last_message(study)
    after = store.robustness(run)
    added = after[~after["name"].isin(before["name"])]
    assert set(added["name"]) == {f"transfer from {tiny_run}"} and set(after["images"]) == {60}
    assert sorted(added.loc[added["level"] > 0, "level"]) == [8, 32] and len(after) == len(before) + len(added)
    page = visit(store, "robustness", run=run)
    (choice,) = [box for box in page.selectbox if box.label == "An attack without its gradients"]
    assert len(choice.options) == 1, "RayS is left"


def test_none_is_a_corruption_that_measures_nothing(tested, tiny_run, capsys):
    command = ["robustness", tiny_run, "--corruption", "none", "--attack", "none", "--data", str(tested.path)]
    assert main(command) == 2 and "Nothing is left to measure" in capsys.readouterr().err


def test_a_network_without_its_weights_still_shows_its_stored_numbers(visit, tested, tiny_run, tmp_path):
    shutil.copytree(tested.path, tmp_path / "store")
    (tmp_path / "store" / "runs" / tiny_run / "weights.safetensors").unlink()
    page = visit(tmp_path / "store", "robustness", run=tiny_run)
    assert not page.exception and "weights.safetensors is missing" in text(page)
    assert "Accuracy by severity" in [head.value for head in page.subheader]


def test_a_perturbation_that_is_not_stored_names_its_command(visit, tested, tiny_run):
    page = visit(tested, "robustness", run=tiny_run, part="units", corruption="snow")
    assert not page.exception
    assert f"selviz robustness {tiny_run} --corruption snow --attack none" in text(page)


def test_dimensionality_draws_both_counts_over_units_and_maps(visit, tested, tiny_run):
    for address in ({}, {"count": "participation", "over": "maps", "change": "pgd", "vary": "over_units"}):
        page = visit(tested, "hidden", part="dimensionality", run=tiny_run, **address)
        assert not page.exception and not page.error
        assert len(page.get("plotly_chart")) == 3
    assert "The change under PGD" in [head.value for head in page.subheader]


def test_links_that_name_what_is_not_there_show_the_nearest(visit, tested, tiny_run):
    page = visit(
        tested, "robustness", run=tiny_run, corruption="contras", severity="9", first="99999", layer="<b>", part="units"
    )
    assert not page.exception
    warned = " ".join(warning.value for warning in page.warning)
    for word in ("`contras`", "`9`", "99999", "`<b>`"):
        assert word in warned
    page = visit(tested, "robustness", run=tiny_run, kind="attack", epsilon="1e9", attack="cw", part="x")
    assert not page.exception and "1e9" in " ".join(warning.value for warning in page.warning)
    page = visit(tested, "hidden", part="dimensionality", run=tiny_run, count="x", over="y", change="z", vary="w")
    assert not page.exception and len(page.warning) == 4


def test_the_mean_over_seeds_has_an_interval_from_three_seeds_on(tested):
    runs = tested.runs().assign(alpha=[0.0, 0.0])
    found = {run: {"robustness": tested.robustness(run)} for run in runs["run"]}
    table = perturbed_runs.by_level(runs, found, "corruption", "fog")
    expected = np.mean(
        [t["robustness"].query("name == 'fog' and level == 5")["accuracy"].iloc[0] for t in found.values()]
    )
    row = table[table["level"] == 5].iloc[0]
    assert row["accuracy"] == pytest.approx(expected) and row["n"] == 2 and np.isnan(row["low"])
    alone = perturbed_runs.by_level(runs.iloc[:1], found, "corruption", None)
    assert (alone["low"] < alone["accuracy"]).all() and set(alone["n"]) == {1}


def test_the_hardest_corruption_is_on_top():
    table = pd.DataFrame({"name": ["easy", "hard"], "told": "α 0", "alpha": 0.0, "accuracy": [0.9, 0.1]})
    (cells,) = figures.robustness.grid(table, False).data
    assert cells.y[-1] == "hard" and np.asarray(cells.z).ravel().tolist() == pytest.approx([90, 10])


def test_attacks_that_aim_at_a_class_are_not_replaced_by_others(visit, tested, tiny_run, tmp_path):
    shutil.copytree(tested.path, tmp_path / "store")
    store, run = Store(tmp_path / "store"), other_of(tested, tiny_run)
    target = AttackSettings(target=store.run(run)["classes"][0])
    run_robustness(store, run, (), (), ("pgd",), (8.0,), target, images=60)
    page = visit(store, "robustness", run=run, kind="attack", attack="fgsm")
    assert not page.exception and "The stored attacks aim at a class" in text(page)
    assert "study-attack-fgsm" not in [button.key for button in page.button]
