"""Files of references: TOML, or YAML where PyYAML is installed.

    format = 1
    transition_state = "zero-weight"

    [[groups]]
    molecule = "CH3F"
    category = "bond_length"
    unit = "A"
    observations = [
        ["C1-F2", 1.3987, 0.01],
    ]

One line per observation: which one, its value and its tolerance. `unit` is for the reader and may be left out; one that
is not that of the kind is an error. Numbers are written so that they read back bit by bit.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fieldfit.errors import FileFormatError, InputError, SettingsError
from fieldfit.registry import unknown_name
from fieldfit.typing import FilePath

FORMAT = 1
"""Version of the files."""

TRANSITION_STATE = "transition_state"

KEYS = ("format", TRANSITION_STATE, "groups")

HEADER = "fieldfit references: [which observation, value, tolerance] in the unit of the kind"

Made = TypeVar("Made")


def write_groups(path: FilePath, head: Mapping[str, str], groups: Sequence[Mapping[str, Any]]) -> None:
    """Write groups of observations.

    Args:
        path: Where to; its ending says how.
        head: Entries for the whole file.
        groups: Entries of each group, the last one its observations.

    Raises:
        SettingsError: The ending is unknown, or PyYAML is not installed.
        FileFormatError: The file cannot be written.
    """
    render = _RENDERERS[_suffix(path)]
    text = render({"format": FORMAT, **head}, groups)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileFormatError(
            f"The references cannot be written to {str(path)!r}: {error.strerror}. Check the folder and its rights."
        ) from error


def read_table(path: FilePath, make: Callable[[Mapping[str, Any]], Made]) -> Made:
    """Read a file and make something of its contents.

    Args:
        path: The file; its ending says how it is written.
        make: Called with the contents.

    Raises:
        SettingsError: The ending is unknown, or PyYAML is not installed.
        FileFormatError: The file is missing, is not what its ending says, or its contents cannot be used.
    """
    parse = _PARSERS[_suffix(path)]
    try:
        return make(_checked(parse(Path(path).read_text(encoding="utf-8"))))
    except OSError as error:
        raise FileFormatError(f"The references {path} cannot be read: {error.strerror}. Check the path.") from error
    except InputError as error:
        raise FileFormatError(f"The references {path} cannot be used: {error}") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise FileFormatError(
            f"{path} is no file of references: {type(error).__name__} {error}. Give one that `ReferenceData.write` "
            "wrote, or one like it."
        ) from error


def _checked(table: Any) -> Mapping[str, Any]:
    if not isinstance(table, Mapping):
        raise SettingsError(f"it holds {type(table).__name__}, not the entries {', '.join(KEYS)}.")
    for key in table:
        if key not in KEYS:
            raise SettingsError(unknown_name("entry of a file of references", str(key), KEYS))
    if table.get("format") != FORMAT:
        raise SettingsError(
            f"it is of format {table.get('format')}, but this version of fieldfit reads format {FORMAT}."
        )
    return table


def _suffix(path: FilePath) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in _PARSERS:
        raise SettingsError(
            f"The ending of {str(path)!r} belongs to no format of references. Use {', '.join(_PARSERS)}."
        )
    return suffix


def _render_toml(head: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"# {HEADER}", *(f"{name} = {_scalar(value)}" for name, value in head.items())]
    for group in groups:
        lines += ["", "[[groups]]"]
        lines += [f"{name} = {_scalar(value)}" for name, value in group.items() if name != "observations"]
        lines += ["observations = ["]
        lines += [f"    [{', '.join(map(_scalar, entry))}]," for entry in group["observations"]]
        lines += ["]"]
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    # A JSON string is a TOML string, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)


def _render_yaml(head: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
    yaml = _pyyaml()
    content = {**head, "groups": [dict(group) for group in groups]}
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return f"# {HEADER}\n{body}"


def _parse_yaml(text: str) -> Any:
    yaml = _pyyaml()
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"it is not YAML: {error}. Check the line that is named.") from error


def _pyyaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise SettingsError(
            "Files that end in .yaml need PyYAML, which is not installed. Install it, `pip install fieldfit[yaml]`, or "
            "use .toml."
        ) from error
    return yaml


_RENDERERS: Mapping[str, Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], str]] = {
    ".toml": _render_toml,
    ".yaml": _render_yaml,
    ".yml": _render_yaml,
}

_PARSERS: Mapping[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".yaml": _parse_yaml, ".yml": _parse_yaml}
