"""Many sets of units against the plain way: every kind of network, layer, mode and size of set."""

import itertools
import random

import pytest
import torch
from torch import nn

from selviz import ablation
from selviz.ablation import BoundaryCache, Engine, linear_sets
from selviz.ablation.linear_sets import linear_response
from selviz.ablation.many_sets import set_accuracies, set_logits
from selviz.errors import SelvizError
from selviz.networks.unit_network import UnitNetwork
from selviz.testing.toy import ToyNetwork, toy_dataset
from tests.helpers.families import FAMILIES, RandomNetwork, family, interpreted

MODES = [("zero", None), ("mean", None), ("scale", 0.5), ("scale", 2.0), ("noise", 1.5), ("shuffle", None)]


@pytest.fixture(scope="module", params=FAMILIES)
def traced(request):
    """(UnitNetwork in eval mode, 12 inputs, the same for inference)."""
    model, inputs = family(request.param)
    network = UnitNetwork(model, inputs[:1])
    return network, inputs, network.for_inference()


def engine_of(network, inputs, **options):
    labels = torch.arange(len(inputs)) % 10
    return Engine(network, inputs, labels, **{"first": 3, "batch": 5, **options})


def sets_of(layer):
    """One unit, five, half and one, all but one, all."""
    draw = random.Random(layer.name)
    sizes = {1, min(5, layer.units), layer.units // 2 + 1, layer.units - 1, layer.units} - {0}
    return [sorted(draw.sample(range(layer.units), size)) for size in sorted(sizes)]


def by_mode(units, mode, factor, seed, activations):
    """A function that does to a map [N, U, ...] what the mode does, written once more and plainly."""

    def edit(values):
        clean = values.clone()
        spread = activations.std(dim=0)
        generator = torch.Generator().manual_seed(seed)
        if mode == "shuffle":
            order = torch.randperm(len(values), generator=generator)
            source = {int(image): int(order[place - 1]) for place, image in enumerate(order)}
        draws = torch.randn(len(values), len(units), generator=generator) if mode == "noise" else None
        for column, unit in enumerate(units):
            for image in range(len(values)):
                if mode == "zero":
                    values[image, unit] = 0
                elif mode == "mean":
                    values[image, unit] = activations[:, unit].mean()
                elif mode == "scale":
                    values[image, unit] = factor * clean[image, unit]
                elif mode == "noise":
                    values[image, unit] = clean[image, unit] + factor * spread[unit] * draws[image, column]
                else:
                    values[image, unit] = clean[source[image], unit]
        return values

    return edit


@pytest.mark.parametrize(("mode", "factor"), MODES)
def test_sets_of_the_last_layers_equal_the_plain_way_in_every_mode_and_size(traced, mode, factor):
    """Same predictions, and logits within 1e-4 of their deviation."""
    plain, inputs, network = traced
    engine = engine_of(network, inputs)
    _, activations = plain.observe(inputs)
    intact = engine.before()
    for position in (-1, len(network.layers) // 2):
        layer = network.layers[position]
        sets = sets_of(layer)
        logits = list(
            set_logits(engine, [{layer.name: units} for units in sets], mode, factor, seeds=itertools.count())
        )
        assert len(logits) == len(sets)
        for seed, (units, found) in enumerate(zip(sets, logits, strict=True)):
            edit = by_mode(units, mode, factor, seed, activations[position].detach())
            expected = interpreted(plain, inputs, {layer.name: edit})
            std = max(float(expected.std()), float(intact.std()))
            assert (found - expected).abs().max() <= 1e-4 * std, (layer.name, units)
            top = expected.topk(2, dim=1).values
            clear = top[:, 0] - top[:, 1] > 1e-4 * std  # where two classes tie within rounding, either may be first
            assert torch.equal(found.argmax(dim=1)[clear], expected.argmax(dim=1)[clear])


def test_single_units_of_every_layer_equal_the_plain_way(traced):
    plain, inputs, network = traced
    engine = engine_of(network, inputs)
    std = float(engine.before().std())
    for layer in network.layers[:: max(1, len(network.layers) // 10)]:
        units = [0, layer.units - 1]
        for unit, found in zip(units, set_logits(engine, [{layer.name: [unit]} for unit in units]), strict=True):
            expected = interpreted(
                plain, inputs, {layer.name: lambda values, unit=unit: values.index_fill(1, torch.tensor([unit]), 0)}
            )
            assert (found - expected).abs().max() <= 1e-4 * std, (layer.name, unit)


def test_several_layers_equal_their_edits_one_set_at_a_time(traced):
    _, inputs, network = traced
    engine = engine_of(network, inputs)
    first, last = network.layers[0], network.layers[-1]
    sets = [{first.name: [0], last.name: [0, 1]}, {last.name: [1]}, {first.name: [0]}, {last.name: [0]}]
    for units, found in zip(sets, set_logits(engine, sets), strict=True):
        expected = engine.logits(ablation.changes(engine, units))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(engine.before().std()))


def test_sets_are_the_same_whatever_memory_their_contributions_may_take(monkeypatch):
    model, inputs = family("resnet20")
    network = UnitNetwork(model, inputs[:1]).for_inference()
    layer = network.layers[-1]
    sets = [{layer.name: units} for units in sets_of(layer)]
    ample = list(set_logits(engine_of(network, inputs), sets, "mean"))
    assert linear_response(engine_of(network, inputs), layer.name, lambda number: _nothing()).contributions is not None
    monkeypatch.setattr(linear_sets, "MAX_BYTES", 0)
    scarce = engine_of(network, inputs, cache=BoundaryCache(0))
    assert linear_response(scarce, layer.name, lambda number: _nothing()).contributions is None
    for one, other in zip(ample, set_logits(scarce, sets, "mean"), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * float(one.std()))


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_heads_of_every_form_are_linear_and_layers_before_a_non_linearity_are_not():
    forms = {}
    for seed in range(12):
        model, inputs = RandomNetwork(seed).eval(), torch.randn(2, 3, 16, 16)
        engine = engine_of(UnitNetwork(model, inputs[:1]).for_inference(), inputs)
        first, last = (engine.tail([engine.network.layers[position].name]) for position in (0, -1))
        assert last.linear and not first.linear
        forms.setdefault(model.head, set()).add(last.head_weight is not None)
    assert True in forms["pooled"] and forms["convolution"] == forms["flat"] == {False}


def test_what_a_layer_adds_is_computed_once_and_held_within_the_budget():
    dataset = toy_dataset()
    network = UnitNetwork(ToyNetwork().eval(), dataset.example).for_inference()
    engine = engine_of(network, dataset.inputs())
    list(set_logits(engine, [{"relu_1": [0]}, {"relu_1": [1, 2]}]))
    passes = engine.computed
    assert engine.cache.bytes > 0 and passes == 3
    list(set_logits(engine, [{"relu_1": [2]}]))
    assert engine.computed == passes


def test_an_edit_of_all_units_leaves_the_bias_and_nothing_of_rounding():
    """Where every class ties, the first one is the answer, as the plain way has it."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(32, 7, bias=False)
    )
    inputs = torch.randn(12, 3, 8, 8)
    engine = engine_of(UnitNetwork(model.eval(), inputs[:1]).for_inference(), inputs)
    layer = engine.network.layers[0].name
    (logits,) = set_logits(engine, [{layer: list(range(32))}])
    assert (logits == 0).all()


def test_blocks_are_computed_in_turns_and_what_a_turn_raises_ends_them():
    dataset = toy_dataset()
    engine = engine_of(UnitNetwork(ToyNetwork().eval(), dataset.example).for_inference(), dataset.inputs())

    class Superseded(Exception):
        pass

    def refuse(number):
        raise Superseded

    for layer in ("relu", "relu_1"):
        with pytest.raises(Superseded):
            list(set_accuracies(engine, [{layer: [0]}], turn=refuse))


@pytest.mark.parametrize(
    ("units", "sentence"),
    [({"relu": []}, "No unit is chosen"), ({"relu_1": [3]}, "has no unit 3"), ({"relu_1": [1, 1]}, "named twice")],
)
def test_bad_sets_are_one_clear_sentence(units, sentence):
    dataset = toy_dataset()
    engine = engine_of(UnitNetwork(ToyNetwork().eval(), dataset.example).for_inference(), dataset.inputs())
    with pytest.raises(SelvizError, match=sentence):
        list(set_logits(engine, [units]))


def test_what_sets_share_is_kept_within_the_budget_and_changes_no_logit(traced):
    _, inputs, network = traced
    layer = network.layers[0]
    sets = [{layer.name: units} for units in sets_of(layer)]
    sizes, answers = [], []
    for gigabytes in (0, 2):
        cache = BoundaryCache(gigabytes)
        engine = engine_of(network, inputs, cache=cache)
        answers.append(list(set_logits(engine, sets, "zero")))
        again = list(set_logits(engine, sets, "zero"))
        for one, other in zip(answers[-1], again, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
        sizes.append(cache.bytes)
    tail = engine.tail([layer.name])
    assert sizes[0] == 0
    if not tail.linear:
        logits = 4 * engine.classes
        assert sizes[1] == len(inputs) * (tail.bytes_per_image + tail.shared_bytes_per_image + logits)
    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
