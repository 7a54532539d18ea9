"""A network as an import reads it, without a store: `read = brought(model, images)`; `read.network.observe(images)`."""

from collections.abc import Sequence

from torch import Tensor, nn

from selviz.networks.heads import Head, find_head
from selviz.networks.plain_run import PlainRun
from selviz.networks.proof import plain_value, steady_logits
from selviz.runs.importing import ReadNetwork, read_proven


def brought(
    model: nn.Module, images: Tensor, classes: int = 10, specs: Sequence[str] = (), head: Head | None = None
) -> ReadNetwork:
    """Return the network as a run would hold it, proven on these inputs [N, C, H, W]; SelvizError as an import has."""
    run = PlainRun(model)
    if head is None:
        head = find_head(plain_value(run, images), classes, made_by=run.made_by)
    return read_proven(run, head, images, steady_logits(run, head, images), specs)
