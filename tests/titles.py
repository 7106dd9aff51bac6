"""What processes call themselves."""

from __future__ import annotations

import psutil


def title(process: psutil.Process) -> str:
    """Its command line, or what it wrote over it; empty where it has ended, waited for or not."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.NoSuchProcess:
        return ""
