"""Becomes the binary, bound to the life of the process that started it.

Run by itself (`python -IS _launch.py PARENT PROGRAM ARGUMENT…`), as this cannot be done well between fork and
exec of a process that has threads. The binary gets SIGTERM when its parent dies, however that dies: a worker
that is killed with SIGKILL leaves no upload behind that nobody watches.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replace this process by the program named in the arguments."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have died before it was asked for.
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)
    # Python ignores it, and what is ignored stays so in the program.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(program[0], program)  # noqa: S606


main()
