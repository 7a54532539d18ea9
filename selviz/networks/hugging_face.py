"""Image classifiers of the Hugging Face hub, weights and all: `network("hf:microsoft/resnet-18")`.

`hf:NAME` is a classifier of transformers, `timm:hf-hub:NAME` one of timm, both by the extra `hub`; `hf:./FOLDER` is one
that `save_pretrained` wrote. A run of one holds its graph and weights, so it opens without the hub. No code of the hub
is run.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from selviz.errors import SelvizError, first_line

TRANSFORMERS, TIMM = "hf:", "timm:hf-hub:"
LATEST = "DEFAULT"  # in place of a revision
RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


@dataclass(frozen=True)
class Prepared:
    """How the images of a network's training were prepared, as `selviz.datasets` takes it; what is not said is empty.

    `classes` are the names of its outputs.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    image_size: int = 0
    resize_size: int = 0
    interpolation: str = ""
    classes: tuple[str, ...] = ()

    def missing_in(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the settings of images leave to the network, as values of theirs."""
        found: dict[str, Any] = {}
        if self.mean and not settings.get("mean"):
            found |= {name: ",".join(f"{value:g}" for value in getattr(self, name)) for name in ("mean", "std")}
        if self.image_size and not settings.get("image_size"):
            found |= {"image_size": self.image_size, "resize_size": self.resize_size}
            if self.interpolation and not settings.get("interpolation"):
                found["interpolation"] = self.interpolation
        return found


class _Logits(nn.Module):
    """A classifier of transformers as a function of images."""

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(pixel_values=images).logits
        return logits


def is_hub(name: str) -> bool:
    """Return whether a network is named as one of the hub."""
    return name.startswith((TRANSFORMERS, TIMM))


def network(name: str, revision: str = LATEST) -> nn.Module:
    """Return the network with its weights, at a revision (a commit, tag or branch); SelvizError where that fails."""
    if name.startswith(TIMM):
        timm = _library("timm")
        model: nn.Module = _asked(name, lambda: timm.create_model(_timm_id(name, revision), pretrained=True))
        return model
    transformers, where = _library("transformers"), _where(name)
    return _Logits(
        _asked(
            name,
            lambda: transformers.AutoModelForImageClassification.from_pretrained(
                where, revision=_revision(revision), trust_remote_code=False
            ),
        )
    )


def prepared(name: str, revision: str = LATEST) -> Prepared:
    """Return how the network's images were prepared and what its outputs are called, from its files on the hub."""
    if name.startswith(TIMM):
        _library("timm")
        from timm.models import load_model_config_from_hf

        about, *_ = _asked(name, lambda: load_model_config_from_hf(_timm_id(name, revision).removeprefix("hf-hub:")))
        return _timm_prepared(about)
    transformers, where = _library("transformers"), _where(name)
    config = _asked(
        name,
        lambda: transformers.AutoConfig.from_pretrained(where, revision=_revision(revision), trust_remote_code=False),
    )
    labels = getattr(config, "id2label", None) or {}
    file = _asked(
        name,
        lambda: transformers.utils.cached_file(
            where, "preprocessor_config.json", revision=_revision(revision), _raise_exceptions_for_missing_entries=False
        ),
    )
    classes = tuple(str(labels[number]) for number in sorted(labels))
    if file is None:
        return Prepared(classes=classes)
    with open(file, encoding="utf-8") as text:
        return _transformers_prepared(json.load(text), classes)


def outputs_of(classes: Sequence[str], outputs: Sequence[str]) -> tuple[int, ...] | None:
    """Return at which outputs the classes of a data set are, by their names; None unless each is there once."""
    plain = [_plain(name) for name in outputs]
    wanted = [_plain(name) for name in classes]
    if len(set(wanted)) < len(wanted) or not all(plain.count(name) == 1 for name in wanted):
        return None
    return tuple(plain.index(name) for name in wanted)


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", " ")


def _transformers_prepared(about: Mapping[str, Any], classes: tuple[str, ...]) -> Prepared:
    mean, std = tuple(about.get("image_mean") or ()), tuple(about.get("image_std") or ())
    scaled = about.get("do_rescale", True) and abs(about.get("rescale_factor", 1 / 255) * 255 - 1) < 1e-6
    if not about.get("do_normalize", True):
        mean, std = (0.0,) * 3, (1.0,) * 3
    if not scaled:  # inputs that a mean and standard deviation of pixels / 255 do not describe
        mean, std = (), ()
    size = about.get("size") or {}
    size = {"shortest_edge": size} if isinstance(size, int) else size
    shorter = int(size.get("shortest_edge") or min(size.get("height", 0), size.get("width", 0)))
    crop = about.get("crop_size") if about.get("do_center_crop") else None
    side = crop if isinstance(crop, int) else int(crop["height"]) if crop else shorter
    if about.get("crop_pct") and "shortest_edge" in size and not crop and shorter < 384:
        side, shorter = shorter, int(shorter / about["crop_pct"])
    return Prepared(
        mean, std, side, max(side, shorter) if side else 0, RESAMPLING.get(about.get("resample", 2), ""), classes
    )


def _timm_prepared(about: Mapping[str, Any]) -> Prepared:
    side = int((about.get("input_size") or (3, 0, 0))[-1])
    shorter = int(side / (about.get("crop_pct") or 0.875))
    interpolation = str(about.get("interpolation") or "")
    return Prepared(
        tuple(about.get("mean") or ()), tuple(about.get("std") or ()), side, max(side, shorter) if side else 0,
        interpolation if interpolation in RESAMPLING.values() else "", tuple(about.get("label_names") or ()),
    )  # fmt: skip


def _timm_id(name: str, revision: str) -> str:
    return name.removeprefix("timm:") + (f"@{revision}" if revision not in ("", LATEST) else "")


def _revision(revision: str) -> str | None:
    return None if revision in ("", LATEST) else revision


def _where(name: str) -> str:
    """Return a name of the hub, or the full path of a folder."""
    where = name.removeprefix(TRANSFORMERS)
    return os.path.abspath(os.path.expanduser(where)) if where.startswith((".", "~", os.sep)) else where


def _library(package: str) -> Any:
    try:
        return __import__(package)
    except ImportError as error:
        kind = f"{TRANSFORMERS}..." if package == "transformers" else f"{TIMM}..."
        raise SelvizError(
            f"Networks named {kind} need the package {package}, which is not here: pip install 'selviz[hub]'"
        ) from error


def _asked(name: str, ask: Callable[[], Any]) -> Any:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
            return ask()
    except Exception as error:  # whatever the network, the hub or a file has to say
        reason = first_line(error).rstrip(".")
        raise SelvizError(
            f"{name} cannot be loaded from the Hugging Face hub ({reason[:300]}); check its name, connect this machine "
            "to the internet, or download it elsewhere and name its folder: hf:./FOLDER"
        ) from error
