"""Compares the scalars that TensorBoard reads from FOLDER/events/NAME with FOLDER/NAME.klayer.metrics.jsonl."""

import json
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TAGS = {
    "loss/batch": "batch_loss",
    "loss/validation": "validation_loss",
    "cost/validation": "validation_cost",
    "accuracy/validation": "validation_accuracy",
    "rate": "rate",
    "epoch": "epoch",
}


def single(value):
    """The value in the precision of an event file."""
    return struct.unpack("f", struct.pack("f", value))[0]


folder = pathlib.Path(sys.argv[1])
for name, files in [("whole", 1), ("stopped", 2)]:
    lines = [json.loads(line) for line in (folder / f"{name}.klayer.metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(100, 3001, 100)), name
    events = folder / "events" / name
    assert len(list(events.iterdir())) == files, f"{name}: {list(events.iterdir())}"
    read = EventAccumulator(str(events), size_guidance={"scalars": 0})
    read.Reload()
    assert sorted(read.Tags()["scalars"]) == sorted(TAGS), read.Tags()
    for tag, key in TAGS.items():
        scalars = [(scalar.step, scalar.value) for scalar in read.Scalars(tag)]
        expected = [(line["step"], single(line[key])) for line in lines]
        assert scalars == expected, f"{name}: {tag} is {scalars}, and {expected} was expected"
    print(f"{name}: TensorBoard reads {len(lines)} points of {len(TAGS)} scalars as they were written")
