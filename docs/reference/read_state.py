#!/usr/bin/env python3
"""Prints the state of a backup as JSON lines, from a copy of its control data on disk.

    aws s3 cp --recursive s3://BUCKET/PREFIX/.s3backup/JOB/HOST/ control/
    read_state.py control/ [RUN-ID]

Follows docs/reference/bucket.md and nothing else. Needs Python 3.8 and the program `zstd`.
"""

import base64
import json
import pathlib
import subprocess
import sys

SCHEMA = 1
TABLE = list(range(256))
for byte in range(256):
    for _ in range(8):
        TABLE[byte] = TABLE[byte] >> 1 ^ (0x9A6C9329AC4BC9B5 if TABLE[byte] & 1 else 0)


def crc64nvme(data):
    crc = 2**64 - 1
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return base64.b64encode((crc ^ 2**64 - 1).to_bytes(8, "big")).decode()


def check(header):
    if header["min_reader"] > SCHEMA:
        sys.exit(f"written by a newer version: it needs a reader of {header['min_reader']}")
    return header


def lines(segment):
    text = subprocess.run(["zstd", "-dcq", segment], check=True, stdout=subprocess.PIPE).stdout
    header, *rest = text.decode("utf-8").rstrip("\n").split("\n")
    run = check(json.loads(header))["run_id"]
    return [{"run": run, **json.loads(line)} for line in rest]


def named(control, segments):
    """The lines of segments that a report or an index names: all of them must be there."""
    for segment in segments:
        path = control / segment["key"].split("/.s3backup/")[-1].split("/", 2)[2]
        found = lines(path)
        if len(found) != segment["lines"] or crc64nvme(path.read_bytes()) != segment["crc64nvme"]:
            sys.exit(f"{segment['key']} is not as it was written")
        yield from found


def of_run(control, run):
    report = control / "runs" / f"{run}.json"
    if report.exists():
        yield from named(control, json.loads(report.read_text("utf-8"))["manifests"])
        return
    number = 0  # It was killed: what is there is true.
    while (segment := control / "manifests" / run / f"{number}.jsonl.zst").exists():
        yield from lines(segment)
        number += 1


def state(control, until):
    found, after = {}, ""
    snapshots = sorted(path.parent.name for path in control.glob("snapshots/*/index.json"))
    for run in (run for run in reversed(snapshots) if run <= until):
        index = check(json.loads((control / "snapshots" / run / "index.json").read_text("utf-8")))
        found = {line["key"]: line for line in named(control, index["segments"])}
        after = run
        break
    runs = {path.name for path in control.glob("manifests/*")}
    runs |= {path.stem for path in control.glob("runs/*.json")}
    for run in sorted(run for run in runs if after < run <= until):
        for line in of_run(control, run):
            if line["op"] == "gone":
                found.pop(line["key"], None)
                continue
            if line["op"] == "meta" and line["key"] in found:
                line["run"] = found[line["key"]]["run"]
            found[line["key"]] = line
    return found


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    until = sys.argv[2] if len(sys.argv) == 3 else "~"
    for _, line in sorted(state(pathlib.Path(sys.argv[1]), until).items()):
        print(json.dumps(line, ensure_ascii=False))
