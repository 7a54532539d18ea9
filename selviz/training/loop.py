"""Training with a selectivity penalty: `train(config, dataset, folder, report=print)` gives the trained network.

The loop knows nothing of runs or stores. It leaves `checkpoint.pt` in `folder` after every epoch and goes on from
there; an interrupted training ends in the same weights, bit for bit on CPU at the same thread count, as one that was
not.
"""

import math
import os
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from selviz.config import RunConfig, config_to_dict
from selviz.datasets import Dataset
from selviz.errors import SelvizError
from selviz.networks import models
from selviz.networks.unit_network import UnitNetwork
from selviz.selectivity import index
from selviz.training.variants import alpha_at, draw_moves, moved, noisy, penalised, shuffled, snapshot_steps

EVAL_BATCH = 250
MOST_ON_DEVICE = 8 * 2**30  # bytes of pixels


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A network after `step` of an epoch's `steps` (epoch 0, step 0: untrained), and what it does on evaluation images.

    `predictions` [N] and a layer's `activations` [N, U] are on the training device.
    """

    epoch: int
    step: int
    steps: int
    network: UnitNetwork
    predictions: Tensor
    activations: list[Tensor]


def build_network(config: RunConfig, dataset: Dataset, synchronised: bool = False) -> UnitNetwork:
    """The untrained network of these settings, in training mode; its weights depend on the seed alone.

    `synchronised`: batch norm takes its statistics over the whole batch, not over each GPU's part of it.
    """
    model = models.seeded(config.model, len(dataset.class_names), dataset.channels, config.seed)
    if synchronised:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return UnitNetwork(model.train().to(memory_format=torch.channels_last), dataset.example)


def fabric_for(config: RunConfig, device: str = "auto", devices: int = 1, gpu: int | None = None) -> Fabric:
    """Device placement and precision; `device` is "auto", "cpu", "cuda" or "mps". SelvizError if it is not there.

    `gpu` is the number of the one to use, where others use the rest.
    With several `devices`, `fabric.launch()` starts this very command once more for each of the others.
    """
    if devices < 1 or config.batch_size % devices:
        raise SelvizError(
            f"A batch of {config.batch_size} cannot be shared equally by {devices} devices; choose --devices and "
            "--batch-size so that one divides the other."
        )
    try:
        strategy = "ddp" if devices > 1 else "auto"
        which = devices if gpu is None else [gpu]
        return Fabric(accelerator=device, devices=which, strategy=strategy, precision=config.precision)
    except Exception as error:
        raise SelvizError(
            f"Device {device!r} cannot be used here ({error}); use --device auto or --device cpu."
        ) from error


def sum_over_processes(fabric: Fabric, values: Tensor) -> Tensor:
    """`values` added up over the processes that train together. The gradients are added up too.

    DistributedDataParallel then averages over processes, which leaves the gradient of the whole batch's value.
    """
    return fabric.all_gather(values, sync_grads=True).sum(dim=0) if fabric.world_size > 1 else values


def train(
    config: RunConfig,
    dataset: Dataset,
    folder: Path,
    report: Callable[[dict], None] = lambda progress: None,
    fabric: Fabric | None = None,
    snapshot: Callable[[Snapshot], None] = lambda snapshot: None,
) -> tuple[UnitNetwork, list[dict]]:
    """The trained network, on CPU in eval mode, and one history row an epoch.

    A row holds epoch (1 is the first), loss, penalty (mean minibatch SI), train_accuracy, test_accuracy, mean_si (of
    the evaluation images), layer_si (the same a layer), learning_rate and seconds. `report` gets {"epoch", "epochs",
    "step", "steps", "loss"} during an epoch and at its end the row with unit_si (SI by layer and unit); it may raise to
    stop. `snapshot` gets `config.snapshots` Snapshots an epoch, and one before the first. With a `fabric` of several
    processes each calls this function; the batch is shared out, and only the first reports and saves.
    """
    fabric = fabric or fabric_for(config)
    network = build_network(config, dataset, synchronised=fabric.world_size > 1 and fabric.device.type == "cuda")
    steps, classes = len(dataset.train_labels) // config.batch_size, len(dataset.class_names)
    if config.epochs and not steps:
        raise SelvizError(
            f"The data set has {len(dataset.train_labels)} training images, fewer than one batch of "
            f"{config.batch_size}; use --batch-size {len(dataset.train_labels)} or less."
        )
    check(config, dataset)
    optimizer = torch.optim.SGD(
        network.observer.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )
    observer, optimizer = fabric.setup(network.observer, optimizer)
    pixels, eval_pixels = (_near(fabric, part) for part in (dataset.train_pixels, dataset.eval_pixels))
    prepare = partial(_inputs, fabric, dataset)
    eval_labels = fabric.to_device(dataset.eval_labels)
    labels = fabric.to_device(noisy(dataset.train_labels, classes, config.label_noise, config.seed))
    grouped = shuffled(labels, config.seed) if config.penalty_labels == "shuffled" else labels
    chosen = penalised(config.penalty_layers, [layer.name for layer in network.layers])
    after = snapshot_steps(steps, config.snapshots)
    mine = slice(fabric.global_rank, None, fabric.world_size)
    checkpoint = folder / "checkpoint.pt"
    history = _restore(checkpoint, config, network, optimizer)
    fabric.barrier()
    if not fabric.is_global_zero:
        report = snapshot = _silent
    if config.snapshots and not history:
        snapshot(Snapshot(0, 0, steps, network, *observe_all(observer, eval_pixels, prepare)))
    for epoch in range(len(history) + 1, config.epochs + 1):
        started = time.monotonic()
        # Each epoch has its own random state, so that a resumed training draws what an uninterrupted one would.
        generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        order = torch.randperm(len(labels), generator=generator)
        observer.train()
        totals = torch.zeros(3, device=fabric.device)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed * 100_003 + epoch)
            for step in range(steps):
                batch = order[step * config.batch_size : (step + 1) * config.batch_size]
                moves = draw_moves(config.augment, len(batch), pixels.shape[-1], generator)
                batch, moves = (None if part is None else part[mine].to(fabric.device) for part in (batch, moves))
                rate = one_cycle(config.learning_rate, (epoch - 1) * steps + step, config.epochs * steps)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                alpha = alpha_at(config, epoch - 1 + step / steps)
                images = moved(prepare(pixels[batch.to(pixels.device)]), moves)
                totals += train_step(
                    fabric, observer, optimizer, images, labels[batch], alpha, classes, grouped[batch], chosen
                )
                if step + 1 in after[:-1]:  # the last one is at the end of the epoch
                    snapshot(Snapshot(epoch, step + 1, steps, network, *observe_all(observer, eval_pixels, prepare)))
                if step % 10 == 0:
                    loss = float(totals[0]) / (step + 1)
                    report({"epoch": epoch, "epochs": config.epochs, "step": step, "steps": steps, "loss": loss})
        loss, penalty, correct = fabric.all_reduce(totals / steps, reduce_op="mean").tolist()
        if not math.isfinite(loss):
            raise SelvizError(
                f"Training diverged in epoch {epoch} (loss {loss}); lower the learning rate, "
                f"for example --learning-rate {config.learning_rate / 10:g}."
            )
        predictions, activations = observe_all(observer, eval_pixels, prepare)
        found = layer_selectivity(activations, eval_labels, classes)
        unit_si = found.pop("unit_si")
        row = {
            "epoch": epoch,
            "loss": loss,
            "penalty": penalty,
            "train_accuracy": correct,
            "test_accuracy": float((predictions == eval_labels).float().mean()),
            **found,
            "learning_rate": rate,
            "seconds": time.monotonic() - started,
        }
        history.append(row)
        if after:
            snapshot(Snapshot(epoch, steps, steps, network, predictions, activations))
        if fabric.is_global_zero:
            _save(checkpoint, config, network, optimizer, history)
        report({**row, "epochs": config.epochs, "unit_si": unit_si})
    network.observer.to("cpu").eval()
    return network, history


def check(config: RunConfig, dataset: Dataset) -> None:
    """SelvizError where these images cannot be trained on with these settings."""
    if len(dataset.class_names) < 2:
        raise SelvizError(
            f"Data set {dataset.name} has {len(dataset.class_names)} class; selectivity compares classes, so it takes "
            "two or more: add images of another class."
        )
    if config.augment == "crop-flip" and not dataset.mirrors:
        raise SelvizError(
            f"The mirror image of a picture of {dataset.name} does not show the same class; use --augment crop."
        )


def _silent(progress) -> None:
    """The report of the processes that are not the first."""


def _near(fabric: Fabric, pixels: Tensor) -> Tensor:
    """The pixels on the device, where they are few enough to stay there."""
    return fabric.to_device(pixels) if pixels.nbytes <= MOST_ON_DEVICE else pixels


def _inputs(fabric: Fabric, dataset: Dataset, pixels: Tensor) -> Tensor:
    # Channels last is a quarter faster on CPU for narrow convolutions.
    return dataset.normalise(fabric.to_device(pixels)).contiguous(memory_format=torch.channels_last)


def train_step(
    fabric: Fabric,
    observer,
    optimizer,
    inputs: Tensor,
    labels: Tensor,
    alpha: float,
    classes: int,
    grouped: Tensor | None = None,
    layers: Sequence[int] | None = None,
) -> Tensor:
    """One step on this process's part of a batch; [3]: loss, penalty, share of correct predictions.

    The penalty takes the classes from `grouped` [N] (default: the labels) and the layers at positions `layers` (all).
    """
    optimizer.zero_grad(set_to_none=True)
    logits, activations = observer(inputs)
    penalty = logits.new_zeros(())
    if alpha:
        activations = activations if layers is None else [activations[position] for position in layers]
        groups = labels if grouped is None else grouped
        penalty = index.penalty(activations, groups, classes, partial(sum_over_processes, fabric))
    loss = F.cross_entropy(logits, labels) - alpha * penalty
    fabric.backward(loss)
    optimizer.step()
    correct = (logits.detach().argmax(dim=1) == labels).float().mean()
    return torch.stack([part.detach().to(loss.dtype) for part in (loss, penalty, correct)])


def one_cycle(peak: float, step: int, steps: int, warm_up: float = 0.3) -> float:
    """Learning rate of a step: linear from peak / 25 to peak over the first `warm_up`, then a cosine to nearly 0."""
    rise = warm_up * steps
    if step < rise:
        return peak * (1 / 25 + (1 - 1 / 25) * step / rise)
    share = torch.tensor((step - rise) / max(steps - rise, 1), dtype=torch.float64)
    return peak * float(1 + torch.cos(torch.pi * share)) / 2


@torch.no_grad()
def observe_all(observer, pixels: Tensor, prepare: Callable[[Tensor], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Predictions [N] and each layer's activations [N, U] of all pixels, batch by batch, in eval mode."""
    was_training = observer.training
    observer.eval()
    predictions, activations = [], []
    for batch in pixels.split(EVAL_BATCH):
        logits, layers = observer(prepare(batch))
        predictions.append(logits.argmax(dim=1))
        activations.append([layer.float() for layer in layers])
    observer.train(was_training)
    return torch.cat(predictions), [torch.cat(parts) for parts in zip(*activations, strict=True)]


def layer_selectivity(activations: list[Tensor], labels: Tensor, classes: int) -> dict:
    """{"mean_si", "mean_si_live", "layer_si", "unit_si"} of activations [N, U] a layer; live leaves out dead units."""
    indices = [index.index(*index.class_means(layer, labels, classes)) for layer in activations]
    live = [si[(layer != 0).any(dim=0)] for si, layer in zip(indices, activations, strict=True)]
    live = [si for si in live if len(si)]
    return {
        "mean_si": float(index.mean_over_layers(indices)),
        "mean_si_live": float(index.mean_over_layers(live)) if live else 0.0,
        "layer_si": [float(si.mean()) for si in indices],
        "unit_si": [si.tolist() for si in indices],
    }


def _save(path: Path, config: RunConfig, network: UnitNetwork, optimizer, history: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        torch.save(
            {
                "config": config_to_dict(config),
                "weights": network.root.state_dict(),
                "optimizer": optimizer.state_dict(),
                "history": history,
            },
            temporary,
        )
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        # torch names a line of C++ where less came to the disk than was written.
        reason = getattr(error, "strerror", None) or "it is not whole"
        raise SelvizError(
            f"Cannot write the checkpoint {path} ({reason}); free some space and start the same training again, it "
            "goes on from the last finished epoch."
        ) from error


def _restore(path: Path, config: RunConfig, network: UnitNetwork, optimizer) -> list[dict]:
    """The history of the checkpoint, with network and optimizer set to its state; [] where there is none to use."""
    if not path.exists():
        return []
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not check the checksums that it writes
            if archive.testzip() is not None:
                return []
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except Exception:  # a damaged checkpoint costs its epochs, not the run
        return []
    if saved.get("config") != config_to_dict(config):
        return []
    network.root.load_state_dict(saved["weights"])
    optimizer.load_state_dict(saved["optimizer"])
    return saved["history"]
