"""Finds processes, and sends them signals."""

import contextlib
import os
from pathlib import Path

from world import World


def processes(world: World, name: str | None = None) -> list[int]:
    """Every process of this stack, or of one program of it. Zombies have ended and do not count.

    They work in its folder; their environment cannot tell, as Airflow writes titles over it.
    """
    found = []
    for place in Path("/proc").iterdir():
        if not place.name.isdigit() or int(place.name) == os.getpid():
            continue
        try:
            is_ours = (place / "cwd").readlink().is_relative_to(world.folder)
            program_name = (place / "comm").read_text().strip()
        except OSError:
            continue
        if is_ours and name in (None, program_name) and is_alive(int(place.name)):
            found.append(int(place.name))
    return found


def orphans(world: World, daemons: set[int]) -> list[int]:
    """Processes whose parent has gone, other than the daemons that were started here."""
    ours = set(processes(world))
    return [pid for pid in ours if pid not in daemons and parent_of(pid) not in ours]


def parent_of(pid: int) -> int:
    try:
        return int(stat(pid)[1])
    except OSError:
        return 0


def stat(pid: int) -> list[str]:
    """State, parent and so on, as proc(5) has them behind the name."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def describe(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return f"{pid} {b' '.join(words).decode(errors='replace')}"
    except OSError:
        return str(pid)


def is_alive(pid: int) -> bool:
    try:
        return pid > 0 and stat(pid)[0] != "Z"
    except OSError:
        return False


def signal_group(pid: int, number: int) -> None:
    if pid > 0:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)


def signal_one(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
