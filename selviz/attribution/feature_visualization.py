"""An image made to drive one unit: `found = synthesise(network, "relu3", 7, dataset)`; natural images tell more.

In a controlled study people understood units better from their strongest natural images than from such pictures (92 %
against 82 % right; Borowski et al. 2021, ICLR): show them second, and with that caveat.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selviz.networks.unit_edit import check_units
from selviz.networks.unit_network import UnitNetwork

STEPS, RATE = 160, 0.2
SHIFT = 1 / 14  # of the image's side: how far it is moved at random in each step
TRIES = 20  # draws of the noise, until the unit answers to one of them


@dataclass(frozen=True)
class Visualization:
    """uint8 `pixels` [C, H, W], the unit's `activation` on them, and `at_start`, on the noise it began with."""

    pixels: np.ndarray
    activation: float
    at_start: float


def synthesise(
    network: UnitNetwork,
    layer: str,
    unit: int,
    normalise: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
    steps: int = STEPS,
    seed: int = 0,
) -> Visualization:
    """Ascend the gradient of the unit's activation (its mean over positions) over images of `shape` (C, H, W).

    The image is the sigmoid of a Fourier series whose terms are scaled by frequency^-1.5, so that coarse patterns come
    first, and is moved by up to a fourteenth of its side in every step, against patterns of single pixels (after Olah,
    Mordvintsev and Schubert 2017, Feature Visualization, Distill; the details are selviz's choice). It begins with
    noise, drawn up to 20 times until the unit answers: without that no gradient leads anywhere. `normalise` turns
    pixels [N, C, H, W], 0..255, into inputs of the network. The same seed gives the same image. Raises SelvizError for
    a layer or unit that the network does not have.
    """
    check_units(network.layer(layer), [unit])
    channels, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
    scale = (frequency.clamp(min=1 / max(height, width)) * max(height, width)) ** -1.5
    black, white = (normalise(torch.full((1, *shape), value, dtype=torch.uint8)) for value in (0, 255))
    reach = max(1, round(SHIFT * min(height, width)))

    def series(spectrum: Tensor) -> Tensor:
        image: Tensor = torch.fft.irfft2(torch.view_as_complex(spectrum) * scale, s=(height, width), norm="forward")
        return image

    def image(spectrum: Tensor) -> Tensor:
        return torch.sigmoid(series(spectrum))

    def activation(picture: Tensor) -> Tensor:
        return network.maps(black + picture.unsqueeze(0) * (white - black), layer)[0, unit].mean()

    for _ in range(TRIES):
        spectrum = torch.randn(channels, *frequency.shape, 2, generator=generator)
        spectrum /= series(spectrum).std()  # more would leave pixels where the sigmoid is flat
        with torch.no_grad():
            at_start = float(activation(image(spectrum)))
        if at_start > 0:
            break
    spectrum.requires_grad_(True)
    with torch.enable_grad():
        for _ in range(steps):
            down, right = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
            reached = activation(torch.roll(image(spectrum), (down, right), dims=(1, 2)))
            (slope,) = torch.autograd.grad(reached, [spectrum])
            # Adam would take full steps along terms whose slope is only noise.
            with torch.no_grad():
                spectrum += RATE * slope / slope.norm().clamp(min=1e-12)
    with torch.no_grad():
        pixels = (255 * image(spectrum)).round().to(torch.uint8)
        at_end = float(activation(pixels / 255))
    return Visualization(pixels.numpy(), at_end, at_start)
