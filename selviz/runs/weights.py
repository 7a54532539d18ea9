"""A network's weights on disk: `write_weights(path, state_dict)`, `read_weights(folder, name)` checks their checksum.

The summary of a finished run lists the SHA-256 of its weights, which have no record of their own.
"""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from selviz.errors import SelvizError, told_by_system
from selviz.store import read_json
from selviz.store.files import checksum, write_bytes
from selviz.store.integrity import LISTED


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Leave a whole file of weights, or the one that was there before."""
    write_bytes(path, safetensors.torch.save({name: value.contiguous() for name, value in weights.items()}))


def read_weights(folder: Path, path: Path, fix: str = "train or import the run again") -> dict[str, Tensor]:
    """Return the tensors at `path` in a run's folder; SelvizError if it is missing, or not what the run was
    finished with.
    """
    known = (read_json(folder / "summary.json") or {}).get(LISTED, {})
    try:
        # Tensors have no checksum of their own: a changed bit would be another number.
        expected = known.get(str(path.relative_to(folder))) if path.is_relative_to(folder) else None
        with told_by_system(path):
            if expected not in (None, checksum(path)):
                raise SelvizError(f"{path} is damaged: it does not have the checksum in the run's summary; {fix}.")
            return safetensors.torch.load_file(path)
    except FileNotFoundError as error:
        raise SelvizError(f"{path} is missing; {fix}.") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise SelvizError(f"{path} is damaged ({error}); {fix}.") from error
