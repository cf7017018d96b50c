"""What goes wrong, and what to do about it: docs/ERRORS.md.

Every error is a `quire.Error`. Its classes are also Python's own where Python
has one of that meaning, so that `except KeyError` catches a table that is not
there. All of them can be pickled.
"""

from __future__ import annotations

from typing import Optional


class Error(Exception):
    """An error of a server, or of this client.

    `str(error)` is one sentence: what was found, what was needed, of which
    table; the field, if there is one, follows in brackets.
    """

    #: The canonical code: "NOT_FOUND".
    code: str
    #: Why, for programs: "NO_SUCH_TABLE"; "" if there is no reason.
    reason: str
    #: What is at fault, as the request has it: "tables[0].ids.ids[7]"; or "".
    field: str
    #: The sentence alone.
    sentence: str
    #: Seconds after which the server advises to try again; None if a retry
    #: does not help.
    retry_after: Optional[float]

    def __init__(self, sentence: str, code: str = "UNKNOWN", reason: str = "",
                 field: str = "", retry_after: Optional[float] = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code
        self.reason = reason
        self.field = field
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.sentence} [{self.field}]" if self.field \
            else self.sentence

    def __reduce__(self):
        return type(self), (self.sentence, self.code, self.reason, self.field,
                            self.retry_after)


class InvalidArgument(Error, ValueError):
    """The same request can never succeed."""


class WrongType(InvalidArgument, TypeError):
    """An argument is of another type than it must be: ids that are floats."""


class NotFound(Error, KeyError):
    """There is no such table, label or service."""


class OutOfRange(Error, IndexError):
    """An id is negative or not below num_embeddings."""


class AlreadyExists(Error):
    """A table has this name."""


class FailedPrecondition(Error, RuntimeError):
    """Something must change before this can succeed; the sentence says what."""


class ResourceExhausted(Error):
    """It does not fit now: memory, disk, log, or too much in flight."""


class Unavailable(Error, ConnectionError):
    """No server answered, or one that cannot serve now."""


class DeadlineExceeded(Error, TimeoutError):
    """The timeout passed. A push may have been applied if its sentence says
    so."""


class Cancelled(Error):
    """The call was cut off."""


class DataLoss(Error):
    """What is stored is not what was written."""


class Unimplemented(Error, NotImplementedError):
    """A method that this server does not have."""


class Internal(Error, RuntimeError):
    """A mistake of Quire's. Please report it."""


_BY_CODE = {
    "INVALID_ARGUMENT": InvalidArgument,
    "NOT_FOUND": NotFound,
    "OUT_OF_RANGE": OutOfRange,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": FailedPrecondition,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "CANCELLED": Cancelled,
    "DATA_LOSS": DataLoss,
    "UNIMPLEMENTED": Unimplemented,
    "INTERNAL": Internal,
}


def _error(sentence: str, code: str, reason: str, field: str,
           retry_after: Optional[float]) -> Error:
    return _BY_CODE.get(code, Error)(sentence, code, reason, field,
                                     retry_after)


def _invalid(sentence: str, field: str, reason: str = "BAD_VALUE",
             ) -> InvalidArgument:
    return InvalidArgument(sentence, "INVALID_ARGUMENT", reason, field)


def _wrong_type(sentence: str, field: str) -> WrongType:
    return WrongType(sentence, "INVALID_ARGUMENT", "BAD_VALUE", field)
