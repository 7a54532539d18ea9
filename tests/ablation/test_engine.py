"""The ablation engine against the plain way: exact on every kind of network, within its memory, safe for threads."""

import math
import threading
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from selviz import ablation
from selviz.ablation import BoundaryCache, Engine
from selviz.errors import SelvizError
from selviz.networks.unit_network import UnitNetwork
from selviz.testing.toy import ToyNetwork, toy_dataset
from tests.helpers import families
from tests.helpers.families import interpreted

NETWORKS = ("resnet20", "resnet18", "mobilenet_v3_small", "vit_b_16", "convnext", "densenet", "concatenations")


@pytest.fixture(scope="module", params=NETWORKS)
def family(request):
    """(UnitNetwork in eval mode, 12 inputs, the same for inference); batch norms and weights are not trivial."""
    model, inputs = families.family(request.param)
    plain = UnitNetwork(model, inputs[:1])
    return plain, inputs, plain.for_inference()


def clamped(units, mode):
    """A function that sets these channels of a map [N, U, ...] to 0 or to their mean."""

    def edit(values):
        for unit in units:
            values[:, unit] = 0 if mode == "zero" else values[:, unit].mean()
        return values

    return edit


def engine_of(network, inputs, labels=None, **options):
    labels = torch.zeros(len(inputs), dtype=torch.long) if labels is None else labels
    return Engine(network, inputs, labels, **{"first": 3, "batch": 5, **options})


@pytest.mark.parametrize("mode", ["zero", "mean"])
def test_layers_equal_the_plain_way_within_rounding(family, mode):
    """Within 1e-4 of the logits' deviation, under a change that moves them at least ten times as far."""
    plain_network, inputs, network = family
    engine = engine_of(network, inputs)
    with torch.no_grad():
        intact = plain_network.logits(inputs)
    std = intact.std(dim=0).mean()
    step = max(1, len(network.layers) // 8)
    for layer in network.layers[::step]:
        units = list(range(0, layer.units, 2))  # enough to move logits, and the half that stays tells them apart
        plain = interpreted(plain_network, inputs, {layer.name: clamped(units, mode)})
        resumed = engine.logits(ablation.changes(engine, {layer.name: units}, mode))
        assert (plain - intact).abs().max() >= 1e-3 * std, layer.name
        assert (resumed - plain).abs().max() <= 1e-4 * std, layer.name


def test_two_layers_and_single_units_equal_the_plain_way(family):
    plain_network, inputs, network = family
    engine = engine_of(network, inputs)
    std = engine.before().std(dim=0).mean()
    first, last = network.layers[1].name, network.layers[-2].name
    for units in ({first: [3], last: [1, 2]}, {last: [0]}, {first: [2]}):
        plain = interpreted(plain_network, inputs, {name: clamped(chosen, "zero") for name, chosen in units.items()})
        resumed = engine.logits(ablation.changes(engine, units))
        assert (resumed - plain).abs().max() <= 1e-4 * std, units


@pytest.fixture(scope="module")
def toy():
    return UnitNetwork(ToyNetwork().eval(), toy_dataset().example).for_inference()


@pytest.fixture
def toy_engine(toy):
    dataset = toy_dataset()
    return engine_of(toy, dataset.inputs(), dataset.eval_labels)


def test_scale_turns_a_unit_down_and_up_as_worked_out_on_paper(toy_engine):
    """At 1.5 times unit 1, an image of b has a logit of 1.5 for b; at half, b ties with c at 0.5."""
    for factor in (0, 0.5, 1, 1.5, 3):
        logits = toy_engine.logits(ablation.changes(toy_engine, {"relu": [1]}, "scale", factor))
        assert logits[1].tolist() == [0, factor, max(0, 1 - factor)]
        assert torch.equal(logits[toy_engine.labels != 1], toy_engine.before()[toy_engine.labels != 1])


def test_noise_shifts_maps_by_the_units_deviation_and_repeats_with_its_seed(toy):
    inputs = toy_dataset().inputs().repeat(200, 1, 1, 1)
    engine = engine_of(toy, inputs, first=50, batch=500)
    change = ablation.changes(engine, {"relu": [0, 2]}, "noise", 2.0, seed=1)["relu"]
    spread = engine.statistics("relu")[1]
    assert change.offset[:, 0].std() == pytest.approx(2 * float(spread[0]), rel=0.1)
    assert abs(float(change.offset[:, 0].mean())) < 0.1
    assert (change.offset[:, 1] == 0).all()  # a dead unit does not vary, so it stays
    again = ablation.changes(engine, {"relu": [0, 2]}, "noise", 2.0, seed=1)["relu"]
    other = ablation.changes(engine, {"relu": [0, 2]}, "noise", 2.0, seed=2)["relu"]
    assert torch.equal(change.offset, again.offset) and not torch.equal(change.offset, other.offset)
    assert torch.equal(engine.logits({"relu": change}), engine.logits({"relu": again}))


def test_images_on_which_a_unit_is_silent_anyway_are_not_computed(toy_engine):
    seen = []
    tail = toy_engine.tail(["relu"])
    whole = tail.module
    tail.module = lambda *values: seen.append(len(values[0])) or whole(*values)
    toy_engine.logits(ablation.changes(toy_engine, {"relu": [1]}))
    assert sum(seen) == int((toy_engine.labels == 1).sum())
    toy_engine.logits(ablation.changes(toy_engine, {"relu": [2]}))  # dead
    assert sum(seen) == int((toy_engine.labels == 1).sum())


def test_estimates_shrink_to_the_exact_value(toy_engine):
    estimates = list(ablation.progress(toy_engine, ablation.changes(toy_engine, {"relu": [1]})))
    assert [(part.images, part.of, part.exact) for part in estimates] == [
        (3, 12, False),
        (8, 12, False),
        (12, 12, True),
    ]
    widths = [part.after_high - part.after_low for part in estimates]
    assert widths[0] > widths[1] > widths[2] == 0
    assert all(part.after_low <= 8 / 12 <= part.after_high for part in estimates)
    assert estimates[-1].accuracy_after == pytest.approx(8 / 12) and estimates[-1].accuracy_before == 1
    assert len(estimates[-1].after) == 12


def test_each_batch_is_computed_in_a_turn_and_what_a_turn_raises_ends_the_stream(toy_engine):
    entered, left = [], []

    @contextmanager
    def turn(batch):
        if batch == 2:
            raise InterruptedError
        entered.append(batch)
        yield
        left.append(batch)

    stream = ablation.progress(toy_engine, ablation.changes(toy_engine, {"relu": [1]}), turn)
    next(stream)
    assert entered == left == [0], "the turn is over when the batch is drawn"
    next(stream)
    with pytest.raises(InterruptedError):
        next(stream)
    assert entered == left == [0, 1]


def test_without_a_budget_nothing_is_held_and_nothing_changes(toy):
    dataset = toy_dataset()
    small = engine_of(toy, dataset.inputs(), dataset.eval_labels, cache=BoundaryCache(0))
    large = engine_of(toy, dataset.inputs(), dataset.eval_labels)
    for _ in range(2):
        edits = ablation.changes(small, {"relu": [1]})
        assert torch.equal(small.logits(edits), large.logits(edits))
    assert (small.cache.bytes, small.computed, large.computed) == (0, 6, 3)
    assert not small.holds(["relu"]) and large.holds(["relu"]) and large.cache.bytes > 0
    assert next(ablation.progress(small, edits)).recomputed and not next(ablation.progress(large, edits)).recomputed
    large.close()
    assert large.cache.bytes == 0


def test_the_cache_stays_under_its_budget_and_gives_up_the_longest_unused():
    cache = BoundaryCache(1e-6)  # 1,000 bytes
    for owner in range(3):
        for number in range(2):
            cache.get((owner, ("layer",), number), lambda: [torch.zeros(50)])
            assert cache.bytes <= 1000
    assert not cache.get((0, ("layer",), 0), lambda: [torch.zeros(50)])[1]
    assert cache.get((2, ("layer",), 1), lambda: [torch.zeros(50)])[1]


def test_batches_of_one_request_do_not_push_each_other_out():
    cache = BoundaryCache(1e-6)
    for _ in range(2):
        held = [cache.get((0, ("layer",), number), lambda: [torch.zeros(100)])[1] for number in range(4)]
    assert held == [True, True, False, False]


def test_what_is_cached_is_never_changed_by_a_request(family):
    _, inputs, network = family
    engine = engine_of(network, inputs)
    layer = network.layers[len(network.layers) // 2]
    edits = ablation.changes(engine, {layer.name: [0, 1]}, "scale", 3)
    tail = engine.tail([layer.name])
    held = [engine.boundary(tail, number, rows) for number, rows in enumerate(engine.slices[:3])]
    copies = [[part.clone() if torch.is_tensor(part) else part for part in parts] for parts in held]
    once = engine.logits(edits)
    assert torch.equal(engine.logits(edits), once)
    for parts, originals in zip(held, copies, strict=True):
        for part, original in zip(parts, originals, strict=True):
            assert part is original or torch.equal(part, original)


def test_threads_on_one_engine_get_their_own_answers(family):
    _, inputs, network = family
    engine = engine_of(network, inputs, cache=BoundaryCache(2e-3))  # too small for all, so that values come and go
    choices = [{network.layers[number].name: [1 + number]} for number in (0, 1, -1)]
    alone = [engine.logits(ablation.changes(engine, units)) for units in choices]
    wrong, barrier = [], threading.Barrier(3)

    def visit(number):
        barrier.wait()
        for request in range(5):
            which = (number + request) % 3
            if not torch.equal(engine.logits(ablation.changes(engine, choices[which])), alone[which]):
                wrong.append(which)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_whole_result_of_a_toy_ablation_is_as_worked_out_on_paper(toy_engine):
    result = ablation.ablate(toy_engine, {"relu": [1]}, ("a", "b", "c"), draws=40)
    assert (result["accuracy_before"], result["accuracy_after"]) == (1, pytest.approx(8 / 12))
    assert (result["lost"], result["gained"], result["mcnemar_p"]) == (4, 0, 0.125)
    assert [row["mcnemar_p_holm"] for row in result["per_class"]] == [1, 0.375, 1]
    assert [row["true_logit_change"] for row in result["per_class"]] == [0, -1, 0]
    assert {(flip["label"], flip["before"], flip["after"], flip["lost"]) for flip in result["flips"]} == {
        (1, 1, 2, True)
    }
    assert result["confusion"]["after"] == [[4, 0, 0], [0, 0, 4], [0, 0, 4]]
    assert result["confusion"]["difference"] == [[0, 0, 0], [0, -4, 4], [0, 0, 0]]
    drawn = result["control"]
    assert set(drawn["accuracies"]) == {8 / 12, 1.0} and drawn["smallest"] == pytest.approx(2 / 41)
    assert result["matched"]["accuracies"] == [] and not result["recomputed"]
    assert "within 0.25 standard deviations of unit 1 of relu" in result["matched"]["reason"]


def test_keeping_only_a_unit_silences_the_others(toy_engine):
    """Unit 1 alone tells b from the rest: images of a look like c then."""
    result = ablation.ablate(toy_engine, {"relu": [1]}, ("a", "b", "c"), keep=True, draws=0)
    assert [row["after"] for row in result["per_class"]] == [0, 1, 1]
    assert result["control"] == result["matched"] == {"accuracies": []}


def test_matched_units_lie_within_a_caliper_in_activation_and_outgoing_weight_and_are_never_the_chosen():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.relu, self.head = nn.Linear(2, 40), nn.ReLU(), nn.Linear(40, 2)
            with torch.no_grad():
                self.head.weight.fill_(1.0)
                self.head.weight[:, 20:] = 9.0  # the second half matters more to what follows

        def forward(self, x):
            return self.head(self.relu(self.fc(x)))

    network = UnitNetwork(Wide(), torch.zeros(1, 2))
    np.testing.assert_allclose(ablation.outgoing_weights(network, "relu")[[0, 39]], [math.sqrt(2), 9 * math.sqrt(2)])
    statistics = {"relu": (torch.arange(40.0) % 20, torch.ones(40))}
    found = ablation.matchings(network, {"relu": [10, 11]}, statistics)
    # A standard deviation of 0..19 is 5.77: 0.25 of it reaches one unit to either side, in the same half.
    assert found["relu"].candidates == [[9], [12]]
    assert list(ablation.matched_sets(found, 200)) == [{"relu": [9, 12]}]  # the only set, and only once
    assert all(abs(row.difference) <= 0.25 for row in found["relu"].balance([[9, 12]]))
    assert list(ablation.matched_sets(ablation.matchings(network, {"relu": [0]}, statistics), 5)) == [{"relu": [1]}]
    everything = ablation.matchings(network, {"relu": list(range(21))}, statistics)
    assert list(ablation.matched_sets(everything, 5)) == []


def test_curves_of_the_toy_fall_as_worked_out_on_paper(toy_engine):
    """In order of SI (1, 1/3, 0, 0): without unit 1 class b is lost, without unit 0 class a too."""
    table = ablation.curves(toy_engine, {"relu": torch.tensor([1 / 3, 1, 0, 0])}, steps=4, draws=10)
    curve = {key: part["accuracy"].tolist() for key, part in table.groupby(["direction", "draw"])}
    assert curve["descending", 0] == pytest.approx([1, 2 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert curve["ascending", 0] == pytest.approx([1, 1, 1, 2 / 3, 1 / 3])
    assert len(curve) == 12 and all(len(values) == 5 for values in curve.values())
    assert ablation.area([0, 1, 2, 3, 4], curve["ascending", 0]) == pytest.approx((0.5 + 1 + 1 + 2 / 3 + 1 / 6) / 4)


def test_the_atlas_of_the_toy_is_as_worked_out_on_paper(toy_engine):
    units, by_class = ablation.atlas_layer(toy_engine, "relu", 3)
    assert units["after"].tolist() == pytest.approx([8 / 12, 8 / 12, 1, 1])
    assert units["lost"].tolist() == [4, 4, 0, 0] and units["gained"].tolist() == [0] * 4
    after = by_class.pivot(index="unit", columns="class", values="after")
    assert after.to_numpy().tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 1]]
    loss = by_class[(by_class["unit"] == 1) & (by_class["class"] == 1)]["loss_change"].item()
    assert loss == pytest.approx(math.log(2 + math.e) - math.log(1 + 1 + math.exp(1)) + 1, abs=1e-6)


def test_the_gradient_estimate_is_minus_gradient_times_activation(toy_engine):
    """Unit 1 on images of b: the loss falls with its logit, at rate p(b) - 1 there."""
    estimates = ablation.gradient_estimates(toy_engine, 3)
    p = torch.softmax(torch.tensor([0.0, 1, 0]), dim=0)
    slope = (p[1] - 1) - 0 * p[2]  # c's stand-in unit is off on images of b, so it has no slope
    torch.testing.assert_close(estimates["relu"][1, 1], -slope)
    assert (estimates["relu"][:, 2] == 0).all() and estimates["relu"].shape == (3, 4)


def test_the_atlas_of_a_run_is_stored_resumes_and_agrees_with_single_ablations(tiny_store, tiny_run, tmp_path):
    import shutil

    from selviz.store import Store
    from selviz.studies import ablation as ablation_study
    from selviz.studies.ablation import run_ablation

    shutil.copytree(tiny_store.path, tmp_path / "data")
    store, folder = Store(tmp_path / "data"), tmp_path / "data" / "runs" / tiny_run
    with pytest.raises(SelvizError, match="selviz atlas"):
        store.atlas(tiny_run)

    class Killed(BaseException):
        pass

    def kill(news):
        if news["layer"] == "relu3":
            raise Killed

    with pytest.raises(Killed):
        ablation_study.run_atlas(store, tiny_run, report=kill)
    assert len(list((folder / "partial").glob("atlas-*.npz"))) == 2
    layers = []
    ablation_study.run_atlas(store, tiny_run, report=lambda news: layers.append((news["layer"], news["done"])))
    assert layers[:2] == [("relu1", 16), ("relu2", 48)] and layers[-1] == ("relu4", 144) and len(layers) > 90
    assert not list((folder / "partial").glob("atlas-*"))
    atlas = store.atlas(tiny_run)
    single = run_ablation(store, tiny_run, {"relu3": [7]}, draws=0)
    row = atlas[(atlas["layer"] == "relu3") & (atlas["unit"] == 7)].iloc[0]
    assert (row["after"], row["lost"]) == (pytest.approx(single["accuracy_after"]), single["lost"])
    by_class = store.atlas_classes(tiny_run, "relu3", 7)
    assert by_class["after"].tolist() == pytest.approx([entry["after"] for entry in single["per_class"]])
    correlations = store.atlas_layers(tiny_run)
    assert (correlations["estimate_to_loss"] > 0.5).all()
    counted = store.sql("select count(*) as n from atlas_classes", runs=[tiny_run])
    assert counted["n"].tolist() == [1440]


def test_curves_of_a_run_are_stored_beside_those_of_other_metrics(tiny_store, tiny_run, tmp_path):
    import shutil

    from selviz.store import Store
    from selviz.studies import ablation as ablation_study

    shutil.copytree(tiny_store.path, tmp_path / "data")
    store = Store(tmp_path / "data")
    areas = ablation_study.run_curves(store, tiny_run, layers=["relu4"], steps=4)
    ablation_study.run_curves(store, tiny_run, "mean_activation", layers=["network"], steps=2)
    curves = store.curves(tiny_run)
    assert set(zip(curves["layer"], curves["metric"])) == {("relu4", "si"), ("network", "mean_activation")}
    assert len(areas) == 12 and areas["area"].between(0, 1).all()
    images = store.images(tiny_run)
    ours = curves[curves["metric"] == "si"]
    assert set(ours["images"]) == {int((images["fold"] == 1).sum())} and ours["removed"].max() == 64
    same = ablation_study.run_curves(store, tiny_run, layers=["relu4"], steps=4)
    pd.testing.assert_frame_equal(same, areas)
    with pytest.raises(SelvizError, match="'si'"):
        ablation_study.run_curves(store, tiny_run, "sii")


@pytest.mark.parametrize(
    ("units", "how", "sentence"),
    [
        ({}, {}, "No unit is chosen"),
        ({"relu": []}, {}, "No unit is chosen"),
        ({"relu": [1, 1]}, {}, "named twice"),
        ({"relu": [4]}, {}, "has no unit 4"),
        ({"relu9": [1]}, {}, "Unknown layer 'relu9'"),
        ({"relu": [1]}, {"mode": "zeros"}, "Unknown mode 'zeros'"),
        ({"relu": [1]}, {"mode": "scale"}, "needs a factor"),
        ({"relu": [1]}, {"mode": "scale", "factor": -0.5}, "from 0 to 3"),
        ({"relu": [1]}, {"mode": "scale", "factor": math.nan}, "from 0 to 3"),
        ({"relu": [1]}, {"mode": "scale", "factor": "much"}, "from 0 to 3"),
        ({"relu": [1]}, {"mode": "zero", "factor": 1.0}, "takes no factor"),
        ({"relu": [0, 1, 2, 3]}, {"keep": True}, "silences nothing"),
        ({"relu": [1]}, {"draws": 1001}, "0 to 1,000"),
    ],
)
def test_bad_requests_are_one_clear_sentence(toy_engine, units, how, sentence):
    with pytest.raises(SelvizError, match=sentence):
        ablation.ablate(toy_engine, units, ("a", "b", "c"), **{"draws": 0, **how})


def test_every_unit_of_a_layer_can_be_silenced(toy_engine):
    result = ablation.ablate(toy_engine, {"relu": [0, 1, 2, 3]}, ("a", "b", "c"))
    assert result["accuracy_after"] == pytest.approx(1 / 3)  # all look like c
    assert set(result["control"]["accuracies"]) == {4 / 12} and "no matched control" in result["matched"]["reason"]


@pytest.mark.parametrize("gigabytes", [-1, math.nan])
def test_a_budget_below_nothing_is_refused(gigabytes):
    with pytest.raises(SelvizError, match="0 or more"):
        BoundaryCache(gigabytes)
