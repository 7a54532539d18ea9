"""Measure what an install takes on the disk, from the records of installed packages: `python .ci/install_sizes.py app`.

One line for each package over 5 MB that `selviz` with these extras needs, largest first; then torch with CUDA's
libraries, and all the rest.
"""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


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


def size(name: str) -> int:
    """Return the bytes that a package's record names, compiled files included."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return 0
    return sum(path.locate().stat().st_size for path in files if path.locate().is_file())


def main(extras: list[str]) -> None:
    """Print the sizes."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    needed: dict[str, set[str]] = {}
    for text in sum((project["optional-dependencies"][extra] for extra in extras), project["dependencies"]):
        closure(Requirement(text).name, frozenset(Requirement(text).extras), needed)
    sizes = {name: size(name) for name in needed}
    cuda = {name for name in needed if name.startswith(("nvidia", "cuda")) or name == "triton"}
    for name, amount in sorted(sizes.items(), key=lambda pair: -pair[1]):
        if amount > 5e6 and name not in {"torch", *cuda}:
            print(f"{amount / 1e6:8.1f} MB  {name}")
    torch = sizes["torch"] + sum(sizes[name] for name in cuda)
    print(f"{torch / 1e6:8.1f} MB  torch" + (f" with {len(cuda)} packages of CUDA" if cuda else ""))
    print(f"{(sum(sizes.values()) - torch) / 1e6:8.1f} MB  the other {len(needed) - 1 - len(cuda)} packages")


if __name__ == "__main__":
    main(sys.argv[1:])
