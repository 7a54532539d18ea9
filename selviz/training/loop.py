"""Training with a selectivity penalty: `train(config, dataset, folder, report=print)` returns the trained network.

The loop knows nothing of runs or stores. It leaves `checkpoint.pt` in `folder` after every epoch and goes on from
there; an interrupted training ends in the same weights, bit for bit on CPU at the same thread count, as one that was
not.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selviz.config import RunConfig
from selviz.datasets import Dataset
from selviz.errors import SelvizError
from selviz.networks import models
from selviz.networks.devices import exact_float32
from selviz.networks.unit_network import UnitNetwork
from selviz.selectivity import penalties
from selviz.system.allocation import KEPT_IN_TRAINING_MB, keep_freed_memory
from selviz.system.progress import ProgressEvent, Report, silent
from selviz.training import checkpoints
from selviz.training.checkpoints import Checkpoint, EpochRow
from selviz.training.evaluation import layer_selectivity, observe_all
from selviz.training.fabric import Fabric
from selviz.training.schedules import alpha_at, one_cycle
from selviz.training.variants import draw_moves, moved, noisy, penalized_layers, shuffled, snapshot_steps

MAX_BYTES_ON_DEVICE = 8 * 2**30  # of pixels
CHECKPOINT = "checkpoint.pt"
UNTRAINED_IMAGES = 500  # what an untrained network does is looked at, not reported


class TrainingDiverged(SelvizError):
    """The loss is not a finite number any more, so there is no network to keep."""

    def __init__(self, config: RunConfig, epoch: int, loss: float):
        super().__init__(
            f"Training diverged in epoch {epoch} (loss {loss}); lower the learning rate, "
            f"for example --learning-rate {config.learning_rate / 10:g}, or cut large gradients with --clip-norm 1."
        )


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


@dataclass(frozen=True)
class Penalty:
    """What alpha multiplies: a measure of selectivity, on the layers at these positions (None: all)."""

    metric: str = "si"
    floor: float = 0.0
    layers: tuple[int, ...] | None = None

    def of(
        self, activations: Sequence[Tensor], labels: Tensor, classes: int, gather: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return its value on activations, one [N, U] per layer of the network."""
        chosen = activations if self.layers is None else [activations[position] for position in self.layers]
        return penalties.penalty(chosen, labels, classes, gather, self.metric, self.floor)


def penalty_of(config: RunConfig, names: Sequence[str]) -> Penalty:
    """Return the penalty of these settings for a network with layers of these names."""
    layers = None if config.penalty_layers == "all" else tuple(penalized_layers(config.penalty_layers, names))
    return Penalty(config.penalty_metric, config.penalty_floor, layers)


def build_network(config: RunConfig, dataset: Dataset, synchronized: bool = False) -> UnitNetwork:
    """Return the untrained network of these settings, in training mode; its weights depend on the seed alone.

    `synchronized`: batch norm takes its statistics over the whole batch, not over each GPU's part of it.
    """
    model = models.seeded(config.model, len(dataset.class_names), dataset.channels, config.seed)
    if synchronized:
        model = cast(Any, nn.SyncBatchNorm).convert_sync_batchnorm(model)
    model.train()
    return UnitNetwork(cast(Any, model).to(memory_format=torch.channels_last), dataset.example)


@torch.no_grad()
def untrained_unit_si(config: RunConfig, dataset: Dataset) -> list[list[float]]:
    """Return the SI by layer and unit of the network before training, on the first UNTRAINED_IMAGES to evaluate."""
    check(config, dataset)
    network = build_network(config, dataset)
    pixels, labels = dataset.eval_pixels[:UNTRAINED_IMAGES], dataset.eval_labels[:UNTRAINED_IMAGES]
    _, activations = observe_all(network.observer, pixels, dataset.normalise)
    return layer_selectivity(activations, labels, len(dataset.class_names))["unit_si"]


def fabric_for(config: RunConfig, device: str = "auto", devices: int = 1, gpu: int | None = None) -> Fabric:
    """Return device placement and precision; `device` is auto, cpu, cuda or mps. SelvizError if it is not there.

    `gpu` is the number of the one to use, where others use the rest.
    With several `devices`, `fabric.launch()` starts this very command once more for each of the others.
    """
    if devices < 1 or config.batch_size % devices:
        raise SelvizError(
            f"A batch of {config.batch_size} cannot be shared equally by {devices} devices; choose --devices and "
            "--batch-size so that one divides the other."
        )
    exact_float32()
    try:
        strategy = "ddp" if devices > 1 else "auto"
        chosen = devices if gpu is None else [gpu]
        return Fabric(accelerator=device, devices=chosen, strategy=strategy, precision=cast(Any, config.precision))
    except Exception as error:
        raise SelvizError(
            f"Device {device!r} cannot be used here ({error}); use --device auto or --device cpu."
        ) from error


def sum_over_processes(fabric: Fabric, values: Tensor) -> Tensor:
    """Return `values` added up over the processes that train together. The gradients are added up too.

    DistributedDataParallel then averages over processes, which leaves the gradient of the whole batch's value.
    """
    if fabric.world_size == 1:
        return values
    return cast(Tensor, fabric.all_gather(values, sync_grads=True)).sum(dim=0)


def train(
    config: RunConfig,
    dataset: Dataset,
    folder: Path,
    report: Report = silent,
    fabric: Fabric | None = None,
    snapshot: Callable[[Snapshot], None] = lambda snapshot: None,
) -> tuple[UnitNetwork, list[EpochRow]]:
    """Return the trained network, on CPU in eval mode, and one history row per epoch.

    `report` gets {"epoch", "epochs", "step", "steps", "loss"} during an epoch and at its end the row with unit_si (SI
    by layer and unit); it may raise to stop. `snapshot` gets `config.snapshots` Snapshots an epoch, and one before the
    first. With a `fabric` of several processes each calls this function; the batch is shared out, and only the first
    reports and saves. Raises TrainingDiverged where the loss is not finite.
    """
    fabric = fabric or fabric_for(config)
    keep_freed_memory(KEPT_IN_TRAINING_MB)
    network = build_network(config, dataset, synchronized=fabric.world_size > 1 and fabric.device.type == "cuda")
    steps, classes = steps_in_epoch(config, dataset), len(dataset.class_names)
    check(config, dataset)
    optimizer = optimizer_for(config, network.observer.parameters())
    observer, optimizer = cast(Any, fabric.setup(network.observer, optimizer))
    pixels, eval_pixels = (_near(fabric, part) for part in (dataset.train_pixels, dataset.eval_pixels))
    prepare = partial(_inputs, fabric, dataset)
    eval_labels = fabric.to_device(dataset.eval_labels)
    labels = fabric.to_device(noisy(dataset.train_labels, classes, config.label_noise, config.seed))
    grouped = shuffled(labels, config.seed) if config.penalty_labels == "shuffled" else labels
    penalty = penalty_of(config, [layer.name for layer in network.layers])
    snapshot_after = snapshot_steps(steps, config.snapshots)
    own_part = slice(fabric.global_rank, None, fabric.world_size)
    checkpoint = folder / CHECKPOINT
    history = _restore(checkpoint, config, network, optimizer)
    fabric.barrier()
    if not fabric.is_global_zero:
        report, snapshot = silent, lambda snapshot: None
    if config.snapshots and not history:
        snapshot(Snapshot(0, 0, steps, network, *observe_all(observer, eval_pixels, prepare)))
    for epoch in range(len(history) + 1, config.epochs + 1):
        started = time.monotonic()
        # Each epoch has its own random state, so that a resumed training draws what an uninterrupted one would.
        generator = epoch_generator(config, epoch)
        order = torch.randperm(len(labels), generator=generator)
        observer.train()
        totals = torch.zeros(4, device=fabric.device)
        rate = 0.0
        with torch.random.fork_rng():
            torch.manual_seed(epoch_seed(config, epoch))
            for step in range(steps):
                batch = order[step * config.batch_size : (step + 1) * config.batch_size]
                moves = draw_moves(config.augment, len(batch), pixels.shape[-1], generator)
                batch = batch[own_part].to(fabric.device)
                moves = None if moves is None else moves[own_part].to(fabric.device)
                rate = one_cycle(config.learning_rate, (epoch - 1) * steps + step, config.epochs * steps)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                images = moved(prepare(pixels[batch.to(pixels.device)]), moves)
                totals += train_step(
                    fabric, observer, optimizer, images, labels[batch], alpha_at(config, epoch - 1 + step / steps),
                    classes, grouped[batch], penalty, config.clip_norm,
                )  # fmt: skip
                if step + 1 in snapshot_after[:-1]:  # the last one is at the end of the epoch
                    snapshot(Snapshot(epoch, step + 1, steps, network, *observe_all(observer, eval_pixels, prepare)))
                if step % 10 == 0:
                    mean_loss = float(totals[0]) / (step + 1)
                    report({"epoch": epoch, "epochs": config.epochs, "step": step, "steps": steps, "loss": mean_loss})
        loss, value, correct, cross_entropy = cast(Tensor, fabric.all_reduce(totals / steps, reduce_op="mean")).tolist()
        if not math.isfinite(loss):
            raise TrainingDiverged(config, epoch, loss)
        predictions, activations = observe_all(observer, eval_pixels, prepare)
        selectivity = layer_selectivity(activations, eval_labels, classes)
        row: EpochRow = {
            "epoch": epoch,
            "loss": loss,
            "cross_entropy": cross_entropy,
            "penalty": value,
            "train_accuracy": correct,
            "test_accuracy": float((predictions == eval_labels).float().mean()),
            "mean_si": selectivity["mean_si"],
            "mean_si_live": selectivity["mean_si_live"],
            "layer_si": selectivity["layer_si"],
            "learning_rate": rate,
            "seconds": time.monotonic() - started,
        }
        history.append(row)
        if snapshot_after:
            snapshot(Snapshot(epoch, steps, steps, network, predictions, activations))
        if fabric.is_global_zero:
            state = Checkpoint(network.root.state_dict(), optimizer.state_dict(), history)
            checkpoints.save(checkpoint, config, state)
        report(cast(ProgressEvent, {**row, "epochs": config.epochs, "unit_si": selectivity["unit_si"]}))
    network.observer.to("cpu").eval()
    return network, history


def steps_in_epoch(config: RunConfig, dataset: Dataset) -> int:
    """Return how many whole batches the training images make; SelvizError where they make none."""
    steps = len(dataset.train_labels) // config.batch_size
    if config.epochs and not steps:
        raise SelvizError(
            f"The data set has {len(dataset.train_labels)} training images, fewer than one batch of "
            f"{config.batch_size}; use --batch-size {len(dataset.train_labels)} or less."
        )
    return steps


def optimizer_for(config: RunConfig, parameters: Any) -> torch.optim.SGD:
    """Return stochastic gradient descent with Nesterov momentum, as the settings say."""
    return torch.optim.SGD(
        parameters,
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )


def epoch_seed(config: RunConfig, epoch: int) -> int:
    """Return the seed of all that is random in an epoch."""
    return config.seed * 100_003 + epoch


def epoch_generator(config: RunConfig, epoch: int) -> torch.Generator:
    """Return the generator of an epoch's order of images and their moves."""
    return torch.Generator().manual_seed(epoch_seed(config, epoch))


def check(config: RunConfig, dataset: Dataset) -> None:
    """Raise SelvizError where these images cannot be trained on with these settings."""
    if len(dataset.class_names) < 2:
        raise SelvizError(
            f"Data set {dataset.name} has {len(dataset.class_names)} class; selectivity compares classes, so it takes "
            "two or more: add images of another class."
        )
    if config.augment == "crop-flip" and not dataset.mirrors:
        raise SelvizError(
            f"The mirror image of a picture of {dataset.name} does not show the same class; use --augment crop."
        )


def _near(fabric: Fabric, pixels: Tensor) -> Tensor:
    """Return the pixels on the device, where they are few enough to stay there."""
    return fabric.to_device(pixels) if pixels.nbytes <= MAX_BYTES_ON_DEVICE else pixels


def _inputs(fabric: Fabric, dataset: Dataset, pixels: Tensor) -> Tensor:
    # Channels last is a quarter faster on CPU for narrow convolutions.
    return dataset.normalise(fabric.to_device(pixels)).contiguous(memory_format=torch.channels_last)


def train_step(
    fabric: Fabric,
    observer: Any,
    optimizer: Any,
    inputs: Tensor,
    labels: Tensor,
    alpha: float,
    classes: int,
    grouped: Tensor | None = None,
    penalty: Penalty = Penalty(),  # noqa: B008: frozen
    clip_norm: float = 0.0,
) -> Tensor:
    """Take one step on this process's part of a batch; returns [4]: loss, penalty, share correct, cross-entropy.

    The penalty takes the classes from `grouped` [N] (default: the labels). Gradients longer than `clip_norm` are cut.
    """
    optimizer.zero_grad(set_to_none=True)
    logits, activations = observer(inputs)
    value = logits.new_zeros(())
    if alpha:
        groups = labels if grouped is None else grouped
        value = penalty.of(activations, groups, classes, partial(sum_over_processes, fabric))
    cross_entropy = F.cross_entropy(logits, labels)
    loss = cross_entropy - alpha * value
    fabric.backward(loss)
    if clip_norm:
        fabric.clip_gradients(observer, optimizer, max_norm=clip_norm, error_if_nonfinite=False)
    optimizer.step()
    correct = (logits.detach().argmax(dim=1) == labels).float().mean()
    return torch.stack([part.detach().to(loss.dtype) for part in (loss, value, correct, cross_entropy)])


def _restore(path: Path, config: RunConfig, network: UnitNetwork, optimizer: Any) -> list[EpochRow]:
    """Return the history of the checkpoint, with network and optimizer set to its state; [] without one."""
    checkpoint = checkpoints.read(path, config)
    if checkpoint is None:
        return []
    network.root.load_state_dict(checkpoint.weights)
    optimizer.load_state_dict(checkpoint.optimizer)
    return checkpoint.history
