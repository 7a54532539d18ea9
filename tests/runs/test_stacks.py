"""Sweeps whose networks are trained in stacks: the runs are those of separate trainings, and go on like these."""

import json

import numpy as np
import pandas as pd
import pytest

from selviz.cli import main
from selviz.config import RunConfig, run_name
from selviz.errors import SelvizError
from selviz.runs import background_jobs
from selviz.runs.stages import has_diverged
from selviz.runs.sweep import grid, run_status, run_sweep, sweep_name
from selviz.runs.train import train_run
from selviz.runs.weights import read_weights
from selviz.store import Store, read_json

# One step an epoch: after two, what float32 rounds has hardly grown (in float64: tests/training/test_stacked.py).
FIXED = {"dataset": "digits", "model": "cnn", "epochs": 2, "batch_size": 1000}
CONFIGS = grid({"alpha": [0, -1], "seed": [0, 1]}, **FIXED)


def test_a_sweep_in_stacks_makes_the_runs_of_a_sweep_without(tmp_path):
    argv = ["sweep", "--dataset=digits", "--model=cnn", "--epochs=2", "--batch-size=1000"]
    argv += ["--alphas=0,-1", "--seeds=0-1"]
    assert main([*argv, "--workers=1", "--stack=3", "--json", "--data", str(tmp_path / "stacked")]) == 0
    stacked, alone = Store(tmp_path / "stacked"), Store(tmp_path / "alone")
    assert sorted(stacked.names()) == sorted(map(run_name, CONFIGS))
    for config in CONFIGS:
        run = train_run(alone, config)["run"]
        one, other = (
            read_weights(store.run_path(run), store.run_path(run) / "weights.safetensors") for store in (alone, stacked)
        )
        for name, value in one.items():
            np.testing.assert_allclose(other[name].numpy(), value.numpy(), atol=1e-3, err_msg=name)
        assert stacked.run(run)["mean_si"] == pytest.approx(alone.run(run)["mean_si"], abs=1e-3)
        assert stacked.run(run)["diverged"] is False
    record = json.loads((stacked.run_path(run_name(CONFIGS[0])) / "training.json").read_text())
    assert record["provenance"]["stack"] == 3


@pytest.mark.slow  # test_stacked.py cuts a stack off
def test_a_stacked_sweep_that_was_stopped_goes_on_and_trains_no_epoch_twice(tmp_path):
    configs = grid({"alpha": [0, -1]}, **{**FIXED, "epochs": 30})
    job = background_jobs.place(tmp_path, sweep_name(configs))

    def stop(progress):
        if any(row["epoch"] >= 1 for row in progress["runs"]):
            background_jobs.stop(job)

    with pytest.raises(SelvizError, match="was stopped; 0 of 2 runs are finished"):
        run_sweep(Store(tmp_path), configs, workers=1, report=stop, stack=2)
    assert {run_status(tmp_path, config)["state"] for config in configs} == {"unfinished"}
    frame = run_sweep(Store(tmp_path), configs, workers=1, stack=2)
    assert frame["state"].tolist() == ["finished"] * 2
    epochs = Store(tmp_path).epochs(run_name(configs[0]))
    assert epochs["epoch"].tolist() == list(range(1, 31))


def test_a_network_that_diverges_is_named_and_counted_and_the_others_are_finished(tmp_path, capsys):
    store = Store(tmp_path)
    wild = RunConfig("digits", "cnn", alpha=-1e300, **{k: v for k, v in FIXED.items() if k not in ("dataset", "model")})
    frame = run_sweep(store, [CONFIGS[0], wild], workers=1, stack=2)
    assert frame["state"].tolist() == ["finished", "failed"] and frame["diverged"].tolist() == [False, True]
    assert "diverged in epoch" in frame["reason"][1]
    assert read_json(store.run_path(run_name(wild)) / "failed.json")["kind"] == "TrainingDiverged"
    assert main(["sweep", "--dataset=digits", "--model=cnn", "--epochs=2", "--batch-size=1000", "--alphas=0,-1e300",
                 "--data", str(tmp_path), "--workers=1"]) == 2  # fmt: skip
    assert "1 of 2 networks diverged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("alpha", "losses", "diverged"),
    [
        (0, [2.2, 1.0, 0.5], False),
        (0, [2.0, 2.2, 2.4], True),
        (-5, [3.0, 3.0, 2.5], False),  # of which 5 x 0.1 is the penalty
        (1, [2.0, 2.3, 2.25], True),  # the cross-entropy is 0.1 more
        (0, [2.0, 2.2, float("nan")], True),
        (0, [2.5, 2.4], False),  # hardly begun
    ],
)
def test_a_training_that_ends_worse_than_guessing_has_diverged(alpha, losses, diverged):
    settings = {"kind": "trained", "dataset": "digits", "model": "cnn", "alpha": alpha, "epochs": len(losses)}
    epochs = pd.DataFrame({"loss": losses, "penalty": 0.1})
    assert has_diverged(settings, epochs, 10) is diverged
    assert has_diverged({**settings, "kind": "imported"}, epochs, 10) is None
