"""What robustness costs: `python benchmarks/speed/robustness.py` prints one JSON document with three ratios.

`overhead_ratio`: the 75 settings (15 corruptions x 5 severities) on 1,000 images with resnet20, with all that is stored
of units and images, over 75 bare forward passes plus the corruptions themselves, each by a call of corrupt-tta's own
function; all three are reported, in seconds, and measured in turns, corruption by corruption, so that other work on the
machine disturbs them alike; beside it the ratio of the processor's time, which such work disturbs less.
`units_seconds` is the part of the first that is neither.
`attack_ratio`: PGD with 20 steps over 20 bare forward and backward passes, in turns too; the smallest of some repeats.
`pictures_ratio`: the time to make the corrupted pictures one by one over that in as many processes as there are
threads, their beginning included, in turns; the median of some repeats. `--only pictures` measures that alone.
The images are photographs of scikit-learn, cut into pieces of 32 pixels. `--quick` takes 100 images and 5 corruptions.
Give torch the threads that you mean: `OMP_NUM_THREADS=2`.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import corrupt_tta.corruptions as library
import numpy as np
import torch
from sklearn.datasets import load_sample_images

sys.path.insert(0, str(Path(__file__).parents[2]))

from selviz import datasets
from selviz.networks import models
from selviz.networks.activations import BATCH
from selviz.networks.unit_network import UnitNetwork
from selviz.robustness import attacks
from selviz.robustness.bench import CORRUPTION, Bench, Perturbation
from selviz.robustness.corruptions import SEVERITIES, STANDARD
from selviz.studies.corrupted_pictures import CorruptedPictures

SIDE, CLASSES = 32, 10


def photographs(images: int) -> np.ndarray:
    """Pieces of two photographs, uint8 [N, 3, 32, 32]."""
    generator = np.random.default_rng(0)
    pictures = load_sample_images().images
    pieces = []
    for number in range(images):
        picture = pictures[number % len(pictures)]
        top, left = (generator.integers(0, size - SIDE) for size in picture.shape[:2])
        pieces.append(np.moveaxis(picture[top : top + SIDE, left : left + SIDE], -1, 0))
    return np.ascontiguousarray(np.stack(pieces))


def network_and_dataset(images: int) -> tuple[UnitNetwork, datasets.Dataset]:
    """resnet20, untrained but with the images' statistics in its batch norms, and the images as a data set."""
    pixels, labels = photographs(images), np.arange(images) % CLASSES
    dataset = datasets.assemble("photographs", map(str, range(CLASSES)), pixels, labels, pixels, labels)
    torch.manual_seed(0)
    model = models.build("resnet20", CLASSES, 3).train()
    with torch.no_grad():
        for _ in range(5):
            model(dataset.inputs()[:100])
    return UnitNetwork(model.eval(), dataset.example).for_inference(), dataset


def seconds(work) -> np.ndarray:
    """Seconds by the clock and of the processor."""
    started, working = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - started, time.process_time() - working])


def overhead(images: int, names) -> dict:
    """The three times, in seconds, and their ratio."""
    network, dataset = network_and_dataset(images)
    bench = Bench(network, dataset, images)
    inputs = dataset.inputs().contiguous(memory_format=torch.channels_last)
    pictures = [np.moveaxis(image, 0, -1) for image in dataset.eval_pixels.numpy()]
    whole, forward, corrupting = np.zeros((3, 2))

    @torch.inference_mode()
    def bare() -> None:
        for part in inputs.split(BATCH):
            network.logits(part)

    bare()
    for name in names:
        whole += seconds(lambda name=name: bench.measure(Perturbation(CORRUPTION, name, tuple(map(float, SEVERITIES)))))
        for severity in SEVERITIES:
            forward += seconds(bare)
            function = getattr(library, name)
            corrupting += seconds(lambda f=function, s=severity: [f(picture, s) for picture in pictures])
    ratio = whole / (forward + corrupting)
    whole, forward, corrupting = (float(times[0]) for times in (whole, forward, corrupting))
    return {
        "overhead_ratio": ratio[0],
        "overhead_ratio_processor_time": ratio[1],
        "settings": len(names) * len(SEVERITIES),
        "images": images,
        "selviz_seconds": whole,
        "forward_seconds": forward,
        "corruption_seconds": corrupting,
        "units_seconds": whole - forward - corrupting,
    }


def attack(images: int, repeats: int) -> dict:
    """PGD against as many bare forward and backward passes."""
    network, dataset = network_and_dataset(images)
    pixels, labels = dataset.eval_pixels.float(), dataset.eval_labels

    def bare() -> None:
        for part, answers in zip(pixels.split(BATCH), labels.split(BATCH)):
            for _ in range(attacks.STEPS):
                x = part.contiguous(memory_format=torch.channels_last).requires_grad_(True)
                loss = torch.nn.functional.cross_entropy(network.logits(dataset.normalise(x)), answers)
                torch.autograd.grad(loss, x)

    def whole() -> None:
        attacks.pgd(lambda x: network.logits(dataset.normalise(x)), pixels, labels, 2.0)

    times = [(seconds(bare)[0], seconds(whole)[0]) for _ in range(repeats)]
    plain, ours = (min(column) for column in zip(*times))
    return {"attack_ratio": ours / plain, "pgd_seconds": ours, "passes_seconds": plain, "attack_images": images}


def making_pictures(images: int, names, repeats: int) -> dict:
    """Corrupted pictures made one by one, against made in several processes."""
    _, dataset = network_and_dataset(images)
    pixels = dataset.eval_pixels
    wanted = [(name, severity) for name in names for severity in SEVERITIES]

    def made(processes: int) -> float:
        with tempfile.TemporaryDirectory(prefix="selviz-benchmark-") as folder:
            pictures = CorruptedPictures(Path(folder), dataset, len(pixels))

            def work() -> None:
                pictures.make(wanted, pixels, processes=processes)
                for name, severity in wanted:
                    for part, first in zip(pixels.split(BATCH), itertools.count(0, BATCH)):
                        pictures(name, severity, part, range(first, first + len(part)))

            return float(seconds(work)[0])

    times = [(made(1), made(torch.get_num_threads())) for _ in range(repeats)]
    return {
        "pictures_ratio": statistics.median(one / other for one, other in times),
        "pictures_seconds": [round(one, 2) for one, _ in times],
        "pictures_seconds_together": [round(other, 2) for _, other in times],
        "pictures_images": len(pixels),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("pictures",), help="this part alone")
    arguments = parser.parse_args()
    names = STANDARD[:5] if arguments.quick else STANDARD
    found = {}
    if arguments.only is None:
        found = overhead(100 if arguments.quick else 1000, names)
        found |= attack(100 if arguments.quick else BATCH, 3)
    found |= making_pictures(100 if arguments.quick else 1000, names, 2)
    print(json.dumps({**found, "threads": torch.get_num_threads(), "quick": arguments.quick}))
