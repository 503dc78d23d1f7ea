#!/usr/bin/env python3
"""Stands in for the binary where that must misbehave: keeps its contract, and does what $FAKE_BACKUP says.

$FAKE_BACKUP is a JSON object: for each command (`run`, `shard`, `shard 3`, `plan`, …) what to print:
`stderr`, `document`, or `stdout` so many `times`; how to end: `exit`, `dies` by a signal, or `fails_once` (a
file that remembers it); and `hangs`, `ignores_term`, `on_term` (a document), `child` (starts a process in its
group). Each call is a line in $FAKE_BACKUP_CALLS, written when signals are dealt with.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

arguments = sys.argv[1:]
scripts = json.loads(os.environ["FAKE_BACKUP"])
command = arguments[0]
if "--shard" in arguments:
    number = arguments[arguments.index("--shard") + 1].rsplit("/", 1)[1]
    command = f"shard {number}" if f"shard {number}" in scripts else "shard"
script = scripts.get(command, {})
calls = os.environ["FAKE_BACKUP_CALLS"]


def on_term(*_):
    print(json.dumps(script["on_term"]))
    sys.stdout.flush()
    os._exit(script.get("exit", 130))


if script.get("ignores_term"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif "on_term" in script:
    signal.signal(signal.SIGTERM, on_term)
pids = [os.getpid()]
if script.get("child"):
    pids.append(subprocess.Popen(["sleep", "600"], stdout=sys.stdout, stderr=sys.stderr).pid)
for line in script.get("stderr", []):
    print(line, file=sys.stderr, flush=True)
with Path(calls).open("a") as file:
    file.write(
        json.dumps({"command": command, "argv": arguments, "pids": pids, "env": dict(os.environ)}) + "\n"
    )
while script.get("hangs"):
    signal.pause()
if "stdout" in script:
    print(script["stdout"] * script.get("times", 1))
elif "document" in script:
    print(json.dumps(script["document"]))
if "dies" in script:
    os.kill(os.getpid(), script["dies"])
if "fails_once" in script and not Path(script["fails_once"]).exists():
    Path(script["fails_once"]).touch()
    sys.exit(1)
sys.exit(script.get("exit", 0))
