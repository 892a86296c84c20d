"""DESC's Optimizables as things.

An Optimizable holds named arrays and can be copied; what is missing is that it be made anew with others. Arrays without
elements (profiles that are not used) are left out. A collection, such as a set of coils, has the arrays of its members,
called "0.current", "1.current" and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.things import Things

BASES = {
    "R_lmn": ("R_basis",),
    "Z_lmn": ("Z_basis",),
    "L_lmn": ("L_basis",),
    "Rb_lmn": ("surface", "R_basis"),
    "Zb_lmn": ("surface", "Z_basis"),
    "Ra_n": ("axis", "R_basis"),
    "Za_n": ("axis", "Z_basis"),
    "R_n": ("R_basis",),
    "Z_n": ("Z_basis",),
    "X_n": ("X_basis",),
    "Y_n": ("Y_basis",),
    "r_n": ("r_basis",),
    "Phi_mn": ("Phi_basis",),
}
"""Parameter to the attributes that lead to the basis of its modes."""


class DescThing:
    """An Optimizable of DESC as a thing.

    Args:
        optimizable: The object; it stays what it is until `params_dict` is set.

    Attributes:
        optimizable: The object.

    Raises:
        SettingsError: It is no Optimizable.
    """

    def __init__(self, optimizable: Any) -> None:
        from desc.optimizable import Optimizable  # pyright: ignore[reportMissingImports]

        if not isinstance(optimizable, Optimizable):
            raise SettingsError(
                f"A thing is a {type(optimizable).__name__}, which is no Optimizable of DESC. Give equilibria, "
                "surfaces, coils and the like; things of this library go to fieldfit.optimize.Optimizer."
            )
        self.optimizable = optimizable
        # DESC makes its dictionary anew, with a copy of every array, each time it is asked.
        self._arrays = flat_names(optimizable.params_dict)

    @property
    def name(self) -> str:
        """Name of its class."""
        return type(self.optimizable).__name__

    @property
    def params_dict(self) -> dict[str, np.ndarray]:
        """Name to array, those without elements left out."""
        return dict(self._arrays)

    @params_dict.setter
    def params_dict(self, values: Mapping[str, Any]) -> None:
        self.optimizable.params_dict = _nested(self.optimizable.params_dict, values, "")
        self._arrays = flat_names(self.optimizable.params_dict)

    def with_params(self, values: Mapping[str, Any]) -> DescThing:
        """Return a copy with other arrays, everything else as it is."""
        made = DescThing(self.optimizable.copy())
        made.params_dict = values
        return made

    @property
    def mode_numbers(self) -> dict[str, np.ndarray]:
        """Name to the mode numbers (l, m, n) of its elements; parameters that are no modes are left out."""
        return {key: modes for key in self._arrays for modes in _modes(self.optimizable, key)}


def collected(given: Any) -> tuple[Things, tuple[Any, ...]]:
    """Return one Optimizable or several, nested or repeated, as things and as they are.

    Raises:
        SettingsError: There is none, or something is no Optimizable.
    """
    unique: list[Any] = []
    for entry in _flattened(given):
        if not any(entry is other for other in unique):
            unique.append(entry)
    return Things.of([DescThing(entry) for entry in unique]), tuple(unique)


def flat_names(params: Any) -> dict[str, Any]:
    """Return a dictionary of arrays, or a nested list of such, as one dictionary of all that have elements.

    Args:
        params: As DESC's `params_dict`, or numbers in the same structure.
    """
    if isinstance(params, Mapping):
        return {key: np.asarray(value, dtype=float) for key, value in params.items() if np.size(value)}
    return {f"{place}.{key}": value for place, part in enumerate(params) for key, value in flat_names(part).items()}


def _nested(like: Any, values: Mapping[str, Any], prefix: str) -> Any:
    """Return arrays by name in the structure of DESC's `params_dict`."""
    import jax.numpy as jnp

    if isinstance(like, Mapping):
        return {key: jnp.asarray(values.get(f"{prefix}{key}", value)) for key, value in like.items()}
    return [_nested(part, values, f"{prefix}{place}.") for place, part in enumerate(like)]


def _flattened(given: Any) -> list[Any]:
    from desc.optimizable import Optimizable  # pyright: ignore[reportMissingImports]

    # A collection of coils is a sequence and a thing at once.
    if isinstance(given, Optimizable) or not isinstance(given, Sequence):
        return [given]
    return [entry for part in given for entry in _flattened(part)]


def _modes(optimizable: Any, key: str) -> list[np.ndarray]:
    """Return the modes of a parameter in a list, empty if it has none."""
    *places, key = key.split(".")
    for place in places:
        optimizable = optimizable[int(place)]
    found = optimizable
    for attribute in BASES.get(key, ()):
        found = getattr(found, attribute, None)
    return [] if found is optimizable or found is None else [np.asarray(found.modes)]
