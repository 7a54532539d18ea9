"""Fabric comes without torchmetrics, torchvision and transformers, and knows the same of them as without selviz."""

import subprocess
import sys
from importlib.metadata import version

from packaging.version import Version

KNOWN = "from lightning_fabric.utilities import imports; print(imports._TORCHMETRICS_GREATER_EQUAL_1_0_0)"
IMPORTED = """
import sys
from lightning_utilities.core import imports
known = imports.compare_version
import selviz.training.fabric
assert imports.compare_version is known
print([name for name in ("torchmetrics", "torchvision", "transformers") if name in sys.modules])
"""


def printed(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_fabric_imports_no_other_library_to_learn_its_version_and_learns_the_same():
    assert printed(IMPORTED + KNOWN).splitlines() == ["[]", str(Version(version("torchmetrics")) >= Version("1"))]
