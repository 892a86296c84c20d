"""Nested structures of numbers and arrays as named leaves, and back.

A tree is a number, an array, or a container of trees: a dictionary, a list, a tuple, a named tuple, a dataclass, or
anything JAX knows as a pytree (modules of equinox among them). A leaf is named by its path: {"soma": {"g": [1.0, 2.0]}}
has the leaves "soma.g.0" and "soma.g.1"; a lone leaf is called "x". Leaves come in the user's own order: JAX sorts the
keys of dictionaries, so containers of Python are taken apart here, and JAX is asked about one level at a time only of
what Python does not know.

Everything in a plain container is a number that may vary. Dataclasses and modules carry other things too (names,
flags, functions, integer arrays); these are part of the structure and stay as they are.
"""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.errors import ParameterError

LONE = "x"
"""Name of a leaf that is the whole tree."""


@dataclass(frozen=True, eq=False)
class TreeStructure:
    """The shape of a tree: everything but its leaves.

    Args:
        names: Path of each leaf, in order.
        root: What puts the leaves together.
    """

    names: tuple[str, ...]
    root: AbstractNode

    def rebuild(self, leaves: Iterable[Any]) -> Any:
        """Return a tree of this structure with other leaves, traced ones too, given in the order of `names`."""
        return self.root.build(iter(leaves))


def flatten_with_names(
    tree: Any, *, is_leaf: Callable[[Any], bool] = lambda value: False
) -> tuple[list[Any], TreeStructure]:
    """Take a tree apart.

    Args:
        tree: The tree.
        is_leaf: Which containers count as leaves nevertheless, such as quantities with units.

    Returns:
        Its leaves, and the structure that puts them together again.

    Raises:
        ParameterError: A plain container holds something that is neither a number nor an array.

    Example:
        >>> from fieldfit.trees import flatten_with_names
        >>> leaves, structure = flatten_with_names({"b": 1.0, "a": [2.0, 3.0]})
        >>> structure.names
        ('b', 'a.0', 'a.1')
        >>> structure.rebuild([4.0, 5.0, 6.0])
        {'b': 4.0, 'a': [5.0, 6.0]}
    """
    found: list[tuple[str, Any]] = []
    root = _Reader(is_leaf, found).read(tree, "", is_lenient=False)
    return [leaf for _, leaf in found], TreeStructure(tuple(name for name, _ in found), root)


def is_number(value: Any) -> bool:
    """Return whether something is a real number or an array of such."""
    if isinstance(value, bool | np.bool_):
        return False
    if isinstance(value, int | float):
        return True
    return _is_array(value) and np.dtype(value.dtype).kind in "iuf"


class AbstractNode(ABC):
    """A part of a structure."""

    @abstractmethod
    def build(self, leaves: Iterator[Any]) -> Any:
        """Return this part with the next leaves in it."""


@dataclass(frozen=True, eq=False)
class Leaf(AbstractNode):
    """A number or an array."""

    def build(self, leaves: Iterator[Any]) -> Any:
        return next(leaves)


@dataclass(frozen=True, eq=False)
class Kept(AbstractNode):
    """Something that stays as it is."""

    value: Any

    def build(self, leaves: Iterator[Any]) -> Any:
        return self.value


@dataclass(frozen=True, eq=False)
class DictionaryNode(AbstractNode):
    """A dictionary, whose keys keep their order; `empty` has its type and nothing in it."""

    empty: dict[Any, Any]
    children: tuple[tuple[Any, AbstractNode], ...]

    def build(self, leaves: Iterator[Any]) -> Any:
        built = copy.copy(self.empty)
        for key, child in self.children:
            built[key] = child.build(leaves)
        return built


@dataclass(frozen=True, eq=False)
class SequenceNode(AbstractNode):
    """A list, a tuple or a named tuple."""

    make: Callable[[Iterable[Any]], Any]
    children: tuple[AbstractNode, ...]

    def build(self, leaves: Iterator[Any]) -> Any:
        return self.make([child.build(leaves) for child in self.children])


@dataclass(frozen=True, eq=False)
class DataclassNode(AbstractNode):
    """A dataclass that JAX does not know: a copy with other values in its fields.

    One with fields that it computes itself is made anew, so that these follow; otherwise nothing of it runs, for checks
    of values fail on traced ones.
    """

    example: Any
    children: tuple[tuple[str, AbstractNode], ...]

    def build(self, leaves: Iterator[Any]) -> Any:
        values = {name: child.build(leaves) for name, child in self.children}
        if not all(entry.init for entry in dataclasses.fields(self.example)):
            return dataclasses.replace(self.example, **values)
        built = copy.copy(self.example)
        for name, value in values.items():
            object.__setattr__(built, name, value)
        return built


@dataclass(frozen=True, eq=False)
class RegisteredNode(AbstractNode):
    """A class that JAX knows; `definition` is its description of this one level."""

    definition: Any
    children: tuple[AbstractNode, ...]

    def build(self, leaves: Iterator[Any]) -> Any:
        return self.definition.unflatten([child.build(leaves) for child in self.children])

    def __reduce__(self) -> Any:
        # JAX's descriptions of classes cannot be pickled; an example of the class can.
        return _registered, (self.definition.unflatten([None] * len(self.children)), self.children)


def _registered(example: Any, children: tuple[AbstractNode, ...]) -> RegisteredNode:
    return RegisteredNode(_one_level(example)[1], children)


@dataclass(frozen=True, eq=False)
class _Reader:
    """Takes trees apart and lists their leaves."""

    is_leaf: Callable[[Any], bool]
    found: list[tuple[str, Any]]

    def read(self, tree: Any, name: str, *, is_lenient: bool) -> AbstractNode:
        """Return the structure of a part.

        Args:
            tree: The part.
            name: Its path.
            is_lenient: Whether it belongs to a dataclass or module, so that what is no number stays as it is.
        """
        if self.is_leaf(tree):
            return self._leaf(tree, name)
        if isinstance(tree, dict):
            return self._dictionary(tree, name, is_lenient=is_lenient)
        if isinstance(tree, list | tuple):
            return self._sequence(tree, name, is_lenient=is_lenient)
        if is_number(tree) and not (is_lenient and _is_integer_array(tree)):
            return self._leaf(tree, name)
        if _is_array(tree):
            return self._other(tree, name, is_lenient=is_lenient)
        if dataclasses.is_dataclass(tree) and not isinstance(tree, type) and not _is_registered(tree):
            return self._dataclass(tree, name)
        if tree is not None and not isinstance(tree, str | bytes | complex) and _is_registered(tree):
            return self._module(tree, name)
        return self._other(tree, name, is_lenient=is_lenient)

    def _leaf(self, value: Any, name: str) -> Leaf:
        self.found.append((name or LONE, value))
        return Leaf()

    def _other(self, value: Any, name: str, *, is_lenient: bool) -> Kept:
        if is_lenient:
            return Kept(value)
        raise ParameterError(
            f"{f'Entry {name!r}' if name else 'The structure of parameters'} is {_shown(value)}, which is not a real "
            "number or an array of real numbers. Give numbers, or keep other things out of the parameters."
        )

    def _dictionary(self, tree: dict[Any, Any], name: str, *, is_lenient: bool) -> DictionaryNode:
        empty = copy.copy(tree)
        empty.clear()
        items = [(key, self.read(part, _join(name, key), is_lenient=is_lenient)) for key, part in tree.items()]
        return DictionaryNode(empty, tuple(items))

    def _sequence(self, tree: Sequence[Any], name: str, *, is_lenient: bool) -> SequenceNode:
        is_named = isinstance(tree, tuple) and type(tree) is not tuple
        make = type(tree)._make if is_named else type(tree)  # pyright: ignore[reportAttributeAccessIssue]
        keys = type(tree)._fields if is_named else range(len(tree))  # pyright: ignore[reportAttributeAccessIssue]
        parts = [self.read(part, _join(name, key), is_lenient=is_lenient) for key, part in zip(keys, tree, strict=True)]
        return SequenceNode(make, tuple(parts))

    def _dataclass(self, tree: Any, name: str) -> DataclassNode:
        children = []
        for entry in dataclasses.fields(tree):
            if entry.init and not entry.metadata.get("static", False):
                part = getattr(tree, entry.name)
                children.append((entry.name, self._member(tree, entry.name, part, name)))
        return DataclassNode(copy.copy(tree), tuple(children))

    def _module(self, tree: Any, name: str) -> RegisteredNode:
        parts, definition = _one_level(tree)
        return RegisteredNode(definition, tuple(self._member(tree, key, part, name) for key, part in parts))

    def _member(self, owner: Any, key: str, part: Any, name: str) -> AbstractNode:
        is_count = isinstance(part, int) and _annotation(owner, key) in (int, "int")
        return Kept(part) if is_count else self.read(part, _join(name, key), is_lenient=True)


def _join(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _is_array(value: Any) -> bool:
    """Return whether something is an array of NumPy or JAX, without importing JAX for it."""
    return isinstance(value, np.ndarray | np.generic) or (_is_of_jax(value) and _is_jax_array(value))


def _is_of_jax(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] in ("jax", "jaxlib")


def _is_jax_array(value: Any) -> bool:
    import jax

    # Keys of random numbers are arrays, too, but hold no numbers.
    return isinstance(value, jax.Array) and not jax.numpy.issubdtype(value.dtype, jax.dtypes.extended)


def _is_integer_array(value: Any) -> bool:
    return _is_array(value) and np.dtype(value.dtype).kind in "iu"


def _is_registered(tree: Any) -> bool:
    import jax

    return not jax.tree_util.all_leaves([tree])


def _one_level(tree: Any) -> tuple[list[tuple[str, Any]], Any]:
    """Return the parts of a class that JAX knows with their keys, and JAX's description of this level."""
    import jax

    parts, definition = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda part: part is not tree)
    return [(jax.tree_util.keystr(path, simple=True), part) for path, part in parts], definition


def _annotation(owner: Any, key: str) -> Any:
    if not dataclasses.is_dataclass(owner):
        return None
    return next((entry.type for entry in dataclasses.fields(owner) if entry.name == key), None)
