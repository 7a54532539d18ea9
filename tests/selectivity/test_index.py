"""The index, its penalty and its null, against plain loops and numbers worked out on paper."""

import numpy as np
import pytest
import torch

from selviz.selectivity import index, penalties
from selviz.testing.toy import UNIT_SI
from tests.helpers.plain import plain_index


@pytest.fixture
def noisy():
    generator = torch.Generator().manual_seed(0)
    activations = torch.rand(200, 6, generator=generator).square()
    activations[:, 4] = 0
    return activations, torch.randint(0, 5, (200,), generator=generator)


def test_index_equals_a_plain_loop_over_images(noisy):
    activations, labels = noisy
    si = index.index(*index.class_means(activations, labels, 5))
    expected = [plain_index(activations[:, unit].tolist(), labels.tolist(), 5) for unit in range(6)]
    np.testing.assert_allclose(si, expected, atol=1e-6)


def test_index_of_hand_set_class_means():
    means = torch.tensor([[2.0, 0.0, 0.0, 4.0], [1.0, 1.0, 0.0, 4.0], [1.0, 0.0, 0.0, 4.0]])
    np.testing.assert_allclose(index.index(means), UNIT_SI, atol=1e-6)
    assert index.preferred_class(means).tolist() == [0, 1, 0, 0]


def test_classes_weigh_the_same_however_many_images_they_have():
    """mu_rest is a mean of class means: 90 images of class 1 do not drown the 10 of class 2."""
    activations = torch.cat([torch.full((10, 1), 4.0), torch.zeros(90, 1), torch.full((10, 1), 2.0)])
    labels = torch.tensor([0] * 10 + [1] * 90 + [2] * 10)
    si = index.index(*index.class_means(activations, labels, 3))
    assert si.item() == pytest.approx((4 - 1) / (4 + 1), abs=1e-6)


def test_a_class_that_is_missing_from_the_batch_is_left_out(noisy):
    activations, labels = noisy
    here = labels != 2
    without = penalties.penalty([activations[here]], labels[here], 5)
    renumbered = torch.where(labels > 2, labels - 1, labels)[here]
    assert without.item() == pytest.approx(penalties.penalty([activations[here]], renumbered, 4).item(), abs=1e-7)


def test_one_class_alone_has_no_selectivity_and_no_gradient_trouble():
    activations = torch.rand(8, 3, requires_grad=True)
    value = penalties.penalty([activations], torch.zeros(8, dtype=torch.long), 10)
    value.backward()
    assert value.item() == 0 and torch.isfinite(activations.grad).all()


def test_penalty_averages_units_before_layers(noisy):
    activations, labels = noisy
    narrow, wide = activations[:, :1], activations
    si = index.index(*index.class_means(wide, labels, 5))
    expected = (si[0] + si.mean()) / 2
    assert penalties.penalty([narrow, wide], labels, 5).item() == pytest.approx(expected.item(), abs=1e-6)


def test_penalty_gradient_equals_finite_differences(noisy):
    activations, labels = noisy
    inputs = (activations[:30, :3].double() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: penalties.penalty([a], labels[:30], 5), (inputs,))


def test_class_means_stay_float32_under_mixed_precision(noisy):
    activations, labels = noisy
    exact = index.class_means(activations, labels, 5)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        means = index.class_means(activations, labels, 5)[0]
    assert means.dtype == torch.float32
    torch.testing.assert_close(means, exact, rtol=0, atol=0)


def test_null_equals_the_mean_over_all_arrangements_of_a_one_hot_unit():
    """Four of twelve images fire, three classes of four: SI is 1, 5/7 or 1/3 as 4, 3 or 2 of them share a class.

    Of the 495 arrangements, 3, 96 and 396 do.
    """
    labels = torch.arange(3).repeat(4)
    null = index.shuffle_null((labels == 1).double().unsqueeze(1), labels, 3, shuffles=4000, seed=1)[:, 0]
    assert {round(value, 4) for value in null.tolist()} == {1.0, 0.7143, 0.3333}
    expected, spread = (3 * 1 + 96 * 5 / 7 + 396 / 3) / 495, 0.16
    assert null.mean().item() == pytest.approx(expected, abs=4 * spread / 4000**0.5)


def test_null_of_activations_without_selectivity_agrees_with_the_simulated_value():
    """Coefficient of variation 1, 10 classes of 100 images: a maximum of noisy means gives 0.08, not 0."""
    generator = torch.Generator().manual_seed(0)
    activations = torch.empty(1000, 50).exponential_(generator=generator)
    labels = torch.arange(10).repeat(100)
    observed = index.index(*index.class_means(activations, labels, 10)).mean().item()
    null = index.shuffle_null(activations, labels, 10).mean().item()
    assert observed == pytest.approx(null, abs=0.01) and 0.06 < null < 0.1


def test_null_is_the_same_for_the_same_seed(noisy):
    first, again, other = (index.shuffle_null(*noisy, 5, shuffles=100, seed=seed) for seed in (3, 3, 4))
    assert first.shape == (100, 6) and torch.equal(first, again) and not torch.equal(first, other)


def test_sums_over_many_classes_are_added_image_by_image_to_the_same(monkeypatch):
    generator = torch.Generator().manual_seed(5)
    values, labels = torch.rand(300, 6, generator=generator).double(), torch.arange(300) % 70
    many = index.class_sums(values, labels, 70)
    monkeypatch.setattr(index, "MANY", 70)
    for found, expected in zip(many, index.class_sums(values, labels, 70), strict=True):
        torch.testing.assert_close(found, expected)
