"""Tables from a name to an object that is imported when it is first asked for.

An extensible package lists what it offers as `name -> "module:attribute"`. Nothing is imported until it is
asked for, so a missing optional dependency hurts only its user. Other distributions add to a table
through the entry-point group of the same name.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from fieldfit.errors import SettingsError


class Registry(Mapping[str, Any]):
    """A read-only table of lazily imported objects.

    Args:
        kind: What an entry is, in the singular, for messages: "optimizer".
        table: Name to "module:attribute".
        group: Entry-point group through which other distributions add entries.
    """

    def __init__(self, kind: str, table: Mapping[str, str], *, group: str | None = None) -> None:
        self._kind = kind
        self._targets = dict(table)
        if group is not None:
            self._targets |= {entry.name: entry.value for entry in entry_points(group=group)}
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._targets:
            raise SettingsError(unknown_name(self._kind, name, self._targets))
        if name not in self._loaded:
            module, _, attribute = self._targets[name].partition(":")
            self._loaded[name] = getattr(importlib.import_module(module), attribute)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._targets

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def __repr__(self) -> str:
        return f"Registry({self._kind}: {', '.join(self._targets)})"


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Write the message for a name that is not known, with the nearest ones that are."""
    known = list(known)
    near = difflib.get_close_matches(name.lower(), [entry.lower() for entry in known], n=1, cutoff=0.6)
    originals = {entry.lower(): entry for entry in known}
    hint = f" Did you mean {originals[near[0]]!r}?" if near else ""
    return f"No {kind} is called {name!r}.{hint} Known: {', '.join(sorted(known))}."
