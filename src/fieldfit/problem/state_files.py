"""Trees of numbers, arrays and records as text and plain arrays, and back: for files that nobody has to trust.

What an optimizer knows is a tree: dictionaries, tuples and lists of numbers, texts and arrays, and frozen dataclasses
and named tuples of these. `encode` turns it into a structure that JSON can hold, in which arrays and records are
numbered, and the list of those arrays; `decode` is its inverse. Every bit of a number and the order of an array's
elements in memory stay as they are, since sums depend on both. What occurs several times is stored once and comes back
as one object.

Nothing is executed on loading, as pickle would: a file can only name classes of the table `STATES`, and those that a
program has registered.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError

STATES = (
    "fieldfit.objectives.objective:Evaluation",
    "fieldfit.objectives.surrogate:SurrogateState",
    "fieldfit.optimizers.acceleration:Curvature",
    "fieldfit.optimizers.augmented_problem:Shifts",
    "fieldfit.optimizers.augmented_turns:TurnState",
    "fieldfit.optimizers.first_order:FirstOrderState",
    "fieldfit.optimizers.indefinite_steps:Spectrum",
    "fieldfit.optimizers.kkt_newton:KktPoint",
    "fieldfit.optimizers.scalar_model:ScalarModel",
    "fieldfit.optimizers.scalar_trust_region:ScalarState",
    "fieldfit.optimizers.turn:Turn",
    "fieldfit.projections.inner_problem:SecondDerivatives",
    "fieldfit.projections.inner_solve:InnerSolution",
    "fieldfit.projections.linearization:Curvature",
    "fieldfit.projections.linearization:Linearization",
    "fieldfit.projections.proximal:ProximalState",
    "fieldfit.forcefield.references.ensemble_model:EnsembleState",
    "fieldfit.forcefield.references.model:MoleculeState",
)
"""Classes that files may name, "module:class"; as texts, so that none is imported until a file asks for it."""

_REGISTERED: dict[str, type] = {}


def register_state(cls: type) -> type:
    """Allow a class in checkpoints: of the state of an objective or of an optimizer of yours.

    Args:
        cls: A dataclass, or a named tuple, of numbers, texts, arrays, and containers of these.

    Returns:
        The class, so that this can stand before it as a decorator.

    Raises:
        SettingsError: It is neither.

    Example:
        >>> from dataclasses import dataclass
        >>> from fieldfit.problem import register_state
        >>> @register_state
        ... @dataclass(frozen=True)
        ... class Memory:
        ...     n_calls: int
    """
    if not (is_dataclass(cls) or _is_named_tuple(cls)):
        raise SettingsError(f"{cls.__name__} is neither a dataclass nor a named tuple. Make it one of them.")
    _REGISTERED[_name(cls)] = cls
    return cls


def encode(tree: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Turn a tree into a structure for JSON and a list of arrays.

    Args:
        tree: Of what the module docstring names.

    Raises:
        SettingsError: Something in it is of another type.
    """
    encoder = _Encoder()
    top = encoder.node(tree)
    return {"top": top, "records": encoder.records}, encoder.arrays


def decode(encoded: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> Any:
    """Return the tree that was encoded.

    Args:
        encoded: Structure from `encode`.
        arrays: Those from `encode`.

    Raises:
        SettingsError: It names a class that is not allowed.
    """
    decoder = _Decoder(arrays)
    for name, members in encoded["records"]:
        # A record comes after those it holds.
        values = {member: decoder.tree(node) for member, node in members.items()}
        decoder.records.append(_class(name)(**values))
    return decoder.tree(encoded["top"])


class _Encoder:
    """A tree on its way into a file."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.records: list[tuple[str, dict[str, Any]]] = []
        # The objects are kept besides their numbers: an identity is only unique as long as its object lives.
        self._known: dict[int, tuple[Any, dict[str, int]]] = {}

    def node(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | str) or type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, np.ndarray | np.generic):
            return self._numbered(value, "array" if isinstance(value, np.ndarray) else "number")
        if _is_named_tuple(type(value)) or is_dataclass(value):
            return self._numbered(value, "record")
        if isinstance(value, Mapping):
            return {"mapping": [[self.node(key), self.node(entry)] for key, entry in value.items()]}
        if isinstance(value, tuple | list):
            return {"tuple" if isinstance(value, tuple) else "list": [self.node(entry) for entry in value]}
        raise SettingsError(
            f"A checkpoint cannot hold a {type(value).__name__}. States have to consist of numbers, texts, NumPy "
            "arrays, dictionaries, tuples, lists, and registered records (`fieldfit.problem.register_state`)."
        )

    def _numbered(self, value: Any, kind: str) -> dict[str, int]:
        if id(value) not in self._known:
            place = self._record(value) if kind == "record" else self._array(value)
            self._known[id(value)] = value, {kind: place}
        return self._known[id(value)][1]

    def _array(self, value: np.ndarray | np.generic) -> int:
        if value.dtype.hasobject:
            raise SettingsError("A checkpoint cannot hold an array of objects. Use arrays of numbers or texts.")
        self.arrays.append(_packed(np.asarray(value)))
        return len(self.arrays) - 1

    def _record(self, value: Any) -> int:
        name = _name(type(value))
        if name not in _REGISTERED and name not in STATES:
            raise SettingsError(
                f"A checkpoint cannot hold a {type(value).__name__}, which is not registered. Register the class by "
                "`fieldfit.problem.register_state`."
            )
        members = vars(type(value))["_fields"] if isinstance(value, tuple) else _field_names(value)
        self.records.append((name, {member: self.node(getattr(value, member)) for member in members}))
        return len(self.records) - 1


class _Decoder:
    """A file on its way into a tree."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays, self.records = arrays, []

    def tree(self, node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        ((kind, content),) = node.items()
        match kind:
            case "float":
                return float(content)
            case "array":
                return self.arrays[content]
            case "number":
                return self.arrays[content][()]
            case "record":
                return self.records[content]
            case "mapping":
                return {self.tree(key): self.tree(entry) for key, entry in content}
            case "tuple":
                return tuple(self.tree(entry) for entry in content)
            case "list":
                return [self.tree(entry) for entry in content]
        raise SettingsError(f"A checkpoint holds something of the kind {kind!r}, which this version does not know.")


def _packed(array: np.ndarray) -> np.ndarray:
    """Return an array without gaps in memory, rows or columns first as it was: sums are taken in that order."""
    is_by_columns = array.ndim > 1 and abs(array.strides[0]) < abs(array.strides[-1])
    return np.asfortranarray(array) if is_by_columns else np.ascontiguousarray(array).reshape(array.shape)


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _class(name: str) -> Any:
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in STATES:
        raise SettingsError(
            f"A checkpoint holds a {name}, which is not registered here. Register the class by "
            "`fieldfit.problem.register_state` before resuming."
        )
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _field_names(value: Any) -> list[str]:
    return [entry.name for entry in fields(value) if entry.init]


def _is_named_tuple(cls: type) -> bool:
    return issubclass(cls, tuple) and "_fields" in vars(cls)
