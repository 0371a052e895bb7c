"""Trains on datasets other than CIFAR-10, exports, and compares klayer's logits with those of onnxruntime.

Called by run.sh with the path of klayer and of docs/export.md, in an empty folder. The code of that page for graphs with
byte input runs as it is.
"""

import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy
from safetensors.numpy import load_file

TOLERANCE = 1e-4

klayer, page = sys.argv[1], Path(sys.argv[2]).read_text()
from_pixels = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1]
random = numpy.random.default_rng(42)


def drawn(count, channels, side, classes):
    """Images as an array of count x features bytes, a bright bar for each class, and their labels."""
    labels = (numpy.arange(count) % classes).astype(numpy.uint8)
    images = random.integers(0, 60, (count, channels, side, side)).astype(numpy.uint8)
    for image, label in zip(images, labels):
        image[:, label * side // classes :][:, : side // classes] += 180
    return images.reshape(count, -1), labels


def idx(folder):
    """Gray images of 28 x 28 in 10 classes, in MNIST's format."""
    folder.mkdir()
    for name, count in [("train", 600), ("t10k", 100)]:
        images, labels = drawn(count, 1, 28, 10)
        header = struct.pack(">4I", 0x803, count, 28, 28)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels.tobytes())
    return images, labels


def png(image):
    """A PNG of an image of 3 x side x side."""
    rows = image.transpose(1, 2, 0)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">2I5B", rows.shape[1], rows.shape[0], 8, 2, 0, 0, 0)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def pictures(folder):
    """Color pictures of 24 x 24 in 3 classes, in folders; they are loaded class by class."""
    for name, count in [("train", 150), ("test", 60)]:
        images, labels = drawn(count, 3, 24, 3)
        for i, (image, label) in enumerate(zip(images, labels)):
            place = folder / name / f"class {label}" / ("some" if i % 2 else "others")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{i:03}.png").write_bytes(png(image.reshape(3, 24, 24)))
    found = sorted((folder / "test").glob("class */*/*.png"))
    order = [int(path.stem) for path in found]
    return images[order], labels[order]


def cifar100(folder):
    """Records of CIFAR-100's sizes."""
    folder.mkdir()
    for name, count in [("train", 50_000), ("test", 10_000)]:
        images, classes = drawn(count, 3, 32, 4)
        labels = numpy.stack([classes, 20 * classes], 1).astype(numpy.uint8)
        # Every class needs an image.
        labels[:100] = numpy.stack([numpy.arange(100) % 20, numpy.arange(100)], 1)
        (folder / f"{name}.bin").write_bytes(numpy.concatenate([labels, images], 1).tobytes())
    return images, labels[:, 1]


failed = False
for make, options in [
    (idx, "--normalize whiten --activation gelu"),
    (pictures, "--size 24 --activation modulus --flip"),
    (cifar100, "--normalize channel"),
]:
    name = make.__name__
    images, labels = make(Path(name))
    run = lambda *words: subprocess.run([klayer, *words], check=True, capture_output=True)
    data = ["--data", name]
    settings = "--hidden 40,20 --batch 50 --n-s 100 --cycles 1".split()
    run("train", *data, *settings, *options.split(), "--out", f"{name}.klayer")
    run("evaluate", f"{name}.klayer", *data, "--logits", "logits.safetensors")
    run("export", f"{name}.klayer", "--out", "pixels.onnx", "--input", "pixels")
    ours = load_file("logits.safetensors")
    assert (ours["labels"] == labels).all(), name
    names = {"images": images}
    exec(from_pixels, names)
    distance = float(abs(names["logits"] - ours["logits"]).max())
    different = int((names["logits"].argmax(1) != ours["logits"].argmax(1)).sum())
    right = int((ours["logits"].argmax(1) == labels).sum())
    good = distance < TOLERANCE and different == 0 and right > len(labels) // 2
    failed |= not good
    print(
        f"{'good' if good else 'BAD '} onnxruntime, {name:<12} largest distance {distance:.1e}, "
        f"{different} of {len(labels)} classified differently, right {right}"
    )

sys.exit(failed)
