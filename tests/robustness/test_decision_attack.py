"""RayS: the exact distance of a linear classifier, its queries, and that images do not depend on one another."""

import pytest
import torch

from selviz.errors import SelvizError
from selviz.robustness.attacks import pgd
from selviz.robustness.bench import within
from selviz.robustness.decision_attack import TOLERANCE, rays


@pytest.fixture(scope="module")
def linear():
    """(classes of pixels, weights, offset, pixels far from black and white, labels 0 or 1) of a linear classifier."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(18, generator=generator)
    pixels = 100 + 50 * torch.rand(9, 2, 3, 3, generator=generator)
    offset = (pixels.flatten(1) @ weights).median() + 1
    return lambda x: (x.flatten(1) @ weights > offset).long(), weights, offset, pixels


def test_the_distance_to_a_linear_boundary_is_the_one_on_paper(linear):
    predict, weights, offset, pixels = linear
    labels = predict(pixels)
    found = rays(predict, pixels, labels, queries=4000)
    exact = (pixels.flatten(1) @ weights - offset).abs() / weights.abs().sum()  # of a maximum norm: by the sum of |w|
    assert (found.distance >= exact).all()
    torch.testing.assert_close(found.distance, exact, atol=TOLERANCE, rtol=1e-4)
    torch.testing.assert_close((found.pixels - pixels).abs().amax(dim=(1, 2, 3)), found.distance, atol=1e-3, rtol=0)
    assert (predict(found.pixels) != labels).all()
    assert set(labels.tolist()) == {0, 1} and (exact > 0.01).all()


def test_queries_are_counted_kept_within_their_number_and_images_do_not_depend_on_one_another(linear):
    predict, _, _, pixels = linear
    labels, asked = predict(pixels), []

    def counted(x):
        asked.append(len(x))
        return predict(x)

    together = rays(counted, pixels, labels, queries=60)
    assert int(together.queries.sum()) == sum(asked) and int(together.queries.max()) <= 60
    alone = [rays(predict, pixels[row : row + 1], labels[row : row + 1], queries=60) for row in range(len(pixels))]
    for name in ("pixels", "distance", "queries"):
        assert torch.equal(getattr(together, name), torch.cat([getattr(each, name) for each in alone]))
    further = rays(predict, pixels, labels, queries=4000).distance
    assert (further <= together.distance).all() and (further < together.distance).any()


def test_whether_an_image_is_beaten_within_an_epsilon_does_not_depend_on_where_the_search_ends(linear):
    predict, _, _, pixels = linear
    labels = predict(pixels)
    to_the_end, stopped = (rays(predict, pixels, labels, stop_at) for stop_at in (0.0, 1.0))
    for epsilon in (1.0, 2.0, 4.0):
        beaten = [(predict(within(found, pixels, epsilon)) != labels).tolist() for found in (to_the_end, stopped)]
        assert beaten[0] == beaten[1]
        assert ((within(stopped, pixels, epsilon) - pixels).abs() <= epsilon + 1e-4).all()
    assert stopped.queries.sum() < to_the_end.queries.sum()


def test_an_image_that_is_wrong_already_and_one_that_nothing_beats_stay_as_they_are(linear):
    predict, _, _, pixels = linear
    wrong = rays(predict, pixels, 1 - predict(pixels))
    assert (wrong.distance == 0).all() and (wrong.queries == 1).all() and torch.equal(wrong.pixels, pixels)
    never = rays(lambda x: torch.zeros(len(x), dtype=torch.long), pixels, torch.zeros(9, dtype=torch.long), queries=50)
    assert never.distance.isinf().all() and torch.equal(never.pixels, pixels) and (never.queries <= 50).all()
    with pytest.raises(SelvizError, match="RayS has 1 queries"):
        rays(predict, pixels, predict(pixels), queries=1)


def test_a_network_whose_gradient_is_0_hides_from_pgd_and_not_from_rays(linear):
    _, weights, offset, pixels = linear

    def steps(x):  # the sign of the same linear function: flat almost everywhere
        side = torch.sign(x.flatten(1) @ weights - offset)
        return torch.stack([-side, side], dim=1) + 0 * x.sum()

    def predict(x):
        return steps(x).argmax(dim=1)

    labels = predict(pixels)
    attacked = pgd(steps, pixels, labels, 4.0, random_start=False)
    assert (predict(attacked) == labels).all() and (rays(predict, pixels, labels).distance <= 4).any()
