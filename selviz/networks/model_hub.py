"""Networks that libraries ship, by name: `build("torchvision:resnet50", classes=10, channels=3)`.

torchvision comes with selviz, timm is an extra. Their pretrained weights are downloaded by the libraries themselves.
"""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from selviz.errors import SelvizError, first_line, unknown

LIBRARIES = ("torchvision", "timm")
# What torchvision sets by itself only where it loads the weights too: these were trained on otherwise scaled inputs.
WITH_WEIGHTS = {"inception_v3": {"transform_input": True}, "googlenet": {"transform_input": True}}
SLOW_TO_DRAW = ("inception_v3", "googlenet")  # their own initialisation takes half a minute


def split(name: str) -> tuple[str, str]:
    """Return `torchvision:resnet50` -> ("torchvision", "resnet50"); SelvizError for a library or network that is
    not known.
    """
    library, _, network = name.partition(":")
    if name.startswith(("hf:", "timm:hf-hub:")):
        raise SelvizError(
            f"{name} is a network of a hub, which comes with weights; bring it in with them: selviz import --name NAME "
            f"--model {name} --dataset DATASET"
        )
    if library not in LIBRARIES:
        raise unknown("package", library, LIBRARIES, "Write such as torchvision:resnet18.")
    known = names(library)
    if network.partition(".")[0] not in known:
        raise unknown(f"{library} network", network, known)
    return library, network


def names(library: str) -> Sequence[str]:
    """Return the classifiers that the library ships; SelvizError if it is not installed."""
    if library == "torchvision":
        from torchvision import models

        known: Sequence[str] = models.list_models(module=models)
    else:
        known = _timm().list_models()
    return known


def build(name: str, classes: int, channels: int, weights: str = "") -> nn.Module:
    """Return the network with fresh weights for so many classes and input channels, or with the pretrained `weights`.

    With weights it has the classes and channels that they have; "DEFAULT" are the library's best. SelvizError for
    unknown names and a download that fails.
    """
    library, network = split(name)
    make = _from_torchvision if library == "torchvision" else _from_timm
    return make(network, classes, channels, weights)


def _from_torchvision(name: str, classes: int, channels: int, weights: str) -> nn.Module:
    from torchvision import models

    options = {"init_weights": False} if name in SLOW_TO_DRAW and weights else {}
    if not weights:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return _with_channels(models.get_model(name, num_classes=classes, **options), channels)
    known = {entry.name: entry for entry in models.get_model_weights(name)}
    default = models.get_model_weights(name).DEFAULT
    if weights != "DEFAULT" and weights not in known:
        raise unknown("pretrained weight", weights, ["DEFAULT", *known])
    chosen = default if weights == "DEFAULT" else known[weights]
    try:
        state = chosen.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:  # no network, no such file there, a broken one
        raise _no_download(f"torchvision:{name}", chosen.name, chosen.url, error) from error
    model: nn.Module = models.get_model(name, **options, **WITH_WEIGHTS.get(name, {}))
    model.load_state_dict(state)
    return model


def _from_timm(name: str, classes: int, channels: int, weights: str) -> nn.Module:
    timm = _timm()
    if not weights:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)
        return model
    full = name if weights == "DEFAULT" else f"{name.partition('.')[0]}.{weights}"
    try:
        model = timm.create_model(full, pretrained=True)
    except Exception as error:
        raise _no_download(f"timm:{name}", weights, "the Hugging Face hub", error) from error
    return model


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise SelvizError(
            "Networks named timm:... need the package timm, which is not installed: pip install timm"
        ) from error
    return timm


def _no_download(name: str, weights: str, source: str, error: Exception) -> SelvizError:
    reason = first_line(error)
    return SelvizError(
        f"The weights {weights} of {name} could not be downloaded from {source} ({reason}); without internet, bring "
        "that file from elsewhere and give it with --checkpoint FILE instead of --weights."
    )


def _with_channels(model: nn.Module, channels: int) -> nn.Module:
    """Return the model with a first convolution, freshly drawn, of so many input channels."""
    path, first = next((p, m) for p, m in model.named_modules() if isinstance(m, nn.Conv2d))
    if first.in_channels == channels:
        return model
    other = nn.Conv2d(
        channels, first.out_channels,
        first.kernel_size, first.stride, first.padding, first.dilation,  # type: ignore[arg-type]  # two numbers each
        bias=first.bias is not None, padding_mode=first.padding_mode,
    )  # fmt: skip
    model = copy.copy(model)
    model.set_submodule(path, other)
    return model
