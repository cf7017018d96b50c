"""How far long work has come: a bar, or whoever wants to know."""

from __future__ import annotations

import math
import shutil
import sys
import time
from typing import Any, Callable, Optional, Union

#: Of calls that take long. True: a bar on stderr, if that is a terminal. A
#: callable is told how many rows are done, and of how many, after each piece,
#: and once in the end.
Told = Union[None, bool, Callable[[int, int], Any]]

_BAR_EVERY_SECONDS = 0.1
_BAR_COLUMNS = (5, 30)
_EIGHTHS = " ▏▎▍▌▋▊▉"


class Progress:
    """Tells `told` how far it is. Thread safety: one thread at a time."""

    def __init__(self, told: Told, verb: str, total: int) -> None:
        self._tell: Optional[Callable[[int, int], Any]] = None
        self._bar: Optional[_Bar] = None
        if callable(told):
            self._tell = told
        elif told and sys.stderr is not None and sys.stderr.isatty():
            self._bar = _Bar(verb)
            self._tell = self._bar.show
        self._total = total
        self._done = 0

    def add(self, rows: int) -> None:
        """So many more are done."""
        self._done += rows
        if self._tell is not None:
            self._tell(self._done, self._total)

    def end(self) -> None:
        """Takes the bar off the screen."""
        if self._bar is not None:
            self._bar.clear()
            self._bar = self._tell = None


class _Bar:
    """As that of the quire command: client/terminal/progress.h."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._begun = self._shown = time.monotonic()
        self._is_drawn = False

    def show(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._shown < _BAR_EVERY_SECONDS:
            return
        self._shown = now
        columns = shutil.get_terminal_size().columns - 1
        sys.stderr.write("\r" + bar_text(self._verb, done, max(total, 1),
                                         now - self._begun, columns)
                         + "\x1b[K")
        sys.stderr.flush()
        self._is_drawn = True

    def clear(self) -> None:
        if self._is_drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def bar_text(verb: str, done: int, total: int, seconds: float,
             columns: int) -> str:
    """"importing  43% ██████▌   2,150 of 5,000 rows  12.3 k/s  0:03 left", in
    `columns` at most."""
    share = min(done / total, 1.0)
    rate = done / max(seconds, 1e-9)
    left = f"{verb} {math.floor(100 * share):3d}% "
    right = (f"  {done:,} of {total:,} rows  {_rate(rate)}/s  "
             f"{_clock((total - done) / rate) if done else '-:--'} left")
    room = columns - len(left) - len(right)
    if room < _BAR_COLUMNS[0]:
        return left[:columns]
    width = min(room, _BAR_COLUMNS[1])
    eighths = math.floor(share * 8 * width)
    bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8]
    return left + bar[:width].ljust(width) + right


def _rate(per_second: float) -> str:
    for unit in ("", " k", " M", " G"):
        if per_second < 999.5 or unit == " G":
            return f"{per_second:.3g}{unit}"
        per_second /= 1000
    raise AssertionError


def _clock(seconds: float) -> str:
    whole = math.ceil(seconds)
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours \
        else f"{minutes}:{seconds:02d}"
