"""Steps that read or write memory by strides or masks, as steps that a stored network may have.

`strides_as_lookups(root, graph, example)` for `as_strided`, `masked_writes_as_fills(graph)` for `x[mask] = value`.
"""

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from selviz.errors import SelvizError
from selviz.networks.graph_nodes import ValueRecorder, called


def strides_as_lookups(root: nn.Module, graph: fx.Graph, example: Tensor) -> None:
    """Put a look-up by a stored index inside each image in place of `as_strided` of a contiguous value.

    `example` is [1, C, H, W]. SelvizError where the strides reach over the images, or differ with their number.
    """
    for node in [node for node in graph.nodes if called(node) == "as_strided"]:
        reads = [_read(root, graph, node, example.expand(images, *example.shape[1:])) for images in (2, 3)]
        index, shape = reads[0]
        if reads[1][1] != shape or not torch.equal(index, reads[1][0]):
            raise _refused(node)
        path = f"selviz_{node.name}"
        root.register_buffer(path, index)
        source = node.args[0]
        with graph.inserting_before(node):
            flat = graph.call_method("flatten", (source, 1))
            part = graph.call_method("index_select", (flat, 1, graph.get_attr(path)))
            whole = graph.call_method("reshape", (part, (-1, *shape)))
        node.replace_all_uses_with(whole)
        graph.erase_node(node)


def _read(root: nn.Module, graph: fx.Graph, node: fx.Node, images: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Return the positions [K] in the memory of one image that the step reads, and the shape of what it makes of one.

    The first axis must go from image to image.
    """
    names = [part.name for part in node.all_input_nodes]
    kept = ValueRecorder(root, copy.deepcopy(graph), names).values(images)
    held: dict[str, Any] = dict(kept)
    given: Any = fx.node.map_arg((node.args, node.kwargs), lambda part: held[part.name])
    args, kwargs = given
    values: dict[str, Any] = dict(zip(("self", "size", "stride", "storage_offset"), args)) | kwargs
    source, sizes, strides = values["self"], [*map(int, values["size"])], [*map(int, values["stride"])]
    each = source[0].numel() if source.dim() > 1 else 0
    start = int(values.get("storage_offset") or 0)
    if not each or len(sizes) < 2 or (sizes[0], strides[0]) != (len(images), each) or len(source) != len(images):
        raise _refused(node)
    index = torch.tensor(start)
    for size, stride in zip(sizes[1:], strides[1:]):
        index = index.unsqueeze(-1) + torch.arange(size) * stride
    index = index.flatten()
    if not len(index) or int(index.min()) < 0 or int(index.max()) >= each:
        raise _refused(node)
    return index, tuple(sizes[1:])


def _refused(node: fx.Node) -> SelvizError:
    return SelvizError(
        f"The step {node.name} reads by strides, and not image by image; "
        "let its first axis go from one image to the next, or write it with reshape, unfold or indices."
    )


def masked_writes_as_fills(graph: fx.Graph) -> None:
    """Put `masked_fill` in place of the aten steps that write one number into x at a mask.

    The mask may depend on the image then: nothing is looked up. Other writes by index stay.
    """
    for node in list(graph.nodes):
        if node.target is not torch.ops.aten.index_put.default or len(node.args) != 3 or node.kwargs:
            continue
        parts: tuple[Any, ...] = node.args
        x, indices, value = parts
        *before, mask = indices
        shapes: list[Any] = [part.meta.get("val") if isinstance(part, fx.Node) else None for part in (x, mask, value)]
        whole, chosen, written = shapes
        if any(part is not None for part in before) or not all(isinstance(part, Tensor) for part in shapes):
            continue
        after = whole.dim() - len(before) - chosen.dim()
        if chosen.dtype != torch.bool or tuple(written.shape) not in ((), (1,)) or written.dtype != whole.dtype:
            continue
        with graph.inserting_before(node):
            for _ in range(after):
                mask = graph.call_function(torch.ops.aten.unsqueeze.default, (mask, -1))
            number = graph.call_function(torch.ops.aten.reshape.default, (value, []))
            filled = graph.call_function(torch.ops.aten.masked_fill.Tensor, (x, mask, number))
        filled.meta = dict(node.meta)
        node.replace_all_uses_with(filled)
        graph.erase_node(node)
