"""Networks trained elsewhere as runs: `import_run(store, "theirs", "resnet20", {"dataset": ...}, checkpoint="x.th")`.

What can be wrong with a network is found before its run exists: the weights fit, and what would be stored (logits,
every unit layer's activations, the effect of a silenced unit) is proven against the network run plainly, on images of
the data set (`selviz.networks.proof`). So a run is there as a whole, or not at all. It holds no code.
"""

import json
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from selviz.datasets import Dataset
from selviz.errors import SelvizError, first_line
from selviz.networks import graph_format, hugging_face, model_hub, models, tracing
from selviz.networks.activation_functions import MODULE_NAMES
from selviz.networks.activation_nodes import LeftOut
from selviz.networks.checkpoints import load_weights
from selviz.networks.heads import Head, chosen_outputs, find_head
from selviz.networks.hooked_network import WatchedNetwork
from selviz.networks.plain_parameters import with_plain_parameters
from selviz.networks.plain_run import PlainRun
from selviz.networks.proof import IMAGES, Different, Unseen, plain_value, prove, prove_watched, steady_logits
from selviz.networks.unit_network import UnitNetwork
from selviz.runs.load import load_dataset
from selviz.runs.stages import capture_stage, provenance, summarise, write_training
from selviz.runs.weights import write_weights
from selviz.store import Store, read_json, write_json
from selviz.store.files import NETWORK, WEIGHTS, file_sha256
from selviz.store.stage_files import clear_partial
from selviz.system.locks import Claim
from selviz.system.progress import ProgressEvent, Report, silent
from selviz.training.checkpoints import EpochRow

PROBES = IMAGES + 1  # images on which what is stored must be what the network itself gives
UNSEEN = "its values do not come up while the network runs plainly, so they cannot be proven"
Factory = Callable[[int, int], nn.Module]


@dataclass(frozen=True)
class ImportSource:
    """A network that is brought: `model` names it, or says where `factory`, of (classes, channels), comes from.

    `weights` are a library's pretrained ones, `checkpoint` a file of weights, with `checkpoint_key` for one that holds
    several; without either the network is as it was made. `layers` names unit layers, modules or steps; `watch`
    modules of a network that cannot be traced. `outputs` are those of the data set's classes, in their order, of a
    network that has more; `logits` names the logits in what the network returns.
    """

    model: str
    factory: Factory | None = None
    weights: str = ""
    checkpoint: Path | None = None
    checkpoint_key: str = ""
    layers: Sequence[str] = ()
    watch: Sequence[str] = ()
    outputs: Sequence[int] = ()
    logits: str = ""

    @property
    def from_hub(self) -> bool:
        """Whether it is a network of the Hugging Face hub, which comes with weights; `weights` is then a revision."""
        return self.factory is None and hugging_face.is_hub(self.model)

    def facts(self) -> dict[str, Any]:
        """Return what a run records of it; paths without their folders."""
        weights = self.weights or (hugging_face.LATEST if self.from_hub and self.checkpoint is None else None)
        return {
            "model": _hub_name(self.model) if self.factory is None else _without_folders(self.model),
            **dict.fromkeys(("alpha", "seed", "epochs")),
            "weights": weights,
            "checkpoint": self.checkpoint and self.checkpoint.name,
            "checkpoint_sha256": self.checkpoint and _sha256(self.checkpoint),
            "code_sha256": None if self.factory is None else _sha256(Path(self.model.rpartition(":")[0])),
            "chosen_layers": " ".join(self.layers) or None,
            "watched": " ".join(self.watch) or None,
            "outputs": ",".join(map(str, self.outputs)) or None,
            "checkpoint_key": self.checkpoint_key or None,
            "logits": self.logits or None,
        }

    def check(self) -> None:
        """Raise SelvizError for an unknown network, and for options that do not go together."""
        if self.factory is None and not self.from_hub:
            models.check(self.model)
        if self.weights and (self.checkpoint is not None or self.factory is not None or ":" not in self.model):
            raise SelvizError(
                "--weights names the pretrained weights of a torchvision: or timm: network, such as --model "
                "torchvision:resnet18 --weights DEFAULT; for a file of weights use --checkpoint."
            )
        if self.checkpoint_key and self.checkpoint is None:
            raise SelvizError("--checkpoint-key names weights inside a file; give the file too: --checkpoint FILE")
        if self.watch and self.outputs:
            raise SelvizError("--outputs needs a network that can be traced; leave out --watch.")
        if self.watch and self.layers:
            raise SelvizError("--layers needs a network that can be traced; leave out --watch, or name modules there.")


@dataclass(frozen=True, eq=False)
class ReadNetwork:
    """A network as a run will hold it, proven: `document` is None for one that is watched. `head` says a sentence."""

    network: UnitNetwork | WatchedNetwork
    document: dict[str, Any] | None
    tensors: dict[str, Tensor]
    traced: str
    head: str = ""
    left_out: tuple[LeftOut, ...] = field(default=())


def import_run(
    store: Store,
    name: str,
    model: str,
    settings: Mapping[str, Any],
    *,
    factory: Factory | None = None,
    weights: str = "",
    checkpoint: Path | str | None = None,
    checkpoint_key: str = "",
    layers: Sequence[str] = (),
    watch: Sequence[str] = (),
    outputs: Sequence[int] = (),
    logits: str = "",
    report: Report = silent,
    on_read: Callable[[ReadNetwork], None] = lambda read: None,
    command: str = "",
) -> dict[str, Any]:
    """Capture a network trained elsewhere as the run `name` and return its summary.

    `ImportSource` says what most arguments are; `settings` are the data set and its preparation as `load_dataset` takes
    them. `on_read` gets the network with its unit layers before anything is captured. `command` is kept until the run
    is finished, to resume it.

    The same call again returns a finished run. Raises SelvizError, and leaves nothing, if the network cannot be made or
    traced, its weights or outputs do not fit, what would be stored is not what the network itself gives, or the run is
    there with other settings.
    """
    source = ImportSource(
        model, factory, weights, None if checkpoint is None else Path(checkpoint), checkpoint_key,
        tuple(layers), tuple(watch), tuple(outputs), logits,
    )  # fmt: skip
    folder = store.run_path(name)
    prepared = hub_preparation(source)
    settings = {**settings, **prepared.missing_in(settings)}
    facts = {"kind": "imported", **settings, **source.facts()}
    if (finished := read_json(folder / "summary.json")) is not None:
        if _same(read_json(folder / "config.json") or {}, facts):
            return cast("dict[str, Any]", finished)
        raise SelvizError(f"The store has a run {name} already; give this one another name: --name {name[:190]}-2")
    source.check()
    dataset = load_dataset(settings, lambda event: report({"run": name, **event}))
    check_class_order(source, prepared, dataset)
    read = read_network(source, dataset)
    on_read(read)
    return store_network(store, folder, facts, read, dataset, report, command)


def hub_preparation(source: ImportSource) -> hugging_face.Prepared:
    """Return how a hub's network was trained, as far as its files say it; nothing for other networks."""
    if not source.from_hub:
        return hugging_face.Prepared()
    return hugging_face.prepared(source.model, source.weights)


def check_class_order(source: ImportSource, prepared: hugging_face.Prepared, dataset: Dataset) -> None:
    """Raise SelvizError where the data set's classes are outputs of the network by name, and not in its order."""
    order = hugging_face.outputs_of(dataset.class_names, prepared.classes)
    if order is not None and not source.outputs and order != tuple(range(len(prepared.classes))):
        raise SelvizError(
            "The network names its outputs, and the data set's classes are among them in another order or not all of "
            f"them; say which outputs are meant: --outputs {','.join(map(str, order))}"
        )


def store_network(
    store: Store,
    folder: Path,
    facts: Mapping[str, Any],
    read: ReadNetwork,
    dataset: Dataset,
    report: Report = silent,
    command: str = "",
    finish: Callable[[], None] = lambda: None,
    history: Sequence[EpochRow] = (),
) -> dict[str, Any]:
    """Capture a network that was read as the run in `folder` with these facts, and return its summary.

    `history` is what is known of its epochs. `finish` is called before the run counts as finished. What fails leaves
    nothing behind, but for a full disk.
    """
    facts, name = {**facts, "traced": read.traced}, folder.name
    existed = folder.exists()
    with Claim(folder / "claim.json", f"run {name}"):
        try:
            write_json(folder / "config.json", facts)
            write_json(folder / "partial" / "import.json", {"command": command})
            (folder / "failed.json").unlink(missing_ok=True)
            if read.document is not None:
                write_json(folder / NETWORK, read.document)
            write_weights(folder / WEIGHTS, read.tensors)
            write_training(folder, history, provenance("cpu"))
            # A watched network has no `device`, which `capture_stage` and `batch_size` read.
            capture_stage(store, folder, read.network, dataset, lambda event: report({"run": name, **event}))  # type: ignore[arg-type]
            finish()
            more = {"left_out": [[entry.name, entry.reason] for entry in read.left_out], "head": read.head or None}
            summary = summarise(folder, {**facts, **more}, dataset)
            write_json(folder / "summary.json", summary)
        except Exception as error:
            # A full disk is no fault of the network: what is done is kept. Anything else leaves nothing behind.
            if not existed and not isinstance(error.__cause__, OSError):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        clear_partial(folder)
    report(cast("ProgressEvent", {"stage": "finished", **summary}))
    return summary


def read_network(source: ImportSource, dataset: Dataset) -> ReadNetwork:
    """Make a network, find its unit layers and prove them on images of the data set; SelvizError where that fails."""
    plain = _made(source, dataset)
    inputs = dataset.normalise(dataset.eval_pixels[:PROBES])
    if source.checkpoint is not None:
        plain_name = source.facts()["model"]
        load_weights(plain, source.checkpoint, f"the network {plain_name}", source.checkpoint_key)
    run = PlainRun(plain)
    value = plain_value(run, inputs)
    head = find_head(value, len(dataset.class_names), source.logits, run.made_by)
    expected = steady_logits(run, head, inputs)
    _check_classes(chosen_outputs(expected, source.outputs).shape[1], dataset)
    if source.watch:
        network = WatchedNetwork(plain, dataset.example, source.watch, head)
        prove_watched(network, inputs)
        tensors = {key: value.contiguous().clone() for key, value in plain.state_dict().items()}
        return ReadNetwork(network, None, tensors, "watched", head.sentence())
    return read_proven(run, head, inputs, expected, source.layers, source.outputs)


def read_proven(
    run: PlainRun,
    head: Head,
    inputs: Tensor,
    expected: Tensor,
    layers: Sequence[str] = (),
    outputs: Sequence[int] = (),
) -> ReadNetwork:
    """Return a network as it will be read from its run, by the first way of tracing that holds against the plain one.

    `inputs` [N, C, H, W] are a few images, `expected` the plain network's logits on them. SelvizError where no way
    does.
    """
    errors: list[SelvizError] = []
    model = with_plain_parameters(run.model)
    partly: list[tuple[str, tracing.Traced, Unseen]] = []

    def proven(traced: tracing.Traced, way: str) -> ReadNetwork:
        document, tensors = graph_format.graph_document(traced), graph_format.tensors_of(traced)
        network = _read_back(document, tensors, inputs[:1])
        prove(run, head, traced, network, inputs, expected, outputs)
        return ReadNetwork(network, document, tensors, way, head.sentence(), traced.left_out)

    for way in tracing.WAYS:
        try:
            traced = tracing.trace(model, inputs[:1], way, layers, head)
            traced = tracing.with_chosen_outputs(traced, outputs)
            return proven(traced, way)
        except Unseen as error:
            errors.append(error)
            partly.append((way, traced, error))
        except SelvizError as error:
            errors.append(error)
        except Exception as error:  # a graph of somebody else's code may hold anything
            reason = f"{type(error).__name__}, {first_line(error)[:200]}".rstrip(".")
            kind = type(run.model).__name__
            errors.append(tracing.Untraceable(f"The network {kind} cannot be traced ({reason})."))
    for way, traced, unseen in [] if layers else partly:  # layers that nobody named may be left out
        if len(unseen.layers) < len(traced.layers):
            try:
                return proven(tracing.without_layers(traced, unseen.layers, UNSEEN), way)
            except SelvizError as error:
                errors.append(error)
    kinds = (tracing.Untraceable, Different)  # what is no matter of tracing comes first, then what names a line
    first = next((error for kind in kinds for error in errors if not isinstance(error, kind)), errors[0])
    if isinstance(first, Unseen):  # a step that torch.export names may be why
        first = next((error for error in errors if isinstance(error, tracing.KeptWhole)), first)
    untraceable = isinstance(first, tracing.Untraceable)
    if not untraceable and not isinstance(first, graph_format.Unstorable):
        raise first
    watch = _watchable(run.model, head, inputs)
    raise SelvizError(
        f"{first}{' torch.export cannot follow it either.' if untraceable and first is errors[0] else ''}"
        + (f" Watch some of its modules instead: --watch '{watch}'" if watch else "")
    ) from first


def _watchable(plain: nn.Module, head: Head, inputs: Tensor) -> str:
    """Return modules to watch in a network that cannot be traced, as a name or glob; "" where that gives no numbers."""
    names = [name for name, module in plain.named_modules() if type(module) in MODULE_NAMES]
    ends = dict.fromkeys(f"*{name.rpartition('.')[2]}" if name.count(".") else name for name in names)
    for pattern in list(ends)[:4]:
        try:
            prove_watched(WatchedNetwork(plain, inputs[:1], [pattern], head), inputs)
            return pattern
        except SelvizError:
            continue
    return ""


def _made(source: ImportSource, dataset: Dataset) -> nn.Module:
    classes, channels = len(dataset.class_names), dataset.channels
    if source.factory is not None:
        plain = source.factory(classes, channels)
    elif source.from_hub:
        plain = hugging_face.network(source.model, source.weights)
    elif source.weights:
        plain = model_hub.build(source.model, classes, channels, source.weights)
    else:
        plain = models.seeded(source.model, classes, channels, seed=0)
    if any(nn.parameter.is_lazy(part) for part in (*plain.parameters(), *plain.buffers())):
        # Its first pass makes the parameters.
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain.eval()
            plain_value(PlainRun(plain), dataset.normalise(dataset.eval_pixels[:2]))
    try:
        return plain.cpu().float().eval().requires_grad_(False)
    except Exception as error:  # somebody else's modules may refuse to be moved
        reason = first_line(error)[:200]
        raise SelvizError(f"The network cannot be moved to the processor in single precision ({reason}).") from error


def _check_classes(classes: int, dataset: Dataset) -> None:
    expected = len(dataset.class_names)
    if classes != expected:
        more = "name the outputs of its classes in their order: --outputs 3,17,..." if classes > expected else ""
        raise SelvizError(
            f"The network has {classes} output{'s' if classes != 1 else ''} and the data set {expected} classes; "
            f"{more or 'bring the data set that it was trained for'}."
        )


def _read_back(document: dict[str, Any], tensors: Mapping[str, Tensor], example: Tensor) -> UnitNetwork:
    try:
        traced = graph_format.rebuilt(json.loads(json.dumps(document)), tensors, example, sizes_known=True)
    except graph_format.Damaged as error:
        raise graph_format.Unstorable(f"The network cannot be stored: {error.why}.") from error
    return UnitNetwork.from_traced(traced).for_inference()


def _same(stored: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    # An older version did not know every setting; a new one's default switches it off.
    return all(stored[key] == value if key in stored else not value for key, value in facts.items())


def _hub_name(model: str) -> str:
    """Return the name of a network; of a folder that `hf:` names, only its own name."""
    folder = model.removeprefix(hugging_face.TRANSFORMERS)
    return f"{hugging_face.TRANSFORMERS}{Path(folder).name}" if folder.startswith((".", "~", "/")) else model


def _without_folders(spec: str) -> str:
    path, _, function = spec.rpartition(":")
    return f"{Path(path).name}:{function}"


def _sha256(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise SelvizError(f"Cannot read {file} ({error.strerror or error}).") from None
