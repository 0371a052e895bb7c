"""Golden values for the momentum and the cosine schedule of klayer-optim.

    python3 make_golden.py    (needs PyTorch; writes golden.json beside itself)

Trains the networks of klayer-nn's golden.json with torch.optim.SGD in float64. The weight decay, on weights alone, is
2 lambda. The rates are those of the cosine schedule, computed here from its definition.
"""

import json
import math
import pathlib

import torch

EPS, BATCH, STEPS, LAMBDA, MU = 1e-8, 7, 10, 0.01, 0.9
RATE, WARMUP = 0.1, 0.25
HERE = pathlib.Path(__file__).parent


def cosine(rate, warmup, steps, t):
    if t < warmup * steps:
        return rate * t / (warmup * steps)
    return rate * 0.5 * (1 + math.cos(math.pi * (t / steps - warmup) / (1 - warmup)))


def tensors(case):
    names = ("weight", "bias", "gamma", "beta")
    return [{name: torch.tensor(layer[name], dtype=torch.float64, requires_grad=True) for name in names if name in layer}
            for layer in case["layers"]]


def loss_of(layers, x, labels):
    for layer in layers[:-1]:
        s = x @ layer["weight"].t() + layer["bias"]
        if "gamma" in layer:
            s = torch.nn.functional.batch_norm(s, None, None, layer["gamma"], layer["beta"], True, eps=EPS)
        nearest = s.abs().min().item()
        assert nearest > 1e-3, f"a unit is {nearest} from its kink"
        x = s.relu()
    return torch.nn.functional.cross_entropy(x @ layers[-1]["weight"].t() + layers[-1]["bias"], labels)


def train(case, nesterov, rate):
    layers = tensors(case)
    weights = [layer["weight"] for layer in layers]
    others = [value for layer in layers for name, value in layer.items() if name != "weight"]
    groups = [{"params": weights, "weight_decay": 2 * LAMBDA}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=MU, nesterov=nesterov)
    images, labels = torch.tensor(case["images"], dtype=torch.float64), torch.tensor(case["labels"])
    losses = []
    for step in range(STEPS):
        part = slice(0, BATCH) if step % 2 == 0 else slice(BATCH, 2 * BATCH)
        for group in optimizer.param_groups:
            group["lr"] = cosine(rate, WARMUP, STEPS, step)
        optimizer.zero_grad()
        loss = loss_of(layers, images[part], labels[part])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    layers = [{name: value.tolist() for name, value in layer.items()} for layer in layers]
    return {"case": case["name"], "nesterov": nesterov, "mu": MU, "lambda": LAMBDA, "rate": rate, "warmup": WARMUP,
            "batch": BATCH, "losses": losses, "layers": layers}


def first_training(case, nesterov):
    """The training with the first rate that stays away from kinks."""
    for part in range(100):
        try:
            return train(case, nesterov, RATE * (1 - part / 100))
        except AssertionError:
            pass
    raise SystemExit("no rate stays away from kinks")


if __name__ == "__main__":
    cases = json.loads((HERE / "../../../nn/tests/golden/golden.json").read_text())
    trainings = [first_training(case, nesterov) for case in cases for nesterov in (False, True)]
    schedules = [{"rate": rate, "warmup": warmup, "steps": steps,
                  "rates": [cosine(rate, warmup, steps, t) for t in range(steps + 1)]}
                 for rate, warmup, steps in [(0.1, 0.1, 20), (0.1, 0.25, 10), (0.05, 0.0, 7), (2.0, 0.37, 13)]]
    text = json.dumps({"momentum": trainings, "cosine": schedules}, separators=(",", ":"))
    (HERE / "golden.json").write_text(text.replace('{"case"', '\n{"case"').replace('"layers"', '\n"layers"')
        .replace('"cosine"', '\n"cosine"').replace('{"rate"', '\n{"rate"') + "\n")
