"""Claims on a network whose answers can be worked out on paper: each verdict, also "refuted", and each refusal."""

import shutil

import pytest

from selviz.config import RunConfig, run_name
from selviz.errors import SelvizError
from selviz.hypotheses import registry
from selviz.hypotheses.templates import TEMPLATES
from selviz.runs.train import train_run
from selviz.store import Store
from selviz.testing.toy import WIDE, wide_known
from tests.helpers.second_device import every_network_there


def name(kind: str, alpha: float = 0, seed: int = 0) -> str:
    return run_name(RunConfig(WIDE, f"wide-{kind}", alpha=alpha, seed=seed, epochs=0))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A store of hand-set networks: `selective` with four seeds of two alphas, and a few of each other kind."""
    with wide_known():
        store = Store(tmp_path_factory.mktemp("wide"))
        for kind, alpha, seed in [
            *(("selective", alpha, seed) for alpha in (0, 1) for seed in range(4)),
            ("weak", 0, 0),
            *(("mixed", 0, seed) for seed in range(3)),
            *(("equal", 0, seed) for seed in range(4)),
        ]:
            train_run(store, RunConfig(WIDE, f"wide-{kind}", alpha=alpha, seed=seed, epochs=0))
        yield store


OWN = """
claim: Units that are silent on most images are selective.
table: units
runs: [{run}]
where: {{layer: relu, unit: {{below: 6}}}}
independent: unit
measure: si
group: {{zero_share: {{above: 0.5}}}}
control: {{zero_share: {{at most: 0.5}}}}
statistic: difference of means
direction: {direction}
smallest: 0.1
"""
S, W, M, E = (name(kind) for kind in ("selective", "weak", "mixed", "equal"))
MIXED = [name("mixed", 0, seed) for seed in range(3)]
SELECTIVE = [name("selective", alpha, seed) for alpha in (0, 1) for seed in range(4)]
MAP = {"unit": "relu:0", "method": "gradient_x_input", "images": 20, "draws": 5}
# 20 images of each class are tested: an interval of them is some ten points wide on either side.
ON_PAPER = [
    # Without unit 1 no image of class b is taken for it; nearly all of its controls lead nowhere.
    ("necessary", {"run": S, "unit": "relu:1", "class": "b"}, "supported", None),
    ("necessary", {"run": S, "unit": "relu:1", "class": "c", "smallest": 0.2}, "refuted", None),
    ("necessary", {"run": S, "unit": "relu:50", "class": "b", "smallest": 0.2}, "refuted", None),
    # All of class b is lost without unit 1: 1 more than without other sets of one, unless it is one of them.
    ("necessary_units", {"run": S, "layer": "relu", "units": "1", "class": "b", "draws": 199}, "supported", None),
    (
        "necessary_units",
        {"run": S, "layer": "relu", "units": "2", "class": "b", "draws": 199, "smallest": 0.2},
        "refuted",
        None,
    ),
    # Unit 1 alone keeps class b: all others are taken for class a. Without it nothing is taken for b.
    ("sufficient", {"run": S, "layer": "relu", "class": "b", "units": "1", "draws": 199}, "supported", None),
    ("sufficient", {"run": S, "layer": "relu", "class": "b", "units": "2", "draws": 199}, "refuted", None),
    # Without its three detectors everything is taken for class a, so 2/3 of the images are lost.
    ("selective", {"run": S, "layer": "relu", "k": 3}, "supported", None),
    ("selective", {"run": W, "layer": "relu", "k": 3, "smallest": 0.05}, "refuted", None),
    ("predicts", {"run": S, "layer": "relu"}, "supported", None),
    ("predicts", {"run": S, "layer": "relu", "direction": "negative"}, "refuted", None),
    # The weights are set by hand, whatever alpha and seed: the accuracy is 1 in all.
    ("alpha", {"run": S, "alpha": 1, "claim": "no cost"}, "supported", 0.0),
    ("alpha", {"run": S, "alpha": 1, "claim": "equivalent"}, "supported", 0.0),
    ("alpha", {"run": S, "alpha": 1, "claim": "cost"}, "refuted", 0.0),
    # 1 on class a, 0 on others; 12 on class a, 11 on others.
    ("replicates", {"run": S, "unit": "relu:0"}, "supported", 1.0),
    ("replicates", {"run": S, "unit": "relu:3"}, "refuted", None),
    # The map of unit 0 is the upper half, and so is its map of every other image of class a: they are all alike. With
    # weights in random order `equal` is the same network.
    ("map", {"run": S, **MAP}, "refuted", 1.0),
    ("map", {"run": E, **MAP}, "refuted", 0.0),
    # Unit 0 is channel a less 1, up to 254 of a made image; 1 on the best natural one. The other networks have the same
    # units. Unit 50 is 1 on every image that there is, made or natural.
    ("made_image", {"run": S, "unit": "relu:0", "starts": 5, "runs": SELECTIVE}, "supported", None),
    ("made_image", {"run": S, "unit": "relu:50", "starts": 5}, "refuted", 0.0),
    # Areas under the ROC curve: 1 and 1; 3/4 (class c has the same activation) and 1.
    ("single", {"run": S, "layer": "relu", "class": "b", "smallest": 0.1}, "supported", 0.0),
    ("single", {"run": M, "layer": "relu", "class": "b"}, "refuted", -0.25),
    # Brighter images silence what `mixed` looks at, so that it takes all for class a: nothing above chance is left.
    # `selective`, which has the higher SI, keeps everything.
    (
        "robust",
        {"runs": [*MIXED, *(name("selective", 0, seed) for seed in range(4))], "corruption": "brightness"},
        "refuted",
        None,
    ),
    # SI 1 of three units beside 1/23 of three: one of 20 ways to divide six.
    ("own", {"yaml": OWN.format(run=S, direction="greater")}, "supported", 22 / 23),
    ("own", {"yaml": OWN.format(run=S, direction="less")}, "refuted", -22 / 23),
]


@pytest.mark.parametrize(("template", "asked", "verdict", "effect"), ON_PAPER)
def test_each_template_gives_the_verdict_worked_out_on_paper(wide, template, asked, verdict, effect):
    registered = registry.register(wide, template, asked)
    result = registry.run_test(wide, registered["hypothesis"])
    assert result["verdict"] == verdict, result["parts"]
    if effect is not None:
        assert result["parts"][0]["effect"] == pytest.approx(effect, abs=1e-6)
    for part in result["parts"]:
        assert len(part["null"]) >= 20 and part["low"] <= part["high"] and 0 < part["p"] <= 1


COMPUTING = ("necessary", "map", "single")
LONG = [pytest.param(each, marks=pytest.mark.slow) for each in ("necessary_units", "sufficient", "selective", "robust")]


@pytest.mark.parametrize("template", [*COMPUTING, *LONG])
def test_a_verdict_does_not_depend_on_the_device(wide, template, tmp_path, monkeypatch):
    copied = Store(shutil.copytree(wide.path, tmp_path / "wide", ignore=shutil.ignore_patterns("hypotheses")))
    _, asked, verdict, _ = next(each for each in ON_PAPER if each[0] == template)
    with every_network_there(monkeypatch):
        registered = registry.register(copied, template, asked)
        result = registry.run_test(copied, registered["hypothesis"])
    assert result["verdict"] == verdict, result["parts"]


def test_every_template_is_on_paper():
    assert {template for template, *_ in ON_PAPER} == set(TEMPLATES)


REFUSED = [
    ("necessary", {"run": "no-such-run", "unit": "relu:1", "class": "b"}, "Unknown run 'no-such-run'"),
    ("necessary", {"run": S, "unit": "relu:99", "class": "b"}, "has the units 0 to 95"),
    ("necessary", {"run": S, "unit": "conv:1", "class": "b"}, "Unknown layer 'conv'"),
    ("necessary", {"run": S, "unit": "relu:1", "class": "dog"}, "Unknown class 'dog'"),
    ("necessary", {"run": S, "unit": "relu", "class": "b"}, "names no unit"),
    ("necessary", {"run": S, "unit": "relu:1", "class": "b", "controls": 15}, "1/16 = 0.0625.*needs 19 control units"),
    ("necessary", {"run": S, "unit": "relu_1:1", "class": "b"}, "needs 19 control units.*2 other live units"),
    ("necessary", {"run": S, "unit": "relu:1", "class": "b", "smallest": 0}, "must be above 0"),
    ("necessary", {"run": S, "unit": "relu:1", "class": "b", "smallest": "nan"}, "give a number"),
    ("necessary", {"run": S, "unit": "relu:1"}, "it needs class"),
    ("necessary", {"run": S, "unit": "relu:1", "class": "b", "corruption": "fog"}, "Unknown option of necessary"),
    ("selective", {"run": S, "layer": "relu", "k": 96}, "k is 96, and relu allows at most 95"),
    ("selective", {"run": S, "layer": "relu", "draws": 10}, "needs 19 control sets"),
    ("selective", {"run": S, "layer": "relu", "k": "many"}, "give a whole number"),
    ("selective", {"run": S, "layer": "relu", "k": 3, "controls": "both"}, "no matched control.*--controls random"),
    ("necessary", {"run": S, "unit": "relu:1", "class": "b", "against": "matched"}, "2 of its 95.*--against random"),
    ("sufficient", {"run": S, "layer": "relu", "class": "b", "share": 2}, "a share between 0 and 1"),
    ("single", {"run": S, "layer": "relu", "class": "b", "alarms": 0}, "alarms is 0"),
    ("robust", {"runs": [*MIXED, S, E], "corruption": "brightness"}, "within noise of chance"),
    ("sufficient", {"run": S, "layer": "relu", "class": "b", "k": 97}, "allows at most 96"),
    ("sufficient", {"run": S, "layer": "relu", "class": "b", "units": "1,999"}, "numbers 0 to 95"),
    ("predicts", {"run": S, "layer": "relu_1"}, "needs"),
    ("predicts", {"run": S, "layer": "relu,magic"}, "Unknown layer 'magic'"),
    ("alpha", {"run": S, "alpha": -1, "claim": "cost"}, "at least 3 of them, and there are 0 seeds"),
    ("alpha", {"run": S, "alpha": 1, "claim": "cost", "seeds": "0"}, "there is 1 seed"),
    ("alpha", {"run": S, "alpha": 0, "claim": "cost"}, "the baseline's own"),
    ("alpha", {"run": S, "alpha": 1, "claim": "gain"}, "Unknown claim"),
    ("replicates", {"run": W, "unit": "relu:0"}, "at least one other network"),
    ("map", {"run": S, "unit": "relu:0", "images": 21}, "at least 20 images on which the unit is not 0"),
    ("map", {"run": S, "unit": "relu:0", "method": "magic"}, "Unknown attribution method"),
    ("made_image", {"run": S, "unit": "relu:0", "starts": 4}, "starts is 4; give at least 5"),
    ("made_image", {"run": S, "unit": "relu:0", "runs": [W, E]}, "at least 3 of them besides .*, and 2 are named"),
    ("made_image", {"run": E, "unit": "relu:0", "runs": SELECTIVE[:3]}, "can be matched: unit 0 of .* never changes"),
    ("made_image", {"run": E, "unit": "relu_1:0"}, "is not above 0 on any image of fold 1.*name a live unit"),
    ("made_image", {"run": S, "unit": "relu:0", "steps": 9}, "Unknown option of made_image"),
    ("robust", {"runs": [S, W], "corruption": "fog"}, "it needs 5, and 2 are named"),
    ("robust", {"run": S, "corruption": "rain"}, "Unknown corruption 'rain'"),
    ("magic", {}, "Unknown template"),
    ("own", {"yaml": OWN.format(run="no-such-run", direction="greater")}, "Unknown run"),
    ("own", {"yaml": "claim: !!python/object/apply:os.system ['true']"}, "nothing in it is executed"),
    ("own", {"yaml": "claim: &a [x]\ntable: *a"}, "aliases"),
    (
        "own",
        {"yaml": OWN.format(run=S, direction="greater").replace("table: units", "table: secrets")},
        "Unknown table",
    ),
    (
        "own",
        {"yaml": OWN.format(run=S, direction="greater").replace("measure: si", "measure: magic")},
        "Unknown column",
    ),
    ("own", {"yaml": OWN.format(run=S, direction="sideways")}, "Unknown direction"),
    ("own", {"yaml": OWN.format(run=S, direction="less") + "extra: 1"}, "'extra' that is not known"),
    ("own", {"yaml": OWN.format(run=S, direction="less").replace("6}}", "3}}")}, "control group 0"),
    ("own", {"yaml": "- a\n- b"}, "must hold keys and values"),
    ("own", {"yaml": "claim: [unclosed"}, "cannot be read in line"),
    ("own", {"yaml": "x" * 30_000}, "at most 20,000"),
]


@pytest.mark.parametrize(("template", "asked", "told"), REFUSED)
def test_what_cannot_be_tested_is_refused_in_a_sentence_and_leaves_no_record(wide, template, asked, told):
    before = len(registry.ledger(wide))
    with pytest.raises(SelvizError, match=f"(?s){told}"):
        registry.register(wide, template, asked)
    assert len(registry.ledger(wide)) == before


def test_a_claim_on_several_layers_has_them_in_forward_order_and_once(tiny_store, tiny_run):
    asked = {"run": tiny_run, "layer": "relu3, relu2,relu3"}
    assert registry.preview(tiny_store, "predicts", asked)["settings"]["layers"] == ["relu2", "relu3"]
    assert len(registry.preview(tiny_store, "predicts", {"run": tiny_run})["settings"]["layers"]) == 4


def test_the_verdict_uses_the_level_of_its_family_and_a_study_cannot_grow(wide):
    asked = {"run": S, "unit": "relu:1", "class": "b"}
    with pytest.raises(SelvizError, match="A new study needs the number"):
        registry.preview(wide, "necessary", asked, "growing")
    first = registry.register(wide, "necessary", {**asked, "controls": 59}, "growing", 2)
    assert first["level"] == 0.025
    with pytest.raises(SelvizError, match="needs 39 control units"):  # 1/31 is above 0.025
        registry.register(wide, "necessary", {**asked, "controls": 30}, "growing")
    with pytest.raises(SelvizError, match="begun with 2 planned"):
        registry.register(wide, "necessary", asked, "growing", 3)
    registry.register(wide, "necessary", asked, "growing")
    with pytest.raises(SelvizError, match="has all of its 2"):
        registry.register(wide, "necessary", asked, "growing")


def test_a_claim_over_networks_is_confirmatory_only_where_nobody_saw_them(wide):
    def preview(template, asked):
        found = registry.preview(wide, template, asked)
        return found["confirmatory"], found["why"]

    confirmatory, why = preview("single", {"run": W, "layer": "relu", "class": "b"})
    assert confirmatory and why.startswith("fold 2 of its images was sealed when it was registered")
    assert why.endswith("chosen on fold 0: the unit with the largest area under the ROC curve for b")
    confirmatory, why = preview("alpha", {"run": S, "alpha": 1, "claim": "cost"})
    assert not confirmatory and "and 7 more" in why
    assert preview("alpha", {"run": S, "alpha": 2, "claim": "cost", "seeds": "10-13"})[0]
    assert not preview("own", {"yaml": OWN.format(run=S, direction="greater")})[0]


def test_the_same_quantity_tested_a_second_time_is_exploratory(wide):
    asked = {"run": W, "layer": "relu", "class": "c", "units": "5"}
    first = registry.register(wide, "sufficient", asked)
    assert first["confirmatory"] and first["repeats"] == ""
    assert registry.run_test(wide, first["hypothesis"])["verdict"] == "supported"
    second = registry.register(wide, "sufficient", {**asked, "smallest": 0.2})
    assert not second["confirmatory"] and second["repeats"] == first["hypothesis"]
    other = registry.preview(wide, "sufficient", {**asked, "class": "b", "units": "4"})
    assert "opened once by claims about the same quantity" in other["why"] and not other["confirmatory"]


def test_a_claim_on_networks_that_are_still_to_be_trained_waits_for_them(wide):
    asked = {"run": S, "alpha": 2, "claim": "no cost", "seeds": "0-2"}
    registered = registry.register(wide, "alpha", asked)
    with pytest.raises(SelvizError, match=f"Unknown run '{name('selective', 2)}'"):
        registry.run_test(wide, registered["hypothesis"])
    for seed in range(3):
        train_run(wide, RunConfig(WIDE, "wide-selective", alpha=2, seed=seed, epochs=0))
    assert registry.run_test(wide, registered["hypothesis"])["verdict"] == "supported"


@pytest.mark.parametrize("text", ["claim: !!bool z", "claim: !!int z", "claim: !!timestamp z", "claim: !!float z"])
def test_a_claim_with_a_value_that_is_none_of_its_tag_is_one_sentence(text):
    from selviz.hypotheses.yaml_claims import read_own

    with pytest.raises(SelvizError, match="cannot be read"):
        read_own(text)


def test_a_number_beyond_all_numbers_is_one_sentence():
    from selviz.hypotheses.option_parsing import number

    with pytest.raises(SelvizError, match="give a number"):
        number(10**400, "effect")


def test_a_claim_of_many_brackets_is_refused_before_it_is_read():
    from selviz.hypotheses.yaml_claims import read_own

    for text in ("a: " + "[" * 10_000, "{a: " * 4_000):
        with pytest.raises(SelvizError, match="brackets; a claim has at most 200"):
            read_own(text)
