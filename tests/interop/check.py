"""Compares klayer's logits in the current folder with those that the code of docs/export.md finds.

Called by run.sh, with the path of that page.
"""

import json
import os
import re
import sys
from pathlib import Path

import numpy
import onnx
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.torch import save_file

IMAGES = 1000
TOLERANCE = 1e-4

page = Path(sys.argv[1]).read_text()
pytorch, from_pixels, from_normalized = re.findall(r"```python\n(.*?)```", page, re.DOTALL)

records = numpy.fromfile(Path(os.environ["CIFAR10_DIR"]) / "test_batch.bin", numpy.uint8).reshape(-1, 3073)
labels, images = records[:IMAGES, 0], numpy.ascontiguousarray(records[:IMAGES, 1:])

all_ours = load_file("logits.safetensors")
assert (all_ours["labels"] == records[:, 0]).all(), "klayer's labels are those of the file"
evaluation = json.loads(Path("evaluation.json").read_text())
right = int((all_ours["logits"].argmax(1) == records[:, 0]).sum())
assert right == round(evaluation["accuracy"] * len(records)), "klayer's accuracy is that of its logits"
ours = all_ours["logits"][:IMAGES]
failed = False


def run(code, replace=(None, None)):
    """The names that `code` of the page, with one file in place of another, leaves for the images."""
    names = {"images": images}
    if replace[0]:
        assert replace[0] in code
        code = code.replace(*replace)
    exec(code, names)
    return names


def compare(what, theirs):
    global failed
    theirs = numpy.asarray(theirs)
    assert theirs.shape == ours.shape and theirs.dtype == numpy.float32, (what, theirs.shape, theirs.dtype)
    distance = float(abs(theirs - ours).max())
    different = int((theirs.argmax(1) != ours.argmax(1)).sum())
    right = [int((logits.argmax(1) == labels).sum()) for logits in (ours, theirs)]
    good = distance < TOLERANCE and different == 0 and right[0] == right[1]
    failed |= not good
    print(
        f"{'good' if good else 'BAD '} {what:<32} largest distance {distance:.1e}, "
        f"{different} of {IMAGES} classified differently, right {right[1]} and {right[0]}"
    )


with safe_open("model.safetensors", "pt") as file:
    batch_norm = "bn1.weight" in file.keys()
    metadata = file.metadata()
if json.loads(metadata["klayer"]).get("normalization", {}).get("whitening"):
    # The page has no PyTorch code for whitening.
    Path("saved.safetensors").write_bytes(Path("model.safetensors").read_bytes())
else:
    found = run(pytorch)
    compare("PyTorch", found["logits"])
    assert found["names"][0] == evaluation["classes"][int(ours[0].argmax())]
    # For run.sh to import: with the counts of mini-batches that PyTorch adds.
    save_file(found["model"].state_dict(), "saved.safetensors", metadata)

for name in ["model", "model-folded", "pixels", "pixels-folded"]:
    onnx.checker.check_model(onnx.load(f"{name}.onnx"), full_check=True)
    form = name.split("-")[0]
    code = from_pixels if form == "pixels" else from_normalized
    compare(f"onnxruntime, {name}.onnx", run(code, (f"{form}.onnx", f"{name}.onnx"))["logits"])
    operators = {node.op_type for node in onnx.load(f"{name}.onnx").graph.node}
    assert ("BatchNormalization" in operators) == (batch_norm and "folded" not in name), (name, operators)

sys.exit(failed)
