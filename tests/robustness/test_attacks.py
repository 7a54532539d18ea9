"""Attacks: the ball, the closed form, one step of PGD, seeds, targets, restarts."""

import threading

import pytest
import torch
import torch.nn.functional as F
from captum.robust import FGSM, PGD

from selviz.errors import SelvizError
from selviz.robustness import attacks
from selviz.robustness.attacks import fgsm, pgd
from selviz.runs.load import load_network

IMAGES = 200


@pytest.fixture(scope="module")
def trained(tiny_store, tiny_run):
    """(logits of pixels 0..255, pixels, labels) of the network in the tiny store."""
    network, dataset = load_network(tiny_store, tiny_run)
    pixels = dataset.eval_pixels[:IMAGES].float()
    return lambda x: network.logits(dataset.normalise(x)), pixels, dataset.eval_labels[:IMAGES]


@pytest.fixture(scope="module")
def linear():
    """A linear classifier of 3 classes over pixels [2, 3, 3], images well inside the range, and labels."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(18, 3, generator=generator) / 100
    pixels = 100 + 50 * torch.rand(7, 2, 3, 3, generator=generator)
    return lambda x: x.flatten(1) @ weights, weights, pixels, torch.arange(7) % 3


def accuracy(logits, pixels, labels) -> float:
    with torch.no_grad():
        return float((logits(pixels).argmax(dim=1) == labels).float().mean())


def test_fgsm_on_a_linear_model_is_the_closed_form(linear):
    logits, weights, pixels, labels = linear
    residual = logits(pixels).softmax(dim=1) - torch.eye(3)[labels]
    expected = pixels + 4 * torch.sign(residual @ weights.T).view_as(pixels)
    torch.testing.assert_close(fgsm(logits, pixels, labels, 4.0), expected)
    aimed = (labels + 1) % 3
    residual = logits(pixels).softmax(dim=1) - torch.eye(3)[aimed]
    expected = pixels - 4 * torch.sign(residual @ weights.T).view_as(pixels)
    torch.testing.assert_close(fgsm(logits, pixels, aimed, 4.0, targeted=True), expected)


def test_one_step_of_pgd_from_the_image_with_step_size_epsilon_is_fgsm(trained):
    logits, pixels, labels = trained
    for targeted in (False, True):
        one = pgd(logits, pixels, labels, 3.0, steps=1, step_size=3.0, random_start=False, targeted=targeted)
        assert torch.equal(one, fgsm(logits, pixels, labels, 3.0, targeted))
        assert not torch.equal(one, pixels)


def test_attacks_are_captums_to_the_last_bit(trained, monkeypatch):
    """With a threshold of 0, the loss summed over images, and Captum's start drawn by the same seed."""
    logits, pixels, labels = trained
    pixels = pixels.contiguous(memory_format=torch.channels_last)

    def loss(outputs, labels):
        return F.cross_entropy(outputs, labels, reduction="sum").unsqueeze(0)

    for targeted in (False, True):
        step = FGSM(logits, loss, 0.0, 255.0)
        step.zero_thresh = 0.0
        assert torch.equal(
            step.perturb(pixels, 4.0, labels, targeted=targeted), fgsm(logits, pixels, labels, 4.0, targeted)
        )
        steps = PGD(logits, loss, 0.0, 255.0)
        steps.fgsm.zero_thresh = 0.0
        generator = torch.Generator().manual_seed(7)
        start = 2 * torch.rand(pixels.shape, generator=generator) - 1
        monkeypatch.setattr(
            steps, "_random_point", lambda center, radius, *rest, start=start: center + radius * start.to(center)
        )
        theirs = steps.perturb(pixels, 4.0, 1.0, 5, labels, targeted=targeted, random_start=True)
        ours = pgd(logits, pixels, labels, 4.0, steps=5, step_size=1.0, targeted=targeted, seed=7)
        assert torch.equal(theirs, ours) and not torch.equal(ours, pixels)


def test_with_epsilon_0_nothing_changes(trained):
    logits, pixels, labels = trained
    assert torch.equal(fgsm(logits, pixels, labels, 0.0), pixels)
    assert torch.equal(pgd(logits, pixels, labels, 0.0, steps=3), pixels)


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 8.0])
def test_the_result_lies_in_the_ball_and_in_the_range_of_images(trained, epsilon):
    logits, pixels, labels = trained
    for found in (
        fgsm(logits, pixels, labels, epsilon),
        pgd(logits, pixels, labels, epsilon, steps=4, step_size=epsilon, restarts=2),
    ):
        assert found.min() >= 0 and found.max() <= 255
        assert (found >= (pixels - epsilon).clamp(min=0)).all() and (found <= (pixels + epsilon).clamp(max=255)).all()
        assert (found - pixels).abs().max() > 0.9 * epsilon


def test_a_confident_network_is_attacked_too(trained):
    logits, pixels, labels = trained
    sure = accuracy(lambda x: 40 * logits(x), pixels, labels)
    assert accuracy(logits, fgsm(lambda x: 40 * logits(x), pixels, labels, 32.0), labels) < sure - 0.1


def test_pgd_beats_clean_images_and_stronger_epsilons_never_help(trained):
    logits, pixels, labels = trained
    found = [accuracy(logits, pixels, labels)]
    found += [accuracy(logits, pgd(logits, pixels, labels, epsilon, steps=5), labels) for epsilon in (4.0, 16.0, 48.0)]
    assert found == sorted(found, reverse=True) and found[-1] < found[0] - 0.2


def test_the_start_is_drawn_by_the_seed_alone_whoever_else_draws(trained):
    logits, pixels, labels = trained
    first = pgd(logits, pixels, labels, 2.0, steps=1, step_size=0.1, seed=4)
    stop = threading.Event()

    def draw():
        while not stop.is_set():
            torch.rand(10)

    other = threading.Thread(target=draw)
    other.start()
    again = pgd(logits, pixels, labels, 2.0, steps=1, step_size=0.1, seed=4)
    stop.set()
    other.join()
    assert torch.equal(first, again)
    assert not torch.equal(first, pgd(logits, pixels, labels, 2.0, steps=1, step_size=0.1, seed=5))
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    pgd(logits, pixels, labels, 2.0, steps=1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_targeted_attack_reaches_its_class_and_more_starts_never_reach_it_less(trained):
    logits, pixels, labels = trained
    aimed = (labels + 1) % 10
    clean = accuracy(logits, pixels, aimed)
    one = accuracy(logits, pgd(logits, pixels, aimed, 32.0, steps=5, targeted=True), aimed)
    three = accuracy(logits, pgd(logits, pixels, aimed, 32.0, steps=5, targeted=True, restarts=3), aimed)
    assert clean < one <= three
    once = accuracy(logits, pgd(logits, pixels, labels, 8.0, steps=2), labels)
    assert accuracy(logits, pgd(logits, pixels, labels, 8.0, steps=2, restarts=3), labels) <= once


def test_bad_settings_are_refused(linear):
    logits, _, pixels, labels = linear
    for epsilon in (-1.0, float("nan"), 256.0):
        with pytest.raises(SelvizError, match="it is in pixel units, from 0 to 255"):
            fgsm(logits, pixels, labels, epsilon)
    with pytest.raises(SelvizError, match="each must be at least 1"):
        pgd(logits, pixels, labels, 1.0, steps=0)
    assert len(attacks.EPSILONS) == 5
