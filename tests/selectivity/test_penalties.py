"""What training can be penalized for: each measure against its plain formula, its gradient, many networks at once."""

import math

import pytest
import torch

from selviz.selectivity import index, penalties

CLASSES = 4


@pytest.fixture
def batch():
    """Activations [24, 3] and labels of four classes, of which unit 0 prefers the first."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(24) % CLASSES
    values = torch.rand(24, 3, generator=generator, dtype=torch.float64)
    values[:, 0] += 2.0 * (labels == 0)
    return values, labels


def by_hand(metric, values, labels):
    """The mean over units, one unit and one class at a time."""
    units = []
    for unit in values.T.tolist():
        groups = [[v for v, label in zip(unit, labels.tolist()) if label == c] for c in range(CLASSES)]
        means = [sum(g) / len(g) for g in groups]
        best = max(range(CLASSES), key=lambda c: means[c])
        rest = [v for c, g in enumerate(groups) if c != best for v in g]
        mean, other = means[best], sum(rest) / len(rest)
        if metric == "ccmas":
            units.append((mean - other) / (mean + other + index.EPS))
        elif metric == "dprime":
            spread = [sum((v - m) ** 2 for v in g) / len(g) for g, m in ((groups[best], mean), (rest, other))]
            units.append((mean - other) / math.sqrt(sum(spread) / 2 + 1e-4))
        elif metric == "class-mi":
            overall = sum(unit) / len(unit)
            terms = [len(g) / len(unit) * m / overall * math.log(m / overall) for g, m in zip(groups, means)]
            units.append(sum(terms) / math.log(CLASSES))
        else:
            others = [m for c, m in enumerate(means) if c != best]
            rest_mean = sum(others) / len(others)
            units.append((mean - rest_mean) / (mean + rest_mean + index.EPS))
    return sum(units) / len(units)


@pytest.mark.parametrize("metric", penalties.METRICS)
def test_each_measure_is_its_formula(batch, metric):
    values, labels = batch
    found = penalties.penalty([values], labels, CLASSES, metric=metric)
    assert found.item() == pytest.approx(by_hand(metric, values, labels), abs=1e-5)


@pytest.mark.parametrize("metric", penalties.METRICS)
def test_each_measure_has_the_gradient_of_finite_differences(batch, metric):
    values, labels = batch
    assert torch.autograd.gradcheck(
        lambda inputs: penalties.penalty([inputs], labels, CLASSES, metric=metric), (values.requires_grad_(),)
    )


@pytest.mark.parametrize("metric", penalties.METRICS)
def test_many_networks_at_once_have_the_values_of_each_alone(batch, metric):
    values, labels = batch
    networks, groups = torch.stack([values, values.flip(0), values**2]), torch.stack([labels, labels, labels.flip(0)])
    together = penalties.penalty([networks, networks[..., :2]], groups, CLASSES, metric=metric)
    alone = [
        penalties.penalty([one, one[:, :2]], group, CLASSES, metric=metric).item()
        for one, group in zip(networks, groups)
    ]
    assert together.tolist() == pytest.approx(alone, abs=1e-12)


@pytest.mark.parametrize("metric", penalties.METRICS)
def test_a_unit_that_never_fires_or_never_changes_has_no_selectivity_and_finite_gradients(metric):
    values = torch.zeros(16, 2, dtype=torch.float64)
    values[:, 1] = 3.0
    values.requires_grad_()
    found = penalties.penalty([values], torch.arange(16) % CLASSES, CLASSES, metric=metric)
    found.backward()
    assert found.item() == pytest.approx(0, abs=1e-6) and bool(values.grad.isfinite().all())


def gradient_of(scale, floor):
    """Largest gradient of the index of one unit whose activations are a few, times `scale`."""
    base = torch.tensor([[1.0], [0.5], [0.2], [0.1]], dtype=torch.float64)
    values = (base * scale).requires_grad_()
    found = penalties.penalty([values], torch.arange(4), CLASSES, floor=floor)
    found.backward()
    return found.item(), values.grad.abs().max().item(), values.grad.flatten()


def test_the_bounded_penalty_keeps_value_and_direction_and_bounds_the_gradient_near_dead_units():
    value, free, direction = gradient_of(1e-5, 0.0)
    same, held, scaled = gradient_of(1e-5, 0.1)
    assert same == pytest.approx(value, abs=1e-12) and free > 1e3 and held < 2 / 0.1
    torch.testing.assert_close(scaled / held, direction / free)


def test_the_bounded_penalty_leaves_units_that_fire_alone():
    assert gradient_of(1.0, 0.1)[:2] == gradient_of(1.0, 0.0)[:2]


def test_more_classes_than_a_product_is_for_give_the_same_sums():
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(2, 300, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 70, (2, 300), generator=generator)
    many = index.class_sums(values, labels, 70)
    few = [(labels == c).to(values.dtype).unsqueeze(-2) @ values for c in range(70)]
    torch.testing.assert_close(many[0], torch.cat(few, dim=-2))
    assert many[1].sum().item() == 600
