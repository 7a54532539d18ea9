"""The record of speed: `python benchmarks/speed/record.py` measures ratios, and says which fell since the baseline.

Each figure is a ratio of two ways that take turns in one process, in repeated rounds, so that it holds on a machine of
another speed. One JSON line per figure goes to standard output: its name, the ratio (median over rounds), its noise
(half the distance between the quartiles), the rounds, and the machine. More is better for all of them.

    python benchmarks/speed/record.py --baseline        # writes benchmarks/speed/baseline.jsonl, on a quiet machine
    python benchmarks/speed/record.py                   # exit status 1 where a ratio fell by more than its noise

`--quick` takes fewer images, which have figures of their own in the baseline; `--only NAME` measures the figures whose
name begins so. A ratio fell by more than its noise where it is below the baseline by more than twice the two noises
together, and by more than 5 %.
"""

import argparse
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

BASELINE = Path(__file__).with_name("baseline.jsonl")
LEAST_FALL = 0.05


def ablation_ratios(quick: bool) -> Iterator[tuple[str, list[float]]]:
    """One silenced unit against a hook and a full pass, by thirds of resnet20's depth."""
    from benchmarks.speed.ablation import figures

    rounds = [figures(200 if quick else 1000, repeats=1, units_a_layer=1) for _ in range(3)]
    for key in ("median_speedup", "last_third_speedup", "min_speedup", "atlas_speedup"):
        yield f"ablation/{key}", [each[key] for each in rounds]


def set_ratios(network: str, quick: bool) -> Iterator[tuple[str, list[float]]]:
    """A set among many against a hook and a full pass, and against sets one by one."""
    from benchmarks.speed.sets import sets_figures

    images, sets, rounds = (200, 200, 5) if quick else (1000, 2000, 5)
    figures = sets_figures(network, images, sets, rounds)
    for layer in ("first", "middle", "last"):
        for key in ("over_hook", "over_one_by_one"):
            yield f"sets/{network}/{layer}/{key}", figures[layer]["ratios"][key]


def cut_ratios(quick: bool) -> Iterator[tuple[str, list[float]]]:
    """A layer of the last stage that nobody silenced before, from a cut against from the pixels."""
    from benchmarks.speed.sets import cut_figures

    yield "cut/from_cut_over_pixels", cut_figures(200 if quick else 2000, 3 if quick else 5)["ratios"]


def training_ratios(quick: bool) -> Iterator[tuple[str, list[float]]]:
    """A training step without the penalty against one with it."""
    from benchmarks.speed.training import step_figures

    rounds = [step_figures(6 if quick else 30) for _ in range(3)]
    yield "training/step_without_over_with_penalty", [1 / each["step_ratio"] for each in rounds]


MEASUREMENTS: dict[str, Callable[[bool], Iterator[tuple[str, list[float]]]]] = {
    "ablation": ablation_ratios,
    "sets/demo": partial(set_ratios, "demo"),
    "sets/resnet20": partial(set_ratios, "resnet20"),
    "cut": cut_ratios,
    "training": training_ratios,
}


def figure(name: str, ratios: list[float], quick: bool) -> dict:
    """Return one line of the record."""
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {
        "figure": name + ("/quick" if quick else ""),
        "ratio": round(middle, 4),
        "noise": round((high - low) / 2, 4),
        "rounds": len(ratios),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def fallen(now: dict, before: dict) -> bool:
    """Return whether the ratio is below the baseline's by more than noise explains."""
    noise = 2 * math.hypot(now["noise"], before["noise"])
    return before["ratio"] - now["ratio"] > max(noise, LEAST_FALL * before["ratio"])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images")
    parser.add_argument("--only", default="", metavar="NAME", help="figures whose name begins so")
    parser.add_argument("--baseline", action="store_true", help="keep what is measured as the baseline")
    options = parser.parse_args(arguments)
    known = (
        {line["figure"]: line for line in map(json.loads, BASELINE.read_text().splitlines())}
        if BASELINE.exists()
        else {}
    )
    wanted = [name for name in MEASUREMENTS if name.startswith(options.only) or options.only.startswith(name)]
    fell = []
    for name in wanted:
        for key, ratios in MEASUREMENTS[name](options.quick):
            if not key.startswith(options.only):
                continue
            line = figure(key, ratios, options.quick)
            print(json.dumps(line), flush=True)
            before = known.get(line["figure"])
            if before is not None and fallen(line, before):
                fell.append(f"{line['figure']}: {before['ratio']:.2f} then, {line['ratio']:.2f} now")
            if options.baseline:
                known[line["figure"]] = line
    if options.baseline:
        BASELINE.write_text("".join(json.dumps(known[key]) + "\n" for key in sorted(known)))
        return 0
    for sentence in fell:
        print(f"fell by more than its noise: {sentence}", file=sys.stderr)
    return 1 if fell else 0


if __name__ == "__main__":
    sys.exit(main())
