"""Every layer, mode and size of set against the plain way, exhaustively: same predictions, logits within rounding."""

import copy
import itertools
import random
from functools import cache

import pytest
import torch

from selviz import ablation
from selviz.ablation import Engine
from selviz.ablation.many_sets import set_logits
from selviz.networks.unit_network import UnitNetwork
from tests.helpers.families import FAMILIES, family, interpreted

pytestmark = pytest.mark.slow

MODES = [("zero", None), ("mean", None), ("scale", 0.5), ("scale", 2.0), ("noise", 1.5), ("shuffle", None)]
WITHIN, WITHIN_DOUBLE = 1e-4, 1e-10  # of the logits' deviation


def sizes_of(layer):
    """One unit, five, all but one, all; drawn anew for each layer."""
    draw = random.Random(layer.name)
    sizes = {1, min(5, layer.units), layer.units - 1, layer.units} - {0}
    return [sorted(draw.sample(range(layer.units), size)) for size in sorted(sizes)]


def plain_edit(units, mode, factor, seed, activations):
    """What the mode does to a map [N, U, ...], written once more and without the engine."""
    chosen = torch.tensor(units)

    def edit(values):
        images = len(values)
        generator = torch.Generator().manual_seed(seed)
        part = values[:, chosen]
        shape = (-1, len(units), *(1,) * (values.dim() - 2))
        if mode == "zero":
            new = torch.zeros_like(part)
        elif mode == "mean":
            new = activations[:, chosen].mean(dim=0).view(shape).expand_as(part)
        elif mode == "scale":
            new = factor * part
        elif mode == "noise":
            draws = torch.randn(images, len(units), generator=generator)
            new = part + (factor * activations[:, chosen].std(dim=0) * draws).view(images, *shape[1:])
        else:
            order = torch.randperm(images, generator=generator).tolist()
            source = {image: order[place - 1] for place, image in enumerate(order)}
            new = part[[source[image] for image in range(images)]]
        values[:, chosen] = new.to(values.dtype)
        return values

    return edit


def assert_same(found, expected, spread, single, double, what):
    """`expected` is in double precision. An edit may magnify rounding itself, as where 71 of 72 units of
    features.2.block.0.2 of mobilenet_v3_small are doubled: logits that deviate by 0.014 then deviate by 5.0, one last
    bit of one map moves them by 1e-5 of that, and the plain way in single precision is 9e-5 off.

    There the engine may be twice as far off as the plain way, `single()` of the network with its batch norms folded or
    not, and must be right in double precision, `double()`, in which nothing is left of rounding.
    """
    limit, distance = WITHIN * spread, float((found - expected).abs().max())
    if distance > limit:
        limit = max(limit, 2 * max(float((plain - expected).abs().max()) for plain in single()))
        assert float((double() - expected).abs().max()) <= WITHIN_DOUBLE * spread, what
    assert distance <= limit, what
    top = expected.topk(2, dim=1).values
    clear = top[:, 0] - top[:, 1] > 2 * limit  # where two classes tie within rounding, either may be first
    assert torch.equal(found.argmax(dim=1)[clear], expected.argmax(dim=1)[clear]), what


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("mode", "factor"), MODES)
def test_every_layer_and_size_of_set_has_the_plain_ways_predictions(name, mode, factor):
    """As sets together, and each set alone; then two and three layers at once."""
    model, inputs = family(name)
    rounded = UnitNetwork(model, inputs[:1])
    network = rounded.for_inference()
    # In double precision: in single, the plain way is as far from the true logits as the engine is.
    precise = inputs.double()
    plain = UnitNetwork(copy.deepcopy(model).double(), precise[:1])
    engine = Engine(network, inputs, torch.arange(len(inputs)) % 10, first=3, batch=5)

    @cache
    def in_double():
        network = UnitNetwork(copy.deepcopy(model).double(), precise[:1]).for_inference()
        return Engine(network, precise, engine.labels, first=3, batch=5)

    with torch.no_grad():
        intact, activations = plain.observe(precise)
    by_layer = dict(zip((layer.name for layer in network.layers), activations))
    for layer in network.layers:
        sets = sizes_of(layer)
        together = set_logits(engine, [{layer.name: units} for units in sets], mode, factor, seeds=itertools.count())
        for seed, (units, found) in enumerate(zip(sets, together, strict=True)):
            edit = plain_edit(units, mode, factor, seed, by_layer[layer.name])
            expected = interpreted(plain, precise, {layer.name: edit})
            spread = max(float(expected.std()), float(intact.std()))
            what = (layer.name, mode, factor, len(units))

            def single(edit=edit, layer=layer):
                return [interpreted(each, inputs, {layer.name: edit}) for each in (rounded, network)]

            def double(units=units, layer=layer, seed=seed):
                return in_double().logits(ablation.changes(in_double(), {layer.name: units}, mode, factor, seed=seed))

            assert_same(found, expected, spread, single, double, what)
            if len(units) <= 5:
                alone = engine.logits(ablation.changes(engine, {layer.name: units}, mode, factor, seed=seed))
                assert_same(alone, expected, spread, single, double, what)
    draw = random.Random(0)
    for count in (2, 3) if mode in ("zero", "mean", "scale") else ():
        # Means are those of the intact network, as `changes` has them.
        layers = sorted(draw.sample(range(len(network.layers)), min(count, len(network.layers))))
        chosen = {network.layers[position].name: sizes_of(network.layers[position])[1] for position in layers}
        edits = {one: plain_edit(units, mode, factor, 0, by_layer[one]) for one, units in chosen.items()}
        expected = interpreted(plain, precise, edits)
        spread = max(float(expected.std()), float(intact.std()))

        def single(edits=edits):
            return [interpreted(each, inputs, edits) for each in (rounded, network)]

        def double(chosen=chosen):
            return in_double().logits(ablation.changes(in_double(), chosen, mode, factor))

        (found,) = set_logits(engine, [chosen], mode, factor)
        assert_same(found, expected, spread, single, double, (chosen, mode))
        alone = engine.logits(ablation.changes(engine, chosen, mode, factor))
        assert_same(alone, expected, spread, single, double, (chosen, mode))
