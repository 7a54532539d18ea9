"""Pictures and folders as chance damages them: `mutated(encoded("PNG"), random)`, `scatter(root, random, trap)`."""

import io
import os
import pickle

import numpy as np
from PIL import Image

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "PPM": "ppm"}


def encoded(form: str, seed: int = 0, size: int = 12) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, form)
    return file.getvalue()


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Return the picture cut, overwritten, with a piece doubled, or with the first bytes of nothing: one of these at random."""
    data, place = bytearray(data), int(random.integers(len(data)))
    match int(random.integers(5)):
        case 0:
            del data[place:]
        case 1:
            for position in random.integers(len(data), size=8):
                data[position] = int(random.integers(256))
        case 2:
            data[place:place] = data[place // 2 : place]
        case 3:  # the header, where sizes and offsets are
            for position in random.integers(min(40, len(data)), size=4):
                data[position] = int(random.choice([0, 1, 127, 255]))
        case 4:
            del data[place : place + int(random.integers(1, 20))]
    return bytes(data)


class Trap:
    """Whoever unpickles this leaves a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (os.mkdir, (str(self.file),))


def scatter(root, random: np.random.Generator, trap) -> None:
    """Write a folder such as somebody may have by mistake: any depth, any names, any content."""
    contents = [
        b"",
        encoded("PNG", int(random.integers(99))),
        encoded("JPEG"),
        mutated(encoded("PNG"), random),
        pickle.dumps(Trap(trap)),
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%mkdir {trap}) (w) file\n".encode(),
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    ]
    parts = [[], ["train", "test"], ["val"], ["train"], ["train", "val", "test"]][random.integers(5)]
    names = ["ant", "bee", "c d", "..e", "-f", "é", "val", "g;h", "'i'", "%j", os.fsdecode(b"k\xff")]
    chosen = random.choice(names, size=int(random.integers(0, 5)), replace=False)
    for base in [root / part for part in parts] or [root]:
        base.mkdir(parents=True, exist_ok=True)
        for name in chosen if random.random() < 0.8 else random.choice(names, size=2, replace=False):
            folder = base / name / ("deep" if random.random() < 0.2 else "")
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(int(random.integers(0 if random.random() < 0.1 else 6, 14))):
                ending = random.choice(["png", "jpg", "gif", "txt", "PNG", "eps"])
                content = random.choice(len(contents), p=[0.06, 0.3, 0.3, 0.1, 0.08, 0.08, 0.08])
                (folder / f"{number}.{ending}").write_bytes(contents[content])
            if random.random() < 0.2:
                (folder / "loop.png").symlink_to(folder)
            if random.random() < 0.2:
                (folder / "nowhere.png").symlink_to(root / "missing")
