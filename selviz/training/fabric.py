"""Import `Fabric`, in a third of the time that it takes where torchmetrics is installed too.

Lightning Fabric imports torchmetrics to learn its version, and with it torchvision and transformers. Here the version
is read from what was installed, so that Fabric, and Lightning in the same process, know the same of it.
"""

from collections.abc import Callable
from importlib import metadata
from typing import Any

from lightning_utilities.core import imports
from packaging.version import Version

_compare_version = imports.compare_version


def _compare_installed(package: str, op: Callable[..., bool], version: str, use_base_version: bool = False) -> bool:
    if package != "torchmetrics":
        return bool(_compare_version(package, op, version, use_base_version))
    try:
        installed = Version(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False
    return bool(op(Version(installed.base_version) if use_base_version else installed, Version(version)))


imports.compare_version = _compare_installed
try:
    from lightning_fabric import Fabric
finally:
    imports.compare_version = _compare_version

__all__: list[Any] = ["Fabric"]
