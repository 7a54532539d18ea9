"""Many small networks trained at once: `train_stack(configs, dataset, folders)`, each as `loop.train` would train it.

One small network cannot fill a GPU. Networks that differ by seed and alpha alone have the same shape, so their weights
are stacked, [K, ...], and `torch.vmap` runs all of them as one: convolutions become grouped ones, batch norm keeps its
statistics per network. Each network sees its own batches in its own order, so its weights are those of a training by
itself, but for rounding. Checkpoints are those of `loop.train`: either goes on where the other was cut off.
"""

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selviz.config import PENALTY, RunConfig, config_to_dict
from selviz.datasets import Dataset
from selviz.errors import SelvizError, first_line
from selviz.networks.unit_network import UnitNetwork
from selviz.system.allocation import KEPT_IN_TRAINING_MB, keep_freed_memory
from selviz.system.progress import ProgressEvent, Report, silent
from selviz.training import checkpoints, loop
from selviz.training.checkpoints import Checkpoint, EpochRow
from selviz.training.evaluation import EVAL_BATCH, layer_selectivity
from selviz.training.schedules import alpha_at, one_cycle
from selviz.training.variants import draw_moves, moved, noisy, shuffled

# What may differ between the networks of a stack; a baseline has no settings of the penalty.
VARIED = ("alpha", "seed", "alpha_from", "alpha_until", "alpha_ramp", "penalty_labels")
PRECISIONS = {"32-true": torch.float32, "64-true": torch.float64}


@dataclasses.dataclass(eq=False)
class Member:
    """One network of a stack: what it is trained with, and how far it is. `failure` ends it without the others."""

    config: RunConfig
    folder: Path
    report: Report
    network: UnitNetwork
    labels: Tensor  # [N], with their noise
    penalty_labels: Tensor  # [N]
    optimizer_state: dict[str, Any] | None
    history: list[EpochRow]
    failure: loop.TrainingDiverged | None = None

    @property
    def observer(self) -> nn.Module:
        """Return the module that returns logits and activations."""
        return self.network.observer


def stacks(configs: Sequence[RunConfig], size: int) -> list[list[RunConfig]]:
    """Split runs into stacks of at most `size` networks of one shape, in their order; baselines join any of theirs."""
    groups: list[list[RunConfig]] = []
    for config in configs:
        for group in groups:
            if len(group) < size and all(_fit(config, other) for other in group):
                group.append(config)
                break
        else:
            groups.append([config])
    return groups


def _fit(one: RunConfig, other: RunConfig) -> bool:
    penalty = set(PENALTY) if 0 in (one.alpha, other.alpha) else set()
    settings = [name for name in config_to_dict(one) if name not in {*VARIED, *penalty}]
    return all(getattr(one, name) == getattr(other, name) for name in settings)


def check(configs: Sequence[RunConfig]) -> None:
    """Raise SelvizError where these runs cannot be one stack."""
    if any(not _fit(config, other) for config in configs for other in configs):
        raise SelvizError(f"The networks of a stack may differ by {', '.join(VARIED)} alone; train these one by one.")
    for config in configs:
        if config.precision not in PRECISIONS:
            raise SelvizError(
                f"Networks in a stack are trained in 32-true or 64-true, not in {config.precision}; leave out --stack."
            )
        if config.snapshots:
            raise SelvizError("Networks in a stack keep no snapshots; leave out --stack, or --snapshots.")


def train_stack(
    configs: Sequence[RunConfig],
    dataset: Dataset,
    folders: Sequence[Path],
    reports: Sequence[Report] | None = None,
    device: str = "auto",
) -> list[tuple[UnitNetwork, list[EpochRow]] | loop.TrainingDiverged]:
    """Return for each run what `loop.train` returns, or why its training ended; one diverging network ends no other.

    `folders` hold the checkpoints, `reports` get what `loop.train` reports. Raises SelvizError for runs that do not
    make a stack, and for networks that `torch.vmap` cannot run as one (dropout: its random numbers would be others).
    """
    check(configs)
    for config in configs:
        loop.check(config, dataset)
    keep_freed_memory(KEPT_IN_TRAINING_MB)
    steps = loop.steps_in_epoch(configs[0], dataset)
    target = loop.fabric_for(configs[0], device).device
    reports = reports or [silent] * len(configs)
    members = [_member(*each, dataset, target) for each in zip(configs, folders, reports, strict=True)]
    pixels = dataset.train_pixels
    near = pixels.to(target) if pixels.nbytes <= loop.MAX_BYTES_ON_DEVICE else pixels
    for epoch in range(1, configs[0].epochs + 1):
        # After a cut some may be an epoch ahead: they wait.
        part = [member for member in members if len(member.history) == epoch - 1 and member.failure is None]
        if part:
            _train_epoch(_Stack(part, target), epoch, steps, dataset, near)
    for member in members:
        member.observer.to("cpu").eval()
    return [member.failure or (member.network, member.history) for member in members]


def _member(config: RunConfig, folder: Path, report: Report, dataset: Dataset, device: torch.device) -> Member:
    network = loop.build_network(config, dataset)
    network.observer.to(device=device, dtype=PRECISIONS[config.precision])
    checkpoint = checkpoints.read(folder / loop.CHECKPOINT, config)
    if checkpoint is not None:
        network.root.load_state_dict(checkpoint.weights)
    labels = noisy(dataset.train_labels, len(dataset.class_names), config.label_noise, config.seed)
    penalty_labels = shuffled(labels, config.seed) if config.penalty_labels == "shuffled" else labels
    return Member(
        config, folder, report, network, labels.to(device), penalty_labels.to(device),
        checkpoint.optimizer if checkpoint else None, checkpoint.history if checkpoint else [],
    )  # fmt: skip


class _Stack:
    """Weights [K, ...] of networks of one shape, their optimizer, and one forward pass for all of them."""

    def __init__(self, members: Sequence[Member], device: torch.device):
        self.members, self.device = list(members), device
        self.module = members[0].observer
        self.dtype = PRECISIONS[members[0].config.precision]
        names = [name for name, _ in self.module.named_parameters()]
        self.parameters = {
            name: torch.stack([member.observer.get_parameter(name).detach() for member in members]).requires_grad_()
            for name in names
        }
        self.buffers = {
            name: torch.stack([member.observer.get_buffer(name) for member in members])
            for name, _ in self.module.named_buffers()
        }
        self.optimizer = loop.optimizer_for(members[0].config, list(self.parameters.values()))
        self._restore_momentum()
        penalized = next((member for member in members if member.config.alpha), members[0])
        self.penalty = loop.penalty_of(penalized.config, [layer.name for layer in penalized.network.layers])

    def _restore_momentum(self) -> None:
        states = [member.optimizer_state for member in self.members]
        if any(state is None or not state["state"] for state in states):
            return
        for position, parameter in enumerate(self.parameters.values()):
            buffers = [cast(Any, state)["state"][position]["momentum_buffer"] for state in states]
            if buffers[0] is not None:
                momentum = torch.stack(buffers).to(device=self.device, dtype=self.dtype)
                self.optimizer.state[parameter]["momentum_buffer"] = momentum

    def observe(self, inputs: Tensor, shared: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Return logits [K, N, C] and activations [K, N, U] a layer of inputs [K, N, ...], or [N, ...] if `shared`."""

        def forward(parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Any:
            return torch.func.functional_call(self.module, (parameters, buffers), (images,))

        each = torch.vmap(forward, in_dims=(0, 0, None if shared else 0), randomness="error")
        try:
            logits, activations = each(self.parameters, self.buffers, inputs)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise SelvizError(
                f"Networks of {self.members[0].config.model} cannot be trained in a stack ({first_line(error)}); leave "
                "out --stack."
            ) from error
        return logits, activations

    def clip(self, largest: float) -> None:
        """Cut each network's own gradient to the norm `largest`."""
        gradients = [cast(Tensor, parameter.grad) for parameter in self.parameters.values()]
        squares = torch.stack([gradient.flatten(1).square().sum(dim=1) for gradient in gradients]).sum(dim=0)
        factors = (largest / (squares.sqrt() + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy each network's weights and momentum out of the stack."""
        state = self.optimizer.state_dict()
        for number, member in enumerate(self.members):
            for name, stacked in (*self.parameters.items(), *self.buffers.items()):
                own = (
                    member.observer.get_parameter(name) if name in self.parameters else member.observer.get_buffer(name)
                )
                own.copy_(stacked[number])
            member.optimizer_state = {
                "param_groups": state["param_groups"],
                "state": {
                    position: {
                        name: value[number].clone() if isinstance(value, Tensor) else value
                        for name, value in values.items()
                    }
                    for position, values in state["state"].items()
                },
            }


def _train_epoch(stack: _Stack, epoch: int, steps: int, dataset: Dataset, pixels: Tensor) -> None:
    """Train all networks of the stack for one epoch, evaluate them, and save a checkpoint of each."""
    started, config = time.monotonic(), stack.members[0].config
    classes, count = len(dataset.class_names), len(stack.members)
    generators = [loop.epoch_generator(member.config, epoch) for member in stack.members]
    orders = [torch.randperm(len(dataset.train_labels), generator=generator) for generator in generators]
    stack.module.train()
    totals = torch.zeros(4, count, device=stack.device, dtype=torch.float64)
    rate = 0.0
    for step in range(steps):
        here = slice(step * config.batch_size, (step + 1) * config.batch_size)
        batches = torch.stack([order[here] for order in orders])  # [K, N]
        moves = [draw_moves(config.augment, config.batch_size, pixels.shape[-1], each) for each in generators]
        rate = one_cycle(config.learning_rate, (epoch - 1) * steps + step, config.epochs * steps)
        for group in stack.optimizer.param_groups:
            group["lr"] = rate
        images = dataset.normalise(pixels[batches.flatten().to(pixels.device)].to(stack.device))
        if moves[0] is not None:
            images = moved(images, torch.cat(cast(list[Tensor], moves)).to(stack.device))
        images = images.to(stack.dtype).view(*batches.shape, *images.shape[1:])
        batches = batches.to(stack.device)
        labels, groups = (
            torch.stack([every[batch] for every, batch in zip(part, batches, strict=True)])
            for part in ([m.labels for m in stack.members], [m.penalty_labels for m in stack.members])
        )
        alphas = [alpha_at(member.config, epoch - 1 + step / steps) for member in stack.members]
        totals += _step(stack, images, labels, groups, alphas, classes, config.clip_norm)
        if step % 10 == 0:
            losses = (totals[0] / (step + 1)).tolist()
            for member, loss in zip(stack.members, losses, strict=True):
                member.report({"epoch": epoch, "epochs": config.epochs, "step": step, "steps": steps, "loss": loss})
    stack.write_back()
    seconds = (time.monotonic() - started) / count
    predictions, activations = _observe_all(stack, dataset)
    labels = dataset.eval_labels.to(stack.device)
    for number, member in enumerate(stack.members):
        loss, value, correct, cross_entropy = (totals[:, number] / steps).tolist()
        if not math.isfinite(loss):
            member.failure = loop.TrainingDiverged(member.config, epoch, loss)
            continue
        selectivity = layer_selectivity([layer[number] for layer in activations], labels, classes)
        row: EpochRow = {
            "epoch": epoch,
            "loss": loss,
            "cross_entropy": cross_entropy,
            "penalty": value,
            "train_accuracy": correct,
            "test_accuracy": float((predictions[number] == labels).float().mean()),
            "mean_si": selectivity["mean_si"],
            "mean_si_live": selectivity["mean_si_live"],
            "layer_si": selectivity["layer_si"],
            "learning_rate": rate,
            "seconds": seconds,
        }
        member.history.append(row)
        state = Checkpoint(member.network.root.state_dict(), cast(Any, member.optimizer_state), member.history)
        checkpoints.save(member.folder / loop.CHECKPOINT, member.config, state)
        event = {**row, "epochs": config.epochs, "unit_si": selectivity["unit_si"]}
        member.report(cast(ProgressEvent, event))


def _step(
    stack: _Stack,
    images: Tensor,
    labels: Tensor,
    groups: Tensor,
    alphas: Sequence[float],
    classes: int,
    clip_norm: float,
) -> Tensor:
    """Take one step of every network; returns [4, K]: loss, penalty, share correct, cross-entropy."""
    stack.optimizer.zero_grad(set_to_none=True)
    logits, activations = stack.observe(images)
    cross_entropy = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    cross_entropy = cross_entropy.view(labels.shape).mean(dim=1)
    values = torch.zeros_like(cross_entropy)
    active = [number for number, alpha in enumerate(alphas) if alpha]
    if active:
        chosen = torch.tensor(active, device=images.device)
        own = [layer[chosen] for layer in activations]
        values = values.index_put((chosen,), stack.penalty.of(own, groups[chosen], classes, _alone))
    losses = cross_entropy - torch.tensor(alphas, dtype=values.dtype, device=values.device) * values
    torch.autograd.backward(losses.sum())  # no network's loss depends on another's weights
    if clip_norm:
        stack.clip(clip_norm)
    stack.optimizer.step()
    correct = (logits.detach().argmax(dim=-1) == labels).to(losses.dtype).mean(dim=1)
    return torch.stack([part.detach() for part in (losses, values, correct, cross_entropy)]).double()


def _alone(sums: Tensor) -> Tensor:
    return sums


@torch.no_grad()
def _observe_all(stack: _Stack, dataset: Dataset) -> tuple[Tensor, list[Tensor]]:
    """Return predictions [K, N] and activations [K, N, U] per layer on all evaluation images."""
    stack.module.eval()
    predictions, activations = [], []
    for start in range(0, len(dataset.eval_pixels), EVAL_BATCH):
        pixels = dataset.eval_pixels[start : start + EVAL_BATCH].to(stack.device)
        logits, layers = stack.observe(dataset.normalise(pixels).to(stack.dtype), shared=True)
        predictions.append(logits.argmax(dim=-1))
        activations.append([layer.float() for layer in layers])
    return torch.cat(predictions, dim=1), [torch.cat(parts, dim=1) for parts in zip(*activations, strict=True)]
