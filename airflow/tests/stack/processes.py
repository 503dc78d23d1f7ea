"""Finds processes, and sends them signals."""

import contextlib
import os
from pathlib import Path

from world import MARK, World

WORKER = "STACK_WORKER"  # in the environment of a worker and of all that it starts


def processes(world: World, name: str | None = None, worker: str | None = None) -> list[int]:
    """Every process of this stack, of one program, below one worker. Zombies have ended and do not count."""
    marks = {f"{MARK}={world.folder}".encode()} | ({f"{WORKER}={worker}".encode()} if worker else set())
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            is_ours = marks <= set((folder / "environ").read_bytes().split(b"\0"))
            state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
            program_name = (folder / "comm").read_text().strip()
        except OSError:
            continue
        if is_ours and state != "Z" and name in (None, program_name):
            found.append(int(folder.name))
    return found


def describe(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return f"{pid} {b' '.join(words).decode(errors='replace')}"
    except OSError:
        return str(pid)


def is_alive(pid: int) -> bool:
    try:
        return pid > 0 and Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def signal_group(pid: int, number: int) -> None:
    if pid > 0:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)


def signal_one(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
