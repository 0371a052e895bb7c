"""Golden values of whitening and views, by NumPy alone: python inputs.py > inputs.json"""
import json

import numpy as np

EPS, IMAGES = 0.3, 5


def images(shape):
    """Bytes of a 64-bit linear congruential generator: the highest byte of each state."""
    state, out = sum(shape), []
    for _ in range(IMAGES * int(np.prod(shape))):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append(state >> 56)
    return np.array(out, np.uint8).reshape(IMAGES, *shape)


def dct(n):
    k, i = np.arange(n)[:, None], np.arange(n)
    return np.sqrt(np.where(k == 0, 1, 2) / n) * np.cos(np.pi * (2 * i + 1) * k / (2 * n))


def weighted(x):
    """Something that all values decide."""
    return (x.reshape(-1) * (np.arange(x.size) % 13 - 6)).sum()


def case(shape):
    x = images(shape) / 255
    mean, deviation = x.mean((0, 2, 3)), x.std((0, 2, 3), ddof=1)
    y = (x - mean[:, None, None]) / deviation[:, None, None]
    if shape[0] == 3:
        c = np.array([[1, 1, 1], [1, 0, -1], [-0.5, 1, -0.5]])
        y = np.einsum("dc,ncij->ndij", c / np.linalg.norm(c, axis=1, keepdims=True), y)
    z = np.einsum("ki,ncij,lj->nckl", dct(shape[1]), y, dct(shape[2]))
    features = (z - z.mean(0)) / np.sqrt(z.var(0, ddof=1) + EPS**2)
    picked = list(range(0, features[1].size, features[1].size // 19))
    views = []
    for mirrored, down, right in [(False, 0, 1), (True, 0, 0), (False, -2, 3), (True, 4, -4), (True, -1, 2)]:
        p = np.pad(images(shape)[1], ((0, 0), (4, 4), (4, 4)), mode="reflect")
        v = p[:, 4 + down:4 + down + shape[1], 4 + right:4 + right + shape[2]]
        v = v[:, :, ::-1] if mirrored else v
        out = int(weighted(v.astype(np.int64)))
        views.append({"mirrored": mirrored, "down": down, "right": right, "weighted": out})
    return {
        "shape": dict(zip(("channels", "height", "width"), shape)),
        "mean": mean.tolist(), "deviation": deviation.tolist(),
        "coefficient_mean": weighted(z.mean(0)), "coefficient_deviation": weighted(z.std(0, ddof=1)),
        "picked": picked, "features": features[1].reshape(-1)[picked].tolist(),
        "weighted": [weighted(f) for f in features], "views": views,
    }


cases = [case(shape) for shape in [(3, 32, 32), (1, 28, 28), (2, 5, 7)]]
print(json.dumps({"eps": EPS, "images": IMAGES, "cases": cases}, indent=1))
