"""Which process this is, so that another on the same machine can tell when it is dead."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class ProcessIdentity(BaseModel):
    """A process, told apart from a later one with the same number.

    Attributes:
        boot: the kernel's boot id; None where there is none to read (not Linux).
        namespace: the process-number namespace (containers of one machine have their own).
        started: when the process started, in clock ticks since boot.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    host: str
    pid: int
    boot: str | None = None
    namespace: str | None = None
    started: int | None = None

    @classmethod
    def current(cls) -> ProcessIdentity:
        """This process."""
        pid = os.getpid()
        return cls(
            host=socket.gethostname(),
            pid=pid,
            boot=_boot_id(),
            namespace=_namespace(),
            started=_start_time(pid),
        )

    def is_known_dead(self) -> bool:
        """True only when this is certain: same boot, same namespace, and the process is gone.

        A process elsewhere, or on a machine that cannot tell, is never known to be dead.
        """
        if self.boot is None or self.started is None:
            return False
        if self.boot != _boot_id() or self.namespace != _namespace():
            return False
        return _start_time(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_person() -> str:
    """Who acts, where nobody said: ``user on host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"user {os.getuid()}"
    return f"{user} on {socket.gethostname()}"


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat; None when there is no such process, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[18])
