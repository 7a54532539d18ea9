"""Measure what an install takes on the disk, from the records of installed packages: `python .ci/install_sizes.py app`.

One line for each package over 5 MB that `selviz` with these extras needs, largest first, with the packages of ours that
bring it; then torch, what torch itself needs, and all the rest, which is what docs/install.md calls "without torch".
Two numbers each: as installed without compiled bytecode (uv, `pip --no-compile`), and with the bytecode that is there.
`--at-most 700` fails where all the rest, without bytecode, takes more megabytes (millions of bytes) than that.
"""

import argparse
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
LARGE = 5e6  # bytes: smaller packages have no line


class Size(NamedTuple):
    """Bytes of files."""

    plain: int
    bytecode: int

    def __str__(self) -> str:
        return f"{self.plain / 1e6:8.1f} MB, {(self.plain + self.bytecode) / 1e6:8.1f} MB with bytecode"


def closure(name: str, extras: frozenset[str], seen: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return every package that `name` needs here, each with the extras that are asked of it."""
    name = canonicalize_name(name)
    if name in seen and extras <= seen[name]:
        return seen
    seen.setdefault(name, set()).update(extras)
    try:
        needed = distribution(name).requires or []
    except PackageNotFoundError:
        print(f"{name} is not installed: not counted", file=sys.stderr)
        return seen
    for text in needed:
        part = Requirement(text)
        if part.marker is None or any(part.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            closure(part.name, frozenset(part.extras), seen)
    return seen


def closure_of(requirement: Requirement) -> set[str]:
    """Return the names of all packages that a requirement brings, its own included."""
    return set(closure(requirement.name, frozenset(requirement.extras), {}))


def size(name: str) -> Size:
    """Return the bytes that a package's record names."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return Size(0, 0)
    sizes = [(path.suffix == ".pyc", path.locate().stat().st_size) for path in files if path.locate().is_file()]
    return Size(sum(n for compiled, n in sizes if not compiled), sum(n for compiled, n in sizes if compiled))


def total(sizes: dict[str, Size], names: set[str]) -> Size:
    """Return the sum over packages."""
    return Size(sum(sizes[name].plain for name in names), sum(sizes[name].bytecode for name in names))


def main(extras: list[str], at_most: float) -> None:
    """Print the sizes; SystemExit where all but torch takes more than `at_most` megabytes."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(text for e in extras for text in project["optional-dependencies"][e])]
    brings = {requirement.name: closure_of(requirement) for requirement in map(Requirement, asked)}
    needed = set().union(*brings.values())
    sizes = {name: size(name) for name in needed}
    torch_needs = closure_of(Requirement("torch")) - {"torch"}
    cuda = {name for name in torch_needs if name.startswith(("nvidia", "cuda")) or name == "triton"}
    rest = needed - torch_needs - {"torch"}
    for name in sorted(rest, key=lambda name: -sizes[name].plain):
        if sizes[name].plain > LARGE:
            by = ", ".join(sorted(ours for ours, parts in brings.items() if name in parts))
            print(f"{sizes[name]}  {name} (by {by})")
    print(f"{sizes['torch']}  torch")
    if cuda:
        print(f"{total(sizes, cuda)}  {len(cuda)} packages of CUDA that torch needs")
    print(f"{total(sizes, torch_needs - cuda)}  {len(torch_needs - cuda)} other packages that torch needs")
    print(f"{total(sizes, rest)}  the other {len(rest)} packages: all without torch")
    if total(sizes, rest).plain > 1e6 * at_most:
        raise SystemExit(f"That is more than {at_most:g} MB.")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("extras", nargs="*", help="extras of selviz, such as app")
    options.add_argument("--at-most", type=float, default=float("inf"), metavar="MB")
    given = options.parse_args()
    main(given.extras, given.at_most)
