"""Output folders: how they appear and change without being half written, and what becomes of earlier ones."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from fieldfit.errors import SettingsError

Content: TypeAlias = str | Callable[[Path], None]
"""The text of a file, or what writes the file."""

LISTED = 4
"""Depth from which on the numbers of `report.json` stand on one line."""


def check_output_folder(folder: Path, origin: Path, files: Sequence[str]) -> None:
    """Refuse an output folder that holds what the run starts from: what is there is set aside under another name.

    Args:
        folder: The output folder.
        origin: The folder of the settings.
        files: Files that they name, relative to it.

    Raises:
        SettingsError: The folder holds the settings, a file that they name or the working directory.
    """
    inputs = [("settings", origin), ("working directory", Path.cwd())]
    inputs += [(name, origin / name) for name in files]
    for what, place in inputs:
        if place.resolve().is_relative_to(folder.resolve()):
            raise SettingsError(
                f"The output folder {folder} holds the {what}, and a folder that is there is set aside under another "
                "name. Choose a folder of its own."
            )


def readable_json(numbers: Mapping[str, Any]) -> str:
    """Return JSON with one entry of each list or table per line: short, and still readable."""
    return _indented(numbers, 0) + "\n"


def _indented(value: Any, depth: int) -> str:
    if depth >= LISTED or not isinstance(value, dict | list) or _is_flat(value):
        return json.dumps(value, allow_nan=False)
    indent = " " * (depth + 1)
    if isinstance(value, dict):
        rows = [f"{indent}{json.dumps(key)}: {_indented(entry, depth + 1)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}"
    rows = [f"{indent}{_indented(entry, depth + 1)}" for entry in value]
    return "[\n" + ",\n".join(rows) + "\n" + " " * depth + "]"


def _is_flat(value: dict | list) -> bool:
    """Whether nothing inside holds anything further."""
    entries = value.values() if isinstance(value, dict) else value
    return not any(isinstance(entry, dict | list) for entry in entries)


def write_folder(folder: Path, files: Mapping[str, Content]) -> Path | None:
    """Write a folder of files in one move; what was there is kept under a numbered name.

    Args:
        folder: The folder.
        files: Name to text, or to a function that writes a file of a given path.

    Returns:
        The new name of the folder that was there, if one was.

    Raises:
        SettingsError: The folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise SettingsError(f"The output folder {folder} cannot be made: {error.strerror}. Choose another.") from error
    try:
        for name, content in files.items():
            _write(scratch / name, content)
        scratch.chmod(0o755)
        kept = set_aside(folder)
        scratch.rename(folder)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise SettingsError(
            f"The output folder {folder} cannot be written: {error.strerror}. Choose another."
        ) from error
    return kept


def _write(path: Path, content: Content) -> None:
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        content(path)


def replace_files(folder: Path, files: Mapping[str, str]) -> None:
    """Replace text files of a folder, each in one move.

    Raises:
        SettingsError: A file cannot be written.
    """
    try:
        for name, text in files.items():
            handle, scratch = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(scratch).chmod(0o644)
            Path(scratch).replace(folder / name)
    except OSError as error:
        raise SettingsError(f"The output folder {folder} cannot be written: {error.strerror}. Check it.") from error


def set_aside(path: Path) -> Path | None:
    """Give a file or folder the first free numbered name.

    Returns:
        That name, None if there is no such file or folder.
    """
    if not path.exists():
        return None
    number = 1
    while (kept := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    path.rename(kept)
    return kept
