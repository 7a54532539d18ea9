"""Train what lacks a row: `python reproduction/train.py --experiment cifar10-16 --dataset folder:CIFAR --data DATA`.

Networks without a row are trained one by one, seeds outermost, by the selviz of the experiment's revision in a checkout
of its own, and each finished one adds its row. Typed again it goes on, also with a network that was cut off.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction.experiments import Experiment, configs, experiment
from reproduction.rows import add_rows, has_row, read_rows
from selviz.config import IMAGE_SETTINGS, SETTINGS, TRAINING_SETTINGS, RunConfig, run_name

ROOT = Path(__file__).parents[1]
SOURCES = ROOT.parent / "selviz-trainings"


def checkout(sources: Path, revision: str) -> Path:
    """Return a checkout, in a folder of its own below `sources`, of the revision; made where it is not there."""
    folder = sources / revision
    if not folder.exists():
        command = ["git", "-C", str(ROOT), "worktree", "add", "--detach", str(folder.resolve()), revision]
        subprocess.run(command, check=True)
    return folder


def command(config: RunConfig, data: Path) -> list[str]:
    """Return the command that trains one network; settings at their defaults are left out."""
    options = [f"--dataset={config.dataset}", f"--model={config.model}"]
    for name in (*TRAINING_SETTINGS, *IMAGE_SETTINGS):
        if getattr(config, name) != SETTINGS[name].default:
            options.append(f"{SETTINGS[name].option}={getattr(config, name)}")
    return [sys.executable, "-P", "-m", "selviz", "train", *options, "--device=cpu", f"--data={data}", "--json"]


def train_only(config: RunConfig, data: Path, source: Path) -> None:
    """Train one network with the revision's selviz, on one thread as all rows are."""
    environment = {**os.environ, "PYTHONPATH": str(source.resolve()), "OMP_NUM_THREADS": "1"}
    subprocess.run(command(config, data), env=environment, stdout=subprocess.DEVNULL, check=False)


def train_missing(planned: Experiment, dataset: str, data: Path, source: Path) -> None:
    """Train each network of the experiment that has no row, and add its row."""
    for config in configs(planned, dataset):
        if has_row(read_rows(planned), config):
            continue
        print(f"training {run_name(config)}", file=sys.stderr)
        train_only(config, data, source)
        for name in add_rows(data, dataset, key=planned.key):
            print(f"added {name}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--dataset", required=True, help="the images, such as folder:cifar10")
    parser.add_argument("--data", type=Path, required=True, help="the store of the trainings")
    parser.add_argument("--source", type=Path, default=SOURCES, help="where checkouts of the revisions are")
    arguments = parser.parse_args()
    chosen = experiment(arguments.experiment)
    if not configs(chosen, arguments.dataset):
        sys.exit(f"The recipe of {chosen.key} is not chosen yet (rules.md): set STABLE in reproduction/experiments.py")
    train_missing(chosen, arguments.dataset, arguments.data, checkout(arguments.source, chosen.revision))
