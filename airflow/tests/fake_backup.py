#!/usr/bin/env python3
"""Stands in for the binary where that must misbehave. Keeps to its contract, and does what $FAKE_BACKUP says.

$FAKE_BACKUP is a JSON object: for each command (`run`, `shard`, `shard 3`, `plan`, …) what to print (`stderr`,
`stdout`, `times`,
`document`), how to end (`exit`), and `hangs`, `ignores_term`, `on_term` (a document), `child` (leaves a
process in its group). Each call is a line in $FAKE_BACKUP_CALLS, written when signals are dealt with.
"""

import json
import os
import signal
import subprocess
import sys

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
with open(calls, "a") as file:
    file.write(json.dumps({"command": command, "argv": arguments, "pids": pids, "env": dict(os.environ)}) + "\n")
while script.get("hangs"):
    signal.pause()
if "stdout" in script:
    print(script["stdout"] * script.get("times", 1))
elif "document" in script:
    print(json.dumps(script["document"]))
if "once" in script and not os.path.exists(script["once"]):
    open(script["once"], "w").close()
    sys.exit(script["exit_once"])
sys.exit(script.get("exit", 0))
