"""Nested containers of numbers and arrays (pytrees) as named leaves, and back.

A tree is anything JAX knows as one: dictionaries, lists, tuples, registered dataclasses, modules of equinox. A leaf
is named by its path: {"soma": {"g": [1.0, 2.0]}} has the leaves "soma.g.0" and "soma.g.1".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TreeStructure:
    """The shape of a tree: everything but its leaves.

    Args:
        names: Path of each leaf, in order.
        definition: JAX's description of the containers.
    """

    names: tuple[str, ...]
    definition: Any

    def rebuild(self, leaves: Sequence[Any]) -> Any:
        """Return a tree of this structure with other leaves, given in the order of `names`."""
        import jax

        return jax.tree.unflatten(self.definition, leaves)


def flatten_with_names(tree: Any) -> tuple[list[Any], TreeStructure]:
    """Take a tree apart.

    Args:
        tree: The tree.

    Returns:
        Its leaves, and the structure that puts them together again.
    """
    import jax

    paths, definition = jax.tree_util.tree_flatten_with_path(tree)
    names = tuple(jax.tree_util.keystr(path, simple=True, separator=".") or "x" for path, _ in paths)
    return [leaf for _, leaf in paths], TreeStructure(names, definition)
