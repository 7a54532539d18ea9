"""White-box attacks, L-infinity: `pgd(logits, pixels, labels, epsilon=2.0)` gives pixels.

Everything is in pixel units: images 0..255 before normalisation, epsilon out of 255. `logits` maps such pixels
[N, C, H, W] to [N, K], differentiably. Results stay within epsilon of the image and within 0..255, and are not rounded.
"""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from selviz.errors import SelvizError

EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0)
STRONGER = (16.0, 32.0)  # for images of one channel: digits are black and white, and 8 leaves them as they are
STEPS = 20
BATCH = 250
Logits = Callable[[Tensor], Tensor]


def fgsm(logits: Logits, pixels: Tensor, labels: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    """Take one step of size epsilon along the sign of the gradient of the cross entropy (Goodfellow et al., 1412.6572).

    Up the loss of `labels` [N]; with `targeted`, down the loss of these, the classes aimed at. float32 [N, C, H, W].
    Raises SelvizError for an epsilon below 0.
    """
    check_epsilon(epsilon)
    parts = [_step(logits, x, y, epsilon, targeted) for x, y in _batches(pixels, labels)]
    return _within(torch.cat(parts), pixels, epsilon)


def pgd(
    logits: Logits,
    pixels: Tensor,
    labels: Tensor,
    epsilon: float,
    steps: int = STEPS,
    step_size: float | None = None,
    random_start: bool = True,
    restarts: int = 1,
    targeted: bool = False,
    seed: int = 0,
) -> Tensor:
    """Return projected gradient descent (Madry et al., arXiv 1706.06083); `step_size` is 2.5 epsilon / steps by
    default.

    From a uniformly random point of the ball, drawn by `seed` alone, or from the image. Of several restarts each image
    keeps one that succeeds, and of those the one with the largest loss (the smallest, if targeted). Raises SelvizError
    for an epsilon below 0, and for less than one step or start.
    """
    check_epsilon(epsilon)
    if steps < 1 or restarts < 1:
        raise SelvizError(f"PGD takes {steps} steps and {restarts} starts; each must be at least 1.")
    step_size = 2.5 * epsilon / steps if step_size is None else step_size
    best = best_score = None
    for restart in range(restarts):
        generator = torch.Generator().manual_seed(seed + 1_000_003 * restart)
        parts = []
        for image, y in _batches(pixels, labels):
            x = image
            if random_start:
                drawn = 2 * torch.rand(image.shape, generator=generator) - 1
                x = (image + epsilon * drawn.to(image)).clamp(0, 255)
            for _ in range(steps):
                moved = _step(logits, x, y, step_size, targeted)
                x = (image + (moved - image).clamp(-epsilon, epsilon)).clamp(0, 255)
            parts.append(x)
        adversarial = _within(torch.cat(parts), pixels, epsilon)
        if restarts == 1:
            return adversarial
        score = _success(logits, adversarial, labels, targeted)
        if best is None or best_score is None:
            best, best_score = adversarial, score
        else:
            better = score > best_score
            best[better], best_score[better] = adversarial[better], score[better]
    assert best is not None
    return best


def check_epsilon(epsilon: float) -> float:
    """Return the same epsilon; SelvizError if it is below 0, above 255, or no number."""
    if not (math.isfinite(epsilon) and 0 <= epsilon <= 255):
        raise SelvizError(f"epsilon is {epsilon}; it is in pixel units, from 0 to 255, such as 0.5, 1, 2, 4 or 8.")
    return epsilon


def _step(logits: Logits, pixels: Tensor, labels: Tensor, size: float, targeted: bool) -> Tensor:
    """Return the pixels moved by `size` along the sign of the loss's gradient, within 0..255."""
    pixels = pixels.detach().requires_grad_(True)
    with torch.enable_grad():  # the sum: a mean over images would shrink the gradients
        loss = F.cross_entropy(logits(pixels), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, pixels)
    return (pixels.detach() + (-size if targeted else size) * gradient.sign()).clamp(0, 255)


def _batches(pixels: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for x, y in zip(torch.split(pixels, BATCH), torch.split(labels, BATCH), strict=True):
        yield x.float().contiguous(memory_format=torch.channels_last), y


def _within(moved: Tensor, pixels: Tensor, epsilon: float) -> Tensor:
    pixels = pixels.float()
    return torch.minimum(torch.maximum(moved, (pixels - epsilon).clamp(min=0)), (pixels + epsilon).clamp(max=255))


@torch.no_grad()
def _success(logits: Logits, pixels: Tensor, labels: Tensor, targeted: bool) -> Tensor:
    """Return a number [N] that is larger where the attack does better, and above 1 exactly where it succeeds."""
    scores = []
    for x, y in _batches(pixels, labels):
        outputs = logits(x)
        right = outputs.argmax(dim=1) == y
        loss = F.cross_entropy(outputs, y, reduction="none")
        success, gain = (right, -loss) if targeted else (~right, loss)
        scores.append(success.float() * 3 + 2 / math.pi * torch.atan(gain))
    return torch.cat(scores)
