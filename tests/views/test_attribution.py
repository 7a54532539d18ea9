"""Attribution on the Unit page: each technique and target is the library's, what does not fit is told in words."""

import time

import pytest
import torch

from app.compute import jobs, scheduler
from app.views.unit import attributions
from selviz.attribution import METHODS, Target, attribute
from selviz.runs.load import load_network
from selviz.studies.attribution import run_sanity
from selviz.text import numbers
from tests.helpers.pages import text


@pytest.fixture(scope="module")
def parts(tiny_store, tiny_run):
    """The network, image 3 and a black one, normalised."""
    network, dataset = load_network(tiny_store, tiny_run)
    images = dataset.normalise(dataset.eval_pixels[3:4])
    return network, images, dataset.normalise(torch.zeros_like(dataset.eval_pixels[:1]))


def test_every_technique_of_the_library_is_offered():
    assert set(attributions.METHODS) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_the_map_of_each_technique_is_the_librarys(visit, tiny_store, tiny_run, parts, method):
    network, image, black = parts
    page = visit(tiny_store, "unit", evidence="pixels", layer="relu3", unit="5", image="3", technique=method)
    assert not page.exception and not page.error
    found = attribute(network, Target("relu3", 5), image, method, baseline=black)
    shown, delta, _ = attributions._attribution(tiny_run, ("relu3", 5, None), 3, method, 0)
    assert torch.equal(torch.from_numpy(shown), found.maps[0])
    if found.delta is not None:
        assert "completeness delta" in text(page)
        assert delta == pytest.approx(float(found.delta[0]))
    assert "random orders" in text(page) and "Infidelity" in text(page)


@pytest.mark.parametrize("explain", ["class", "through"])
def test_a_class_can_be_explained_alone_or_through_the_unit(visit, tiny_store, explain):
    page = visit(
        tiny_store,
        "unit",
        evidence="pixels",
        layer="relu3",
        unit="5",
        image="3",
        explain=explain,
        answer="7",
        smooth="on",
    )
    assert not page.exception and not page.error
    assert "of the logit of class 7" in text(page)
    assert ("by way of this unit alone" in text(page)) == (explain == "through")
    assert "smooth 8" in text(page)


@pytest.mark.parametrize("asked", [{"technique": "magic"}, {"explain": "all"}, {"explain": "class", "answer": "cat"}])
def test_a_link_to_what_is_not_there_shows_the_nearest(visit, tiny_store, asked):
    page = visit(tiny_store, "unit", evidence="pixels", layer="relu3", unit="5", **asked)
    assert not page.exception
    assert "which is not here" in "".join(warning.value for warning in page.warning)


def test_the_verdict_on_a_technique_is_that_of_its_stored_check(visit, own_store, tiny_run):
    page = visit(own_store, "unit", evidence="pixels", layer="relu3", unit="5", technique="gradient_x_input")
    assert f"selviz sanity {tiny_run} --layer relu3 --method gradient_x_input" in text(page)
    table = run_sanity(own_store, tiny_run, "gradient_x_input", layer="relu3", images=20)
    at_end = table[table["step"] == table["step"].max()]
    page = visit(own_store, "unit", evidence="pixels", layer="relu3", unit="5", technique="gradient_x_input")
    resemblance = [at_end[name].mean() for name in ("rank_correlation", "ssim")]
    verdict = "Yes." if max(resemblance) < 0.2 else "In part." if max(resemblance) < 0.5 else "Hardly:"
    assert f"**{verdict}" in text(page)
    assert f"rank correlation {numbers.signed(resemblance[0], 2)} (" in text(page)


def test_the_check_of_a_technique_is_started_for_what_is_on_screen(visit, own_store, tiny_run, monkeypatch):
    page = visit(own_store, "unit", evidence="pixels", layer="relu3", unit="7", technique="gradcam")
    monkeypatch.delenv("SELVIZ_NO_DEMO")
    page = page.run()
    page = page.button(key="study-sanity").click().run()
    study = jobs.Study(str(own_store.path), tiny_run, "sanity", ("--layer", "relu3", "--method", "gradcam"))
    assert "Computing sanity" in text(page)
    other = visit(own_store, "unit", evidence="pixels", layer="relu3", unit="7", technique="occlusion")
    assert other.button(key="study-sanity").disabled, "one at a time for each visitor"
    while scheduler.job_queue().ahead_of(study) is not None:
        time.sleep(0.05)
    process = jobs.study_processes()[study].process
    assert process.returncode == 0
    assert f"selviz sanity {tiny_run} --layer relu3 --method gradcam" in " ".join(process.args)
    assert "Compute it now" not in [button.label for button in page.run().button]
