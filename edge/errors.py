"""Errors, named by what the caller can do about them. The docstring is the operator's sentence, with the cure."""

from __future__ import annotations


class OutpostError(Exception):
    """Something went wrong in Outpost. The log of the process, in JSON lines, says where."""

    exit_code = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((self.__doc__ or "").split()))


class Transient(OutpostError):
    """It did not work now and is tried again by itself. Nothing to do."""

    exit_code = 75


class BrokenOff(Transient):
    """Outpost was ended while it made its catalogue again, or brought it up to date. The next start begins that anew; nothing is lost."""


class Permanent(OutpostError):
    """It will not work however often it is tried. The message says what has to change."""


class Corrupt(OutpostError):
    """Bytes are not what was written. They are not used; the message names what is affected."""

    exit_code = 65


class Refused(OutpostError):
    """The request was refused by a rule. The message names the rule."""

    exit_code = 77


class Unknown(Refused):
    """There is nothing here by the name that was given. The message says what lists the names."""

    exit_code = 66


class StoreFull(Transient):
    """The disk is at its reserve. Free space or let eviction work; reception resumes by itself."""


class Exhausted(StoreFull):
    """Outpost has no file descriptor or memory to spare for that now. It is tried again by itself; if it recurs, raise the limits of the
    service.
    """


class StoreFailed(OutpostError):
    """The disk reported a failed flush. Outpost stops and re-reads what it admitted; check the disk (`dmesg`, `smartctl`)."""

    exit_code = 70


class AlreadyRunning(Refused):
    """Another Outpost runs on this state directory. Stop it first, or choose another directory with --state."""

    exit_code = 3


class ConfigError(Permanent):
    """A setting is wrong. The message names the key and the cure."""

    exit_code = 78

    def __init__(self, key: str, fault: str, cure: str) -> None:
        super().__init__(f"{key}: {fault}. {cure}")
        self.key = key
