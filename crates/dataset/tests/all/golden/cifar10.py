"""Golden values of CIFAR-10, computed from the files by NumPy alone: python cifar10.py FOLDER > cifar10.json"""
import json
import sys
from pathlib import Path

import numpy as np


def read(*names):
    raw = np.concatenate([np.fromfile(Path(sys.argv[1]) / name, np.uint8).reshape(-1, 3073) for name in names])
    return {"labels": raw[:, 0], "pixels": raw[:, 1:]}


def image(part, name, i):
    pixels = part["pixels"][i]
    # Red of the first pixel, green of row 5, column 7, blue of the last pixel, and something that all pixels decide.
    weighted = int((pixels.astype(np.int64) * np.arange(1, 3073)).sum())
    picked = [int(pixels[at]) for at in (0, 1024 + 5 * 32 + 7, 3071)]
    return {"part": name, "index": i, "label": int(part["labels"][i]), "picked": picked, "weighted": weighted}


files = read(*(f"data_batch_{i}.bin" for i in range(1, 6)))
parts = {
    "training": {key: values[:45000] for key, values in files.items()},
    "validation": {key: values[45000:] for key, values in files.items()},
    "test": read("test_batch.bin"),
}
features = [0, 1, 500, 1024, 1536, 2048, 3071]
unit = parts["training"]["pixels"][:, features].astype(np.float64) / 255
all_units = parts["training"]["pixels"].astype(np.float32)
normalized = (parts["validation"]["pixels"][4999, features] / 255 - unit.mean(axis=0)) / unit.std(axis=0)
print(json.dumps({
    "images": [
        image(parts["training"], "training", 0),
        image(parts["training"], "training", 9999),
        image(parts["training"], "training", 10000),
        image(parts["training"], "training", 44999),
        image(parts["validation"], "validation", 0),
        image(parts["validation"], "validation", 4999),
        image(parts["test"], "test", 0),
        image(parts["test"], "test", 9999),
    ],
    "label_counts": {name: np.bincount(part["labels"]).tolist() for name, part in parts.items()},
    "features": features,
    "mean": unit.mean(axis=0).tolist(),
    "deviation": unit.std(axis=0).tolist(),
    "mean_of_means": float(parts["training"]["pixels"].mean(dtype=np.float64) / 255),
    "mean_of_deviations": float(all_units.std(axis=0, dtype=np.float64).mean() / 255),
    "normalized_last_of_validation": normalized.tolist(),
}, indent=1))
