"""Settings files in general: TOML tables that become records, key by key.

The fields of a frozen dataclass say which keys a table has; the metadata of each field is one of the checks below. A
key that is not known is an error with the nearest one that is, and a value of another kind an error with what is
wanted.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NamedTuple

from fieldfit.errors import FileFormatError, SettingsError
from fieldfit.registry import unknown_name


class Check(NamedTuple):
    """What a value has to be.

    Args:
        wanted: The same in words.
        is_right: Whether a value is that.
        holds_floats: Whether whole numbers in it mean floats.
    """

    wanted: str
    is_right: Callable[[Any], bool]
    holds_floats: bool = False


def key(wanted: str, is_right: Callable[[Any], bool], *, holds_floats: bool = False) -> Mapping[str, Check]:
    """Return a check as the metadata of a field."""
    return {"check": Check(wanted, is_right, holds_floats)}


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return is_bound(value) and math.isfinite(value)


def is_bound(value: Any) -> bool:
    """Whether a value is a number, perhaps an infinite one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    """Whether a value is a text."""
    return isinstance(value, str)


def is_list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return the check of a list whose entries pass another."""
    return lambda value: isinstance(value, list) and all(map(check, value))


TEXT = key("a text", is_text)
NUMBER = key("a number", is_number, holds_floats=True)
COUNT = key("a positive whole number", lambda value: isinstance(value, int) and value is not True and value > 0)
TEXTS = key("a list of texts", is_list_of(is_text))
COUNTS = key("a list of positive whole numbers", is_list_of(lambda value: isinstance(value, int) and value > 0))
SWITCH = key("true or false", lambda value: isinstance(value, bool))
NATURAL = key("a whole number that is not negative", lambda value: is_whole(value) and value >= 0)
STRENGTHS = key(
    "a list of positive numbers", is_list_of(lambda value: is_number(value) and value > 0.0), holds_floats=True
)
PAIRS = key(
    "a list of pairs of atoms counted from 1",
    is_list_of(lambda value: isinstance(value, list) and len(value) == 2 and all(isinstance(v, int) for v in value)),
)
ATOMS = key(
    "a list of lists of atoms counted from 1",
    is_list_of(lambda value: isinstance(value, list) and all(isinstance(v, int) and v > 0 for v in value)),
)
BOUNDS = key(
    "a table from pattern to [lower, upper]",
    lambda value: (
        isinstance(value, dict)
        and all(isinstance(v, list) and len(v) == 2 and all(map(is_bound, v)) for v in value.values())
    ),
    holds_floats=True,
)
NUMBERS = key(
    "a table from pattern to number",
    lambda value: isinstance(value, dict) and all(map(is_number, value.values())),
    holds_floats=True,
)
NAMES = key("a table from name to name", lambda value: isinstance(value, dict) and all(map(is_text, value.values())))
TOLERANCE = key("a tolerance, or true for the default one", lambda value: value is True or is_number(value))


def read_tables(path: str) -> dict[str, Any]:
    """Return what a settings file holds.

    Raises:
        FileFormatError: The file is missing or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(f"The settings file {path} cannot be read: {error.strerror}. Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"The settings file {path} is not TOML: {error}. Correct that line.") from error


def check_tables(path: str, data: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse a table that is not known.

    Raises:
        SettingsError: There is one.
    """
    for name in data:
        if name not in known:
            raise SettingsError(f"{path}: {unknown_name('table', name, known)}")


def records(path: str, table: str, given: Any, kind: type) -> tuple[Any, ...]:
    """Make settings records of a list of tables.

    Args:
        path: The file, for messages.
        table: Name of the tables.
        given: What the file has under that name.
        kind: Class of a record.

    Raises:
        SettingsError: It is no list of tables, or one of them is not such a record.
    """
    if not isinstance(given, list):
        raise SettingsError(f"{path}: {table} is {given!r}, but there may be several. Write [[{table}]].")
    return tuple(record(path, table, entry, kind) for entry in given)


def record(path: str, table: str, given: Any, kind: type) -> Any:
    """Make a settings record of one table; see `records`."""
    if not isinstance(given, dict):
        raise SettingsError(f"{path}: {table} is {given!r}, but it is a table. Write [{table}] and its keys below.")
    known = {entry.name: entry for entry in fields(kind)}
    found = {}
    for name, value in given.items():
        if name not in known:
            raise SettingsError(f"{path}: {unknown_name(f'key of [{table}]', name, known)}")
        found[name] = checked(path, f"{table}.{name}", value, known[name].metadata)
    for name, entry in known.items():
        if name not in given and entry.default is MISSING and entry.default_factory is MISSING:
            raise SettingsError(f"{path}: a [[{table}]] table has no key {name!r}. Add it.")
    return kind(**found)


def checked(path: str, name: str, value: Any, metadata: Mapping[str, Check]) -> Any:
    """Return a value, whole numbers as floats where these are meant.

    Raises:
        SettingsError: It is not what is wanted.
    """
    check = metadata["check"]
    if not check.is_right(value):
        raise SettingsError(f"{path}: {name} = {value!r} is not {check.wanted}. Correct it.")
    return _as_floats(value) if check.holds_floats else value


def _as_floats(value: Any) -> Any:
    """Turn whole numbers, also those in lists and tables, into floats."""
    if isinstance(value, dict):
        return {name: _as_floats(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_as_floats(entry) for entry in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
