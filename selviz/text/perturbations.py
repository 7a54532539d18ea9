"""Corruptions and attacks as they are called in a sentence: `called("pgd to 7")` is `PGD to 7`."""

TRANSFERRED = "transfer from "  # and the run that the images were made on
NAMES = {"pgd": "PGD", "fgsm": "FGSM", "rays": "RayS"}


def called(name: str) -> str:
    """Return `gaussian noise`, `PGD`, `RayS`, `PGD made on mnist-5k-cnn-a0-s1-...` for the name that is stored."""
    if name.startswith(TRANSFERRED):
        return f"PGD made on {name.removeprefix(TRANSFERRED)}"
    first, space, rest = name.partition(" ")
    return f"{NAMES[first]}{space}{rest}" if first in NAMES else name.replace("_", " ")
