"""What a map costs: `python benchmarks/speed/attribution.py` prints seconds for each method at its defaults as JSON.

resnet20 and images of CIFAR-10's size, random but not trivial (see ablation.py); one unit and one image at a
time, in every layer, from a black image. `median`, `p95` and `slowest` are of a unit's maps, `cpu` the processor
seconds of the slowest, which other work on the machine disturbs less; `gradients` is how many integrated gradients
takes, `missed` how far the sum of its maps is from the unit's change, as a share of the larger of that change and the
unit's standard deviation. `label` is the median for a class's logit, `through` for a class by way of the unit;
`faithfulness` is deletion, insertion and infidelity of one map. `worst` has the slowest map of all beside the limit.
Give torch the threads that you mean: `OMP_NUM_THREADS=2`. `--quick` takes 5 layers instead of all 19.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.speed.ablation import network_and_images, timed
from selviz.attribution import METHODS, Response, Target, attribute, faithfulness
from selviz.networks.unit_network import UnitNetwork

LIMITS = {"seconds": 1.0, "missed": 0.02}
BLACK = -2.0  # in normalised units, as in most data sets


def missed(network: UnitNetwork, layer, number: int, inputs: torch.Tensor) -> float:
    """How far the sum of a map of integrated gradients is from the change of the unit, as a share (see above)."""
    target, image = Target(layer.name, 7 * number % layer.units), inputs[5 * number % 100].unsqueeze(0)
    with torch.no_grad():
        values = Response(network, target, inputs)(inputs)
        change = float(values[5 * number % 100] - Response(network, target, image)(torch.full_like(image, BLACK)))
    total = float(attribute(network, target, image, "integrated_gradients", BLACK).values.sum())
    return abs(total - change) / max(abs(change), float(values.std()), 1e-9)


def figures(layers_between: int, repeats: int) -> dict:
    model, inputs = network_and_images(100)
    network = UnitNetwork(model, inputs[:1]).for_inference()
    computed = []

    class Counting(Response):
        def forward(self, inputs):
            computed.append(len(inputs) if torch.is_grad_enabled() else 0)
            return super().forward(inputs)

    result = {"threads": torch.get_num_threads(), "layers": len(network.layers[::layers_between])}
    every = list(enumerate(network.layers[::layers_between]))
    for method in METHODS:
        times, label, through, spent = [], [], [], []
        for number, layer in every:
            for repeat in range(repeats):
                unit, image = (7 * number + repeat) % layer.units, inputs[(5 * number + repeat) % 100].unsqueeze(0)
                targets = (Target(layer.name, unit), Target(label=number % 10), Target(layer.name, unit, number % 10))
                for target, kept in zip(targets, (times, label, through)):
                    took, _ = timed(lambda t=target, i=image, m=method: attribute(network, t, i, m, BLACK))
                    kept.append(took)
        walls = sorted(wall for wall, _ in times)
        result[method] = {
            "median": statistics.median(walls),
            "p95": walls[int(0.95 * len(walls))],
            "slowest": walls[-1],
            "cpu": max(cpu for _, cpu in times),
            "maps": len(times),
            "label": statistics.median(wall for wall, _ in label),
            "through": statistics.median(wall for wall, _ in through),
        }
        if method == "integrated_gradients":
            for number, layer in every:
                computed.clear()
                target, image = Target(layer.name, 7 * number % layer.units), inputs[5 * number % 100].unsqueeze(0)
                METHODS[method](Counting(network, target, image), image, torch.full_like(image, BLACK))
                spent.append(sum(computed))
            result[method]["gradients"] = {"median": statistics.median(spent), "most": max(spent)}
            result[method]["missed"] = max(missed(network, layer, n, inputs) for n, layer in every)
    slowest = max(METHODS, key=lambda method: result[method]["slowest"])
    result["worst"] = {"method": slowest, "seconds": result[slowest]["slowest"], "limits": LIMITS}
    checks = []
    for number, layer in every:
        target, image = Target(layer.name, 7 * number % layer.units), inputs[5 * number % 100].unsqueeze(0)
        map_ = attribute(network, target, image, "gradient_x_input").maps[0]
        checks.append(timed(lambda t=target, i=image, m=map_: faithfulness(network, t, i, m, BLACK))[0][0])
    result["faithfulness"] = {"median": statistics.median(checks), "slowest": max(checks)}
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    print(json.dumps(figures(4 if arguments.quick else 1, arguments.repeats)))
