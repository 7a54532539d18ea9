"""Lists of units as people type and links hold them: `parse_units("relu1:3-5,9;relu2:0")`, `format_units(units)`.

A part is LAYER:NUMBERS, parts are joined by `;`, and NUMBERS are numbers and ranges joined by commas. A layer's own
name may hold colons: what stands after the last one are its numbers.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from selviz.errors import SelvizError

MAX_RANGE = 1_000_000  # units in a range: a typing error is refused before it fills the memory
_ITEM = re.compile(r"(\d{1,18})(?:\s*-\s*(\d{1,18}))?", re.ASCII)

Units = dict[str, list[int]]


class Item(NamedTuple):
    """A number or range of a list as it was typed; `numbers` is None where it is neither, or runs backwards."""

    layer: str
    text: str
    numbers: range | None


def parse_units(specs: str | Iterable[str]) -> Units:
    """Return `"relu1:0,4-6;relu2:1"`, or a sequence of such -> `{"relu1": [0, 4, 5, 6], "relu2": [1]}`, sorted,
    each once.

    Raises SelvizError for what is no list of units. Whether the layers and units exist, the network knows.
    """
    chosen: dict[str, set[int]] = {}
    for spec in [specs] if isinstance(specs, str) else specs:
        items = list(_items(spec))
        if not items or any(not item.layer or not item.text for item in items):
            raise SelvizError(f"'{spec}' names no unit; write LAYER:3,5 or LAYER:3-7, such as relu1:3,5.")
        for layer, text, numbers in items:
            chosen.setdefault(layer, set()).update(_checked(text, numbers, spec))
    return {layer: sorted(units) for layer, units in chosen.items()}


def parse_existing_units(text: str, sizes: Mapping[str, int]) -> tuple[Units, list[str]]:
    """Return the units that `text` names, and its parts that name none; `sizes` has the number of units of each
    layer.
    """
    units: Units = {}
    wrong = []
    for layer, item, numbers in _items(text):
        if numbers is None or layer not in sizes or numbers.stop > sizes[layer]:
            wrong.append(f"{layer}:{item}")
        else:
            units[layer] = sorted({*units.get(layer, ()), *numbers})
    return units, wrong


def parse_numbers(text: str) -> list[int]:
    """Return `"3,5,8-11"` -> `[3, 5, 8, 9, 10, 11]`, sorted, each once; anything else raises SelvizError."""
    chosen: set[int] = set()
    for part in text.split(","):
        chosen.update(_checked(part.strip(), _numbers(part.strip()), text))
    return sorted(chosen)


def format_units(units: Mapping[str, Sequence[int]]) -> str:
    """Return `{"relu1": [3, 4, 5, 9]}` -> `relu1:3-5,9`; layers are joined by `;`, those without units left out."""
    return ";".join(f"{layer}:{format_numbers(numbers)}" for layer, numbers in units.items() if len(numbers))


def format_numbers(numbers: Iterable[int]) -> str:
    """Return `[3, 5, 4, 9]` -> `3-5,9`."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _items(text: str) -> Iterator[Item]:
    for part in filter(None, text.split(";")):
        layer, _, numbers = part.rpartition(":")
        for item in numbers.split(","):
            yield Item(layer.strip(), item.strip(), _numbers(item.strip()))


def _numbers(text: str) -> range | None:
    match = _ITEM.fullmatch(text)
    if match is None:
        return None
    first, last = int(match[1]), int(match[2] or match[1])
    return range(first, last + 1) if first <= last else None


def _checked(text: str, numbers: range | None, spec: str) -> range:
    """Return `numbers`; where there are none or too many, raise SelvizError that says what is wrong with `text`."""
    if numbers is None and (match := _ITEM.fullmatch(text)):
        raise SelvizError(f"The range '{text}' in '{spec}' runs backwards; write {match[2]}-{match[1]}.")
    if numbers is None:
        raise SelvizError(f"'{text}' in '{spec}' is no unit number; write LAYER:3,5 or LAYER:3-7.")
    if len(numbers) > MAX_RANGE:
        raise SelvizError(f"The range '{text}' in '{spec}' has more units than any layer.")
    return numbers
