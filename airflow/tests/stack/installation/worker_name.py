"""The name of a worker in Airflow. Both run on one host, whose name would tell nothing."""

import os
import socket


def get() -> str:
    return os.environ.get("STACK_WORKER") or socket.gethostname()
