"""Small networks written as a forward function and its parts: `from_forward(lambda self, x: ..., conv=CONV)`."""

import torch
from torch import nn

IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(9))
CONV, READ = lambda: nn.Conv2d(3, 8, 3), lambda: nn.Linear(8, 10)


def from_forward(forward, **parts):
    """Return a network with these parts in evaluation mode, whose forward is `forward(self, x)`."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            for name, make in parts.items():
                part = make()
                setattr(self, name, nn.Parameter(part) if isinstance(part, torch.Tensor) else part)

        def forward(self, x):
            return forward(self, x)

    return Network().eval()


def layers_of(read):
    """Return (name, units, activation) of each unit layer of a network that was brought."""
    return [(layer.name, layer.units, layer.activation) for layer in read.network.layers]
