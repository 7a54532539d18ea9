"""Networks on another device: results are those of the CPU, come back to it, and no tensor is left behind."""

import pytest
import torch
from torch import nn

from selviz import ablation
from selviz.attribution import by_captum, by_formula, methods
from selviz.attribution.attribute import attribute
from selviz.attribution.faithfulness import faithfulness
from selviz.attribution.feature_visualization import synthesise
from selviz.attribution.targets import Target
from selviz.errors import SelvizError
from selviz.geometry.dimensionality import gradient_variability
from selviz.networks import devices, graph_format, tracing
from selviz.networks.activations import observe, sample
from selviz.networks.unit_edit import silence
from selviz.networks.unit_network import UnitNetwork
from selviz.robustness.attacks import fgsm, pgd
from selviz.robustness.bench import AttackSettings, adversarial
from selviz.runs.load import load_network
from tests.helpers.second_device import HERE, SecondDevice, TwoDevices, on_second_device

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(scope="module")
def loaded(tiny_store, tiny_run):
    return load_network(tiny_store, tiny_run)


def both(loaded, work):
    """What `work(network, inputs, labels)` returns with the network on the CPU and on the second device."""
    network, dataset = loaded
    inputs, labels = dataset.inputs()[:60], dataset.eval_labels[:60]
    here = work(network, inputs, labels)
    with SecondDevice():
        other = on_second_device(network)
        assert other.device == HERE
        there = work(other, inputs, labels)
    return here, there


def assert_same(here, there):
    assert len(here) == len(there)
    for one, other in zip(here, there):
        assert type(other) is torch.Tensor and other.device.type == "cpu", "it was left on the other device"
        torch.testing.assert_close(other, one, rtol=0, atol=1e-6)


def test_the_second_device_tells_a_tensor_that_was_left_behind():
    with SecondDevice():
        there = torch.ones(3, device=HERE)
        with pytest.raises(TwoDevices):
            there + torch.ones(3)
        assert (there + 1).device == HERE and (there + 1).cpu().tolist() == [2, 2, 2]


def test_logits_activations_maps_and_samples(loaded):
    def work(network, inputs, labels):
        logits, activations = observe(network, inputs, batch=25)
        maps = network.maps(inputs, "relu2")
        samples = sample(network, inputs, ["relu2", "relu4"], 100)
        return [logits, *activations, maps, *samples.values(), network.logits(inputs)]

    assert_same(*both(loaded, work))


def test_gradients_reach_inputs_that_are_elsewhere(loaded):
    def work(network, inputs, labels):
        inputs = inputs.clone().requires_grad_()
        network.observe(inputs)[1][1].sum().backward()
        return [inputs.grad]

    assert_same(*both(loaded, work))


@pytest.mark.parametrize("units", [{"relu1": [0, 3]}, {"relu2": [1], "relu4": [5, 7]}, {"relu4": list(range(64))}])
def test_ablations_by_engine_and_by_resuming(loaded, units):
    def work(network, inputs, labels):
        engine = ablation.Engine(network, inputs, labels)
        edits = {layer: silence(network.layer(layer), numbers) for layer, numbers in units.items()}
        boundary = network.boundary(inputs, units)
        return [
            engine.before(), engine.logits(edits), network.resume(boundary, edits),
            *engine.statistics(next(iter(units))),
        ]  # fmt: skip

    with torch.inference_mode(False), torch.no_grad():
        assert_same(*both(loaded, work))


SETTINGS = {"integrated_gradients": {"steps": 4, "most": 8}, "conductance": {"steps": 4}}


@pytest.mark.parametrize("library", [by_captum, by_formula], ids=["captum", "formula"])
@pytest.mark.parametrize("method", methods.METHODS)
def test_attributions_of_units_and_classes(loaded, method, library, monkeypatch):
    for name in vars(methods).keys() & vars(library).keys() & {*vars(by_formula)}:
        if callable(getattr(library, name)) and getattr(library, name).__module__ == library.__name__:
            monkeypatch.setattr(methods, name, getattr(library, name))

    def work(network, inputs, labels):
        targets = (Target(unit=3, layer="relu2"), Target(label=1))
        results = [attribute(network, target, inputs[:1], method, **SETTINGS.get(method, {})) for target in targets]
        return [part for result in results for part in (result.values.detach(), result.maps.detach())]

    assert_same(*both(loaded, work))


def test_how_faithful_a_map_is(loaded):
    def work(network, inputs, labels):
        map_ = torch.rand(inputs.shape[2:], generator=torch.Generator().manual_seed(0))
        answer = faithfulness(network, Target(label=1), inputs[:1], map_, steps=3, orders=2, samples=8)
        return [torch.tensor(answer[name]) for name in ("value", "baseline_value", "infidelity")] + [
            torch.tensor(answer[name]["curve"]) for name in ("deletion", "insertion")
        ]

    assert_same(*both(loaded, work))


def test_what_a_unit_does_to_the_answers_and_the_gradients_of_all(loaded):
    def work(network, inputs, labels):
        engine = ablation.Engine(network, inputs, labels)
        pushed = ablation.push(engine, "relu3", 7).select_dtypes("number").to_numpy()
        estimates = ablation.gradient_estimates(engine, 10)
        return [torch.from_numpy(pushed).double(), ablation.relevance(engine, "relu3"), *estimates.values()]

    assert_same(*both(loaded, work))


class Numbered(nn.Module):
    """Makes numbers of positions where its input is, which an exported graph names by the device it was traced on."""

    def __init__(self):
        super().__init__()
        self.relu, self.kernel = nn.ReLU(), nn.Conv2d(1, 8, 3, padding=1)
        self.places, self.head = nn.Embedding(64, 8), nn.Linear(8, 10)

    def forward(self, x):
        tokens = self.kernel(x).flatten(2).transpose(1, 2)
        places = torch.arange(tokens.shape[1], device=x.device)
        return self.head(self.relu(tokens + self.places(places) + torch.ones(8, device=x.device)).mean(dim=1))


@pytest.mark.parametrize("way", tracing.WAYS)
def test_what_an_imported_network_makes_itself_is_made_where_the_network_is(way):
    torch.manual_seed(0)
    example = torch.rand(1, 1, 8, 8)
    traced = tracing.trace(Numbered().eval(), example, way)
    document, tensors = graph_format.graph_document(traced), graph_format.tensors_of(traced)
    network = UnitNetwork.from_traced(graph_format.rebuilt(document, tensors, example)).for_inference()
    images = torch.rand(5, 1, 8, 8)
    with torch.no_grad(), SecondDevice():
        there = on_second_device(network).logits(images)
    assert_same([network.logits(images)], [there])


def test_attacks_gradients_and_made_images(loaded):
    dataset = loaded[1]

    def work(network, inputs, labels):
        def logits(pixels):
            return network.logits(dataset.normalise(pixels))

        pixels = dataset.eval_pixels[:12].float()
        attacked = [fgsm(logits, pixels, labels[:12], 4.0), pgd(logits, pixels, labels[:12], 4.0, steps=3)]
        few = AttackSettings(queries=30)
        attacked.append(adversarial(network, dataset, pixels, labels[:12], "rays", 64.0, few))
        norms, _ = gradient_variability(lambda x: network.observe(x)[1][1], inputs[:12], [0, 2])
        made = synthesise(network, "relu2", 3, dataset.normalise, tuple(dataset.eval_pixels.shape[1:]), steps=3)
        return [*attacked, torch.from_numpy(norms), torch.from_numpy(made.pixels).float()]

    assert_same(*both(loaded, work))


def test_the_device_is_the_one_that_was_asked_for(monkeypatch):
    monkeypatch.delenv(devices.VARIABLE, raising=False)
    assert devices.chosen() == torch.device("cpu")
    monkeypatch.setenv(devices.VARIABLE, "auto")
    assert devices.chosen().type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(SelvizError, match="Unknown device 'abacus'.*auto"):
        devices.resolve("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(SelvizError, match="use --device auto or --device cpu"):
            devices.resolve("cuda")


@pytest.mark.gpu
@GPU
def test_on_a_gpu_logits_si_and_ablated_predictions_agree_with_the_cpu(tiny_store, tiny_run, monkeypatch):
    """Stated tolerances: logits 1e-3, SI 1e-4, ablated predictions the same but for one image in a thousand."""
    results = {}
    for name in ("cpu", "cuda"):
        monkeypatch.setenv(devices.VARIABLE, name)
        network, dataset = load_network(tiny_store, tiny_run)
        inputs, labels = dataset.inputs(), dataset.eval_labels
        from selviz.selectivity import index

        logits, activations = observe(network, inputs)
        si = torch.cat([index.index(*index.class_means(layer, labels, 10)) for layer in activations])
        engine = ablation.Engine(network, inputs, labels)
        after = engine.logits({"relu2": silence(network.layer("relu2"), [1, 2, 5])})
        results[name] = (logits, si, after.argmax(dim=1))
    torch.testing.assert_close(results["cuda"][0], results["cpu"][0], rtol=0, atol=1e-3)
    torch.testing.assert_close(results["cuda"][1], results["cpu"][1], rtol=0, atol=1e-4)
    assert (results["cuda"][2] != results["cpu"][2]).float().mean() <= 1e-3
