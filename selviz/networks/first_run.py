"""Run stored networks for the first time, in a process of its own: `python -m selviz.networks.first_run FOLDER ...`.

A stranger's network may take all memory, never end, or end the process that runs it; so it first runs here, on images
of ordinary and of extreme values, with limits of memory and time. One line of JSON before each folder and one after it:
{"begins": folder}, {"folder": folder, "problem": sentence or null, "may_pass": whether another try may end otherwise}.
`selviz.store.untrusted_files` starts it.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, fx

from selviz.errors import SelvizError, TransientError, system_problem, told_by_system
from selviz.networks.graph_format import check_growth, rebuilt
from selviz.networks.graph_indices import indices
from selviz.networks.graph_nodes import called
from selviz.networks.graph_writes import Watch
from selviz.networks.tracing import Traced
from selviz.system.processes import TRIAL_MEMORY

MAX_S_PER_IMAGE = 10.0  # processor time of one pass over one image
SIDES = (32, 28, 224, 64, 8, 96, 128, 256, 299)  # of images whose size a document of an older selviz does not say
MAX_CLASSES = 10**6  # that one_hot may make


class StepChecker(fx.Interpreter):
    """Runs a graph and refuses an index that lies outside what it looks in, and a step that writes into its input."""

    def __init__(self, module: fx.GraphModule, watch: Watch):
        super().__init__(module)
        self._watch = watch

    def run_node(self, node: fx.Node) -> Any:
        given = [self.env[part] for part in node.all_input_nodes]
        before = self._watch.versions(given)
        value = self._run_checked(node)
        if self._watch.versions(given) != before:
            raise SelvizError(f"The stored network is damaged (the step {node.name} writes into what it is given).")
        return value

    def _run_checked(self, node: fx.Node) -> Any:
        if parts := indices(node):
            args, kwargs = self.fetch_args_kwargs_from_env(node)
            if called(node) == "index_put":
                _check_written(node.name, *args[:2], **kwargs)
                return super().run_node(node)
            source = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
            for part in parts:
                _check_range(node.name, called(node), self.env[part], source)
        return super().run_node(node)


def _check_range(step: str, name: str, index: Any, source: Tensor | None) -> None:
    if not isinstance(index, Tensor) or index.dtype in (torch.bool, torch.uint8) or index.is_floating_point():
        return
    if index.numel() == 0:
        return
    low, high = int(index.min()), int(index.max())
    largest = (
        MAX_CLASSES if name in ("one_hot", "repeat_interleave") or source is None else max(source.shape, default=0)
    )
    if low < -largest or high >= largest:
        raise SelvizError(f"The stored network is damaged (the step {step} looks up {low} to {high} of {largest}).")


def _check_written(step: str, x: Tensor, indices: Sequence[Tensor | None] = (), **others: Any) -> None:
    """Refuse an index, one of each axis of x, at which `index_put` would write outside x."""
    axis = 0
    for index in others.get("indices", indices):
        masked = index is not None and index.dtype in (torch.bool, torch.uint8)
        if index is not None and not masked:
            _check_range(step, "index_put", index, x.new_empty(x.shape[axis : axis + 1]))
        axis += index.dim() if masked and index is not None else 1


def inputs(example: Tensor) -> Iterator[tuple[Tensor, bool]]:
    """Yield images [N, C, H, W] and whether they are ordinary ones, which a network must take."""
    generator = torch.Generator().manual_seed(0)
    ordinary = torch.randn(3, *example.shape[1:], generator=generator)
    yield ordinary[:1], True
    yield ordinary, True
    for value in (0.0, 1e30, -1e30, float("inf"), float("nan")):
        yield torch.full_like(ordinary[:1], value), False


def problem(folder: Path) -> tuple[str | None, bool]:
    """Return what is wrong with the network in a run's folder, None if it runs; and whether that may pass."""
    try:
        document = json.loads((folder / "network.json").read_text())
        with told_by_system(weights := folder / "weights.safetensors"):
            tensors = safetensors.torch.load_file(weights)
        traced, example = _rebuilt(document, tensors, folder)
        run(traced, example)
    except (SelvizError, ValueError, OSError, RecursionError, MemoryError, safetensors.SafetensorError) as error:
        passing = isinstance(error, TransientError) or (
            isinstance(error, OSError) and system_problem(error) is not None
        )
        return " ".join(str(error).split())[:300] or type(error).__name__, passing
    return None, False


def _rebuilt(document: Any, tensors: dict[str, Tensor], folder: Path) -> tuple[Traced, Tensor]:
    shape = document.get("input") if isinstance(document, dict) else None
    if shape is not None:
        if not (isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and 1 <= n <= 4096 for n in shape)):
            raise ValueError("its input is no image")
        examples = [torch.zeros(1, *shape)]
    else:
        settings = json.loads((folder / "config.json").read_text())
        channels = [settings.get("channels") or 3, 1] if isinstance(settings.get("channels"), int) else [3, 1]
        sides = [settings["image_size"]] if settings.get("image_size") in range(1, 4097) else SIDES
        examples = [torch.zeros(1, number, side, side) for side in sides for number in channels if number in (1, 3)]
    refused: SelvizError | None = None
    for example in examples:
        try:
            return rebuilt(document, tensors, example), example
        except SelvizError as error:
            refused = error
    raise refused or ValueError("its settings do not say which images it takes")


def run(traced: Traced, example: Tensor) -> None:
    """Run a network on ordinary and extreme images; SelvizError where it cannot be run, or takes too long."""
    check_growth(traced.root, traced.graph, example)
    watch = Watch(traced.root)
    for images, ordinary in inputs(example):
        started = time.process_time()
        try:
            with torch.no_grad():
                StepChecker(fx.GraphModule(traced.root, traced.graph), watch).run(images)
        except SelvizError:
            raise
        except Exception as error:  # a step may raise anything
            if ordinary:
                raise SelvizError(f"The stored network cannot be run ({str(error)[:200]}).") from error
        if (spent := (time.process_time() - started) / len(images)) > MAX_S_PER_IMAGE:
            raise SelvizError(f"The stored network takes {spent:.0f} s for one image.")
    if not watch.is_unchanged():
        raise SelvizError("The stored network is damaged (it writes into its own weights).")


def bound() -> None:
    """Take no more memory than TRIAL_MEMORY from here on (Linux; elsewhere the parent looks), and write no file."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        now = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (now + TRIAL_MEMORY, now + TRIAL_MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    torch.set_num_threads(1)
    bound()
    for name in sys.argv[1:]:
        print(json.dumps({"begins": name}), flush=True)
        message, may_pass = problem(Path(name))
        print(json.dumps({"folder": name, "problem": message, "may_pass": may_pass}), flush=True)


if __name__ == "__main__":
    main()
