"""Numbers in the fixed columns of MacroModel force-field files.

A number stands right-justified in columns of its own, with blanks before and after them. It is replaced without moving
anything else in its line, and with as many decimals as before, but four at least where there is room: a round number
such as 109.5 says nothing about the accuracy of what replaces it. The decimal point is always written, since a number
without one may be read with decimals implied.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from fieldfit.errors import FileFormatError

DECIMALS = 4
"""Decimals of a new number, if the old one had no more and the columns have room."""


class Columns(NamedTuple):
    """Columns of a line, counted from 0, the last one exclusive."""

    start: int
    stop: int


NUMBER_COLUMNS = (Columns(23, 33), Columns(34, 44), Columns(45, 55))
"""Numbers of rows."""

VDW_COLUMNS = (Columns(5, 15), Columns(16, 26), Columns(27, 37), Columns(38, 48))
"""Numbers of van der Waals rows."""


def read_number(line: str, columns: Columns, what: str) -> float:
    """Return the number in some columns of a line; 0 if they are blank.

    Args:
        line: The line.
        columns: The columns.
        what: Where the line is, for messages.

    Raises:
        FileFormatError: There is something else, or the number is not within its columns.
    """
    text = line[columns.start : columns.stop].strip()
    whole = line[max(columns.start - 1, 0) : columns.stop + 1].strip()
    try:
        value = float(text) if text else 0.0
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (text and whole != text):
        raise FileFormatError(
            f"{what} has {whole!r} around columns {columns.start + 1}-{columns.stop}, where a number belongs. "
            "Correct the line."
        )
    return value


def replace_number(line: str, columns: Columns, value: float, *, what: str) -> str:
    """Return a line with another number in some of its columns.

    Args:
        line: The line; trailing blanks and a carriage return are kept.
        columns: The columns.
        value: The new number.
        what: Row and name of the number, for messages.

    Raises:
        FileFormatError: The number is not finite, or has too many digits for its columns.
    """
    body, width = line.rstrip("\r"), columns.stop - columns.start
    old = body[columns.start : columns.stop].strip()
    fewest = len(old.partition(".")[2]) if old else DECIMALS
    texts = [_fixed(value, decimals) for decimals in range(max(fewest, DECIMALS), fewest - 1, -1)]
    text = next((text for text in texts if len(text) <= width), None)
    if text is None or not math.isfinite(value):
        raise FileFormatError(
            f"{what} = {value:g} does not fit columns {columns.start + 1}-{columns.stop} with {fewest} decimals. "
            "Bound the parameter, or keep the force field in another format."
        )
    padded = body.ljust(columns.stop)
    return padded[: columns.start] + text.rjust(width) + padded[columns.stop :] + line[len(body) :]


def _fixed(value: float, decimals: int) -> str:
    # Adding 0 turns the -0 of a small negative number into 0; "#" keeps the point where no decimal follows.
    return f"{round(value, decimals) + 0.0:#.{decimals}f}"
