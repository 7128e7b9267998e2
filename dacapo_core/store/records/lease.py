"""Who trains a run now: one holder at a time, on any file system.

Each holder is one object, ``records/lease/<epoch>.json``, made by exclusive create: of two that
try, one wins. The holder renews it from a thread. One that was killed on the same machine is
recognised and taken over at once; one elsewhere after its time to live, and only if it does not
renew while one looks: the clocks of two machines may differ.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
import warnings
from datetime import UTC, datetime, timedelta
from types import TracebackType

from pydantic import BaseModel, ConfigDict, ValidationError

from dacapo_core.store import layout
from dacapo_core.store.errors import LeaseHeldError, LeaseLostError, NotAFileError
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.process_identity import ProcessIdentity

logger = logging.getLogger(__name__)

TIME_TO_LIVE = timedelta(seconds=90)
RENEWALS_IN_A_LIFE = 4
LOOKS_IN_A_LIFE = 3
LOOK_AGAIN_SECONDS = 0.5


class LeaseRecord(BaseModel):
    """What ``records/lease/<epoch>.json`` says."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    owner: str
    token: str
    process: ProcessIdentity
    acquired: datetime
    renewed: datetime
    seconds_to_live: float
    released: bool = False

    def is_given_up(self) -> bool:
        """Released, or its process known to be dead."""
        return self.released or self.process.is_known_dead()

    def is_expired(self, now: datetime) -> bool:
        """Not renewed for its time to live, by the clock of whoever says ``now``."""
        return (now - self.renewed).total_seconds() > self.seconds_to_live

    def is_free(self, now: datetime) -> bool:
        """Given up or expired."""
        return self.is_given_up() or self.is_expired(now)


class Lease:
    """The right to train a run, held within a ``with`` block.

    Raises (on entering):
        LeaseHeldError: another process trains the run; it says which, and until when.
    """

    def __init__(
        self,
        filesystem: StoreFilesystem,
        run: str,
        *,
        owner: str | None = None,
        time_to_live: timedelta = TIME_TO_LIVE,
        patience: timedelta = timedelta(0),
    ) -> None:
        """
        Args:
            patience: how long to wait for a holder that may be dead; one elsewhere is known to be
                after its time to live.
        """
        self.run = run
        self.epoch: int | None = None
        self._filesystem = filesystem
        self._owner = owner
        self._time_to_live = time_to_live
        self._patience = patience
        self._record: LeaseRecord | None = None
        self._renewed = 0.0
        self._lost: str | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Lease:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lease, over a released, dead or expired one too."""
        if not self._filesystem.exclusive_create:
            warnings.warn(
                f"{self._filesystem.basedir} cannot create a file exclusively: two processes that "
                f"start to train {self.run!r} in the same moment are not told apart",
                RuntimeWarning,
                stacklevel=3,
            )
        deadline = time.monotonic() + self._patience.total_seconds()
        while self.epoch is None:
            newest = newest_epoch(self._filesystem, self.run)
            if newest is not None:
                holder = read_lease(self._filesystem, self.run, newest)
                now = datetime.now(UTC)
                if holder is None:
                    # its writer died between creating and filling it, or it was just replaced
                    holder = self._settle(newest)
                if holder is not None and not holder.is_given_up():
                    if not holder.is_expired(now):
                        if time.monotonic() >= deadline:
                            raise _held(self.run, holder, now)
                        time.sleep(LOOK_AGAIN_SECONDS)
                        continue
                    self._require_no_renewal(newest, holder)
            self._try_epoch(0 if newest is None else newest + 1)
        self._thread = threading.Thread(
            target=self._renew_until_stopped, name=f"lease of {self.run}", daemon=True
        )
        self._thread.start()

    def check(self) -> None:
        """Make sure that the lease is still held; called before each commit.

        Raises:
            LeaseLostError: another process has taken it over.
        """
        if self._lost is None and self.epoch is not None:
            newest = newest_epoch(self._filesystem, self.run)
            if newest is not None and newest > self.epoch:
                holder = read_lease(self._filesystem, self.run, newest)
                self._lost = str(holder.process) if holder else f"the holder of epoch {newest}"
            elif newest is None:
                self._lost = "nobody: the lease's record was deleted"
        if self._lost is not None:
            raise LeaseLostError(
                f"the lease of run {self.run!r} was lost to {self._lost}; nothing more is stored "
                "by this process. It was not renewed for "
                f"{time.monotonic() - self._renewed:.0f} s (time to live "
                f"{self._time_to_live.total_seconds():.0f} s)"
            )

    def release(self) -> None:
        """Give the lease back; harmless when it was lost."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._record is None or self.epoch is None:
            return
        newest = newest_epoch(self._filesystem, self.run)
        if newest == self.epoch:
            released = self._record.model_copy(update={"released": True})
            self._filesystem.write_bytes(self._path(self.epoch), _dumped(released))
        self.epoch = None

    def _try_epoch(self, epoch: int) -> None:
        now = datetime.now(UTC)
        process = ProcessIdentity.current()
        record = LeaseRecord(
            owner=self._owner or str(process),
            token=uuid.uuid4().hex,
            process=process,
            acquired=now,
            renewed=now,
            seconds_to_live=self._time_to_live.total_seconds(),
        )
        path = self._path(epoch)
        if self._filesystem.exclusive_create:
            try:
                self._filesystem.create_bytes(path, _dumped(record))
            except FileExistsError:
                return
        else:
            self._filesystem.write_bytes(path, _dumped(record))
        self.epoch, self._record, self._renewed = epoch, record, time.monotonic()
        older = [n for n in epochs(self._filesystem, self.run) if n < epoch]
        self._filesystem.delete([self._path(n) for n in older])

    def _settle(self, epoch: int) -> LeaseRecord | None:
        time.sleep(0.5)
        return read_lease(self._filesystem, self.run, epoch)

    def _require_no_renewal(self, epoch: int, expired: LeaseRecord) -> None:
        """Look for longer than a live holder takes to renew, whatever its clock says."""
        seconds = expired.seconds_to_live / LOOKS_IN_A_LIFE
        logger.warning(
            "run %r was trained by %s, who has not renewed the lease since %s; it is taken over in "
            "%.0f s if that stays so",
            self.run,
            expired.owner,
            f"{expired.renewed:%Y-%m-%d %H:%M:%S} UTC",
            seconds,
        )
        time.sleep(seconds)
        holder = read_lease(self._filesystem, self.run, epoch)
        if holder is not None and not holder.is_given_up() and holder.renewed != expired.renewed:
            raise _held(self.run, holder, holder.renewed)

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(self._time_to_live.total_seconds() / RENEWALS_IN_A_LIFE):
            try:
                self.check()
                self._renew()
            except LeaseLostError as error:
                logger.error("%s", error)
                return
            except Exception as error:
                # the store may be away for a while; check() decides before each commit
                logger.warning("the lease of run %r could not be renewed: %s", self.run, error)

    def _renew(self) -> None:
        assert self._record is not None
        assert self.epoch is not None
        renewed = self._record.model_copy(update={"renewed": datetime.now(UTC)})
        self._filesystem.write_bytes(self._path(self.epoch), _dumped(renewed))
        self._record, self._renewed = renewed, time.monotonic()

    def _path(self, epoch: int) -> str:
        return layout.LEASE.path(self.run, epoch)


def epochs(filesystem: StoreFilesystem, run: str) -> list[int]:
    """All epochs that have an object, in order."""
    names = (file.name for file in filesystem.list_files(layout.LEASE.of(run)))
    found = (layout.parse_numbered_record(name) for name in names)
    return sorted(number[0] for number in found if number is not None)


def newest_epoch(filesystem: StoreFilesystem, run: str) -> int | None:
    """The epoch in force."""
    return max(epochs(filesystem, run), default=None)


def read_lease(filesystem: StoreFilesystem, run: str, epoch: int) -> LeaseRecord | None:
    """The record of an epoch; None when it is gone or cannot be read."""
    try:
        return LeaseRecord.model_validate_json(filesystem.read_bytes(layout.LEASE.path(run, epoch)))
    except (FileNotFoundError, NotAFileError, ValidationError):
        return None


def holder_of(filesystem: StoreFilesystem, run: str) -> LeaseRecord | None:
    """Who trains the run now; None when nobody does."""
    newest = newest_epoch(filesystem, run)
    record = None if newest is None else read_lease(filesystem, run, newest)
    return None if record is None or record.is_free(datetime.now(UTC)) else record


def require_no_other_holder(filesystem: StoreFilesystem, run: str) -> None:
    """For one who has no lease: one look at who has.

    Raises:
        LeaseHeldError: another process trains the run.
    """
    holder = holder_of(filesystem, run)
    if holder is not None and holder.process != ProcessIdentity.current():
        raise _held(run, holder, datetime.now(UTC))


def _dumped(record: LeaseRecord) -> bytes:
    return record.model_dump_json(indent=1).encode()


def _held(run: str, holder: LeaseRecord, now: datetime) -> LeaseHeldError:
    left = holder.seconds_to_live - (now - holder.renewed).total_seconds()
    same = f" ({holder.process})" if holder.owner != str(holder.process) else ""
    return LeaseHeldError(
        f"run {run!r} is being trained by {holder.owner}{same} since "
        f"{holder.acquired:%Y-%m-%d %H:%M:%S} UTC. Stop it, or wait: a killed process on this "
        f"machine is recognised at once, one elsewhere in {max(left, 0):.0f} s at most"
    )
