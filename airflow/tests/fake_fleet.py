#!/usr/bin/env python3
"""Stands in for `fleet`: keeps its contract, and fails for the command that $FAKE_FLEET_FAILS names.

Writes a result for the day before $BACKUP_DAY, below the folder where it was started, and appends the figures
of that day to $BACKUP_FACTS where it knows them: after `statistics` and `run --merge`. Each call is a line in
`fleet-calls` there.
"""

import os
import sys
from datetime import date, timedelta
from pathlib import Path

arguments = sys.argv[1:]
command = " ".join(arguments)
day = date.fromisoformat(os.environ["BACKUP_DAY"]) - timedelta(days=1)
with Path("fleet-calls").open("a") as calls:
    calls.write(f"{command} of {day}\n")
if os.environ.get("FAKE_FLEET_FAILS") == command:
    print("the disk is full", file=sys.stderr)
    sys.exit(1)
result = Path("results") / command.replace("/", "-of-") / f"date={day}" / "part.parquet"
result.parent.mkdir(parents=True, exist_ok=True)
result.write_text(command)
if arguments[0] == "statistics" or "--merge" in arguments:
    with Path(os.environ["BACKUP_FACTS"]).open("a") as facts:
        facts.write("Distance: 12,345 km\nOverspeed events: 17\n")
