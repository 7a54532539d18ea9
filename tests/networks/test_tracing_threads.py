"""A network that is traced in one thread leaves alone what other threads compute, and what they trace."""

import threading

import torch
from torch import nn

from selviz.networks import tracing
from selviz.networks.unit_network import UnitNetwork

IMAGES = torch.rand(4, 1, 8, 8)


class Meanwhile(nn.Module):
    """Calls `work` in another thread while its forward runs, as a visitor's page does."""

    def __init__(self, work, patience=None):
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Linear(3, 2)
        self.work, self.patience, self.threads, self.raised = work, patience, [], []

    def forward(self, x):
        thread = threading.Thread(target=self.kept)
        thread.start()
        thread.join(self.patience)
        self.threads.append(thread)
        return self.head(self.relu(self.conv(x)).mean(dim=(2, 3)))

    def kept(self):
        try:
            self.work()
        except BaseException as error:
            self.raised.append(error)


def test_modules_that_other_threads_call_meanwhile_compute():
    other = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2)).eval()
    network, expected, computed = UnitNetwork(other, IMAGES[:1]), other(IMAGES), []
    model = Meanwhile(lambda: computed.extend([other(IMAGES), network.logits(IMAGES)]))
    traced = tracing.trace(model, IMAGES[:1])
    assert not model.raised
    assert len(computed) >= 2 and all(torch.equal(logits, expected) for logits in computed)
    assert not any("Linear" in str(node.target) or "work" in str(node.target) for node in traced.graph.nodes)


def test_networks_that_are_traced_at_once_are_each_what_they_are_alone():
    known, graphs = nn.Module.__call__, []

    def model():
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))

    first = Meanwhile(lambda: graphs.append(tracing.trace(model(), IMAGES[:1]).graph), patience=0.2)
    alone = [node.op for node in tracing.trace(model(), IMAGES[:1]).graph.nodes]
    tracing.trace(first, IMAGES[:1])
    for thread in first.threads:
        thread.join(30)
    assert not first.raised and graphs
    assert all([node.op for node in graph.nodes] == alone for graph in graphs)
    assert nn.Module.__call__ is known
