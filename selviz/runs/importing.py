"""Networks trained elsewhere as runs: `import_run(store, "theirs", "resnet20", {"dataset": ...}, checkpoint="x.th")`.

What can be wrong with a network is found before its run exists: the weights fit, the stored graph gives the logits of
the network that was brought, on images of the data set. So a run is there as a whole, or not at all. It holds no code.
"""

import json
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from selviz.datasets import Dataset
from selviz.errors import SelvizError, first_line
from selviz.networks import graph_format, model_hub, models, tracing, unit_layers
from selviz.networks.checkpoints import load_weights
from selviz.networks.hooked_network import WatchedNetwork
from selviz.networks.tracing import Traced, fault, pick_logits
from selviz.networks.unit_network import UnitNetwork
from selviz.runs.load import load_dataset
from selviz.runs.stages import capture_stage, provenance, summarise, write_training
from selviz.runs.weights import write_weights
from selviz.store import Store, read_json, write_json
from selviz.store.files import NETWORK, WEIGHTS, file_sha256
from selviz.store.stage_files import clear_partial
from selviz.system.locks import Claim
from selviz.system.progress import Report, silent

PROBES = 8  # images on which the stored network must give the logits of the one that was brought
TOLERANCE = 1e-3  # of the logits' spread: other kernels may run in another order


def import_run(
    store: Store,
    name: str,
    model: str,
    settings: Mapping,
    *,
    factory: Callable[[int, int], nn.Module] | None = None,
    weights: str = "",
    checkpoint=None,
    layers: Sequence[str] = (),
    watch: Sequence[str] = (),
    outputs: Sequence[int] = (),
    report: Report = silent,
    command: str = "",
) -> dict:
    """Capture a network trained elsewhere as the run `name`; its summary.

    `model` names the network, or says where `factory`, a function of (classes, channels), comes from; `settings` are
    the data set and its preparation as `load_dataset` takes them. `weights` are a library's pretrained ones,
    `checkpoint` a file of weights; without either the network is as it was made. `layers` chooses unit layers
    (`unit_layers.choose`), `watch` modules of a network that cannot be traced; `outputs` are those of the data set's
    classes, in their order, of a network that has more. `command` is kept until the run is finished, to resume it.

    The same call again returns a finished run. Raises SelvizError, and leaves nothing, if the network cannot be made or
    traced, its weights or outputs do not fit, or the run is there with other settings.
    """
    folder = store.run_path(name)
    file = Path(checkpoint) if checkpoint is not None else None
    facts = {
        "kind": "imported",
        **settings,
        "model": model if factory is None else _without_folders(model),
        **dict.fromkeys(("alpha", "seed", "epochs")),
        "weights": weights or None,
        "checkpoint": file and file.name,
        "checkpoint_sha256": file and _sha256(file),
        "code_sha256": None if factory is None else _sha256(Path(model.rpartition(":")[0])),
        "chosen_layers": " ".join(layers) or None,
        "watched": " ".join(watch) or None,
        "outputs": ",".join(map(str, outputs)) or None,
    }
    if (finished := read_json(folder / "summary.json")) is not None:
        if _same(read_json(folder / "config.json") or {}, facts):
            return finished
        raise SelvizError(f"The store has a run {name} already; give this one another name: --name {name[:190]}-2")
    if factory is None:
        models.check(model)
    if weights and (checkpoint is not None or factory is not None or ":" not in model):
        raise SelvizError(
            "--weights names the pretrained weights of a torchvision: or timm: network, such as --model "
            "torchvision:resnet18 --weights DEFAULT; for a file of weights use --checkpoint."
        )
    dataset = load_dataset(settings, lambda news: report({"run": name, **news}))
    plain = _made(model, factory, weights, dataset)
    if file is not None:
        load_weights(plain, file, f"the network {facts['model']}")
    expected = _logits(plain, dataset)
    if watch:
        network, document = WatchedNetwork(plain, dataset.example, watch), None
        tensors = {key: value.contiguous().clone() for key, value in plain.state_dict().items()}
        if outputs:
            raise SelvizError("--outputs needs a network that can be traced; leave out --watch.")
        facts["traced"] = "watched"
        _check_classes(expected.shape[1], dataset)
    else:
        network, document, tensors, facts["traced"] = _stored(plain, expected, dataset, layers, outputs)
    existed = folder.exists()
    with Claim(folder / "claim.json", f"run {name}"):
        try:
            write_json(folder / "config.json", facts)
            write_json(folder / "partial" / "import.json", {"command": command})
            (folder / "failed.json").unlink(missing_ok=True)
            if document is not None:
                write_json(folder / NETWORK, document)
            write_weights(folder / WEIGHTS, tensors)
            write_training(folder, [], provenance("cpu"))
            capture_stage(store, folder, network, dataset, lambda news: report({"run": name, **news}))
            summary = summarise(folder, facts, dataset)
            write_json(folder / "summary.json", summary)
        except Exception as error:
            # A full disk is no fault of the network: what is done is kept. Anything else leaves nothing behind.
            if not existed and not isinstance(error.__cause__, OSError):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        clear_partial(folder)
    report({"stage": "finished", **summary})
    return summary


def _made(model: str, factory, weights: str, dataset: Dataset) -> nn.Module:
    classes = len(dataset.class_names)
    if factory is not None:
        plain = factory(classes, dataset.channels)
    elif weights:
        plain = model_hub.build(model, classes, dataset.channels, weights)
    else:
        plain = models.seeded(model, classes, dataset.channels, seed=0)
    return plain.cpu().float().eval().requires_grad_(False)


def _logits(plain: nn.Module, dataset: Dataset) -> Tensor:
    """The plain network's logits [n, C] on a few images of the data set; SelvizError if it gives none."""
    probes = _probes(dataset)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = plain(probes)
    except Exception as error:  # somebody else's code may raise anything
        place = fault(error)
        reason = first_line(error)[:200].rstrip(".")
        raise SelvizError(
            f"The network cannot be run on images of shape {list(probes.shape[1:])}"
            f"{f': {place}' if place else ''} ({reason}); --image-size and --channels change the images."
        ) from error
    logits = pick_logits(value)
    if not torch.isfinite(logits).all():
        raise SelvizError("The network's outputs are not finite on these images; its weights are damaged.")
    return logits


def _probes(dataset: Dataset) -> Tensor:
    return dataset.normalise(dataset.eval_pixels[:PROBES])


def _stored(plain: nn.Module, expected: Tensor, dataset: Dataset, layers, outputs):
    """(network, document, tensors, way): the network as it will be read from the run, by the first way that is true."""
    expected = tracing.chosen_outputs(expected, outputs)
    _check_classes(expected.shape[1], dataset)
    errors = []
    for way in tracing.WAYS:
        try:
            traced = tracing.with_chosen_outputs(tracing.trace(plain, dataset.example, way), outputs)
            document, tensors = graph_format.graph_document(traced), graph_format.tensors_of(traced)
            _check_same(_read_back(document, tensors, dataset), expected, dataset)
        except SelvizError as error:
            errors.append(error)
        else:
            chosen = graph_format.graph_document(
                graph_format.with_layers(traced, unit_layers.choose(traced.layers, layers))
            )
            return _read_back(chosen, tensors, dataset), chosen, tensors, way
    raise SelvizError(
        f"{errors[0]} torch.export cannot follow it either. Watch some of its modules instead: --watch 'layer*'"
        if all("traced" in str(error) for error in errors)
        else str(errors[0])
    ) from errors[0]


def _check_classes(classes: int, dataset: Dataset) -> None:
    wanted = len(dataset.class_names)
    if classes != wanted:
        more = "name the outputs of its classes in their order: --outputs 3,17,..." if classes > wanted else ""
        raise SelvizError(
            f"The network has {classes} outputs and the data set {wanted} classes; "
            f"{more or 'bring the data set that it was trained for'}."
        )


def _read_back(document: dict, tensors: Mapping[str, Tensor], dataset: Dataset) -> UnitNetwork:
    traced: Traced = graph_format.rebuilt(json.loads(json.dumps(document)), tensors, dataset.example)
    return UnitNetwork.of(traced).for_inference()


def _check_same(network: UnitNetwork, expected: Tensor, dataset: Dataset) -> None:
    with torch.no_grad():
        found = network.logits(_probes(dataset))
    off = float((found - expected).abs().max() / expected.std().clamp(min=1e-6))
    if not off <= TOLERANCE:
        raise SelvizError(
            f"The traced network does not give the logits of the network itself (they are off by {off:.2g} standard "
            "deviations): its code does something that a graph cannot hold. Watch modules instead: --watch 'layer*'"
        )


def _same(stored: Mapping, facts: Mapping) -> bool:
    return all(stored.get(key) == value for key, value in facts.items())


def _without_folders(spec: str) -> str:
    path, _, function = spec.rpartition(":")
    return f"{Path(path).name}:{function}"


def _sha256(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise SelvizError(f"Cannot read {file} ({error.strerror or error}).") from None
