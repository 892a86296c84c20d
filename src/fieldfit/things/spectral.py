"""Exponential spectral scaling: the size of a coefficient by the numbers of its mode.

Coefficients of smooth functions fall exponentially with their mode numbers, so a change of typical size of mode
(l, m, n) is

    scale = max(exp(-alpha |(l, m, n)|_q) / exp(-alpha), smallest)

with |.|_q the 1-norm, the 2-norm or the largest; modes of norm 1 have the scale 1. What is no mode
has the scale 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.errors import ParameterError, SettingsError
from fieldfit.things.thing import SpectralThing, arrays, by_key

ORDERS = (1, 2, np.inf)


@dataclass(frozen=True)
class SpectralScale:
    """The three numbers of the rule.

    Args:
        alpha: How fast scales fall, not negative.
        order: q: 1, 2 or infinity.
        smallest: Least scale, positive.

    Raises:
        SettingsError: One of them cannot be.
    """

    alpha: float | int = 1.2
    order: float | int = np.inf
    smallest: float | int = 1e-7

    def __post_init__(self) -> None:
        if not (self.alpha >= 0.0 and np.isfinite(self.alpha)):
            raise SettingsError(
                f"ess_alpha = {self.alpha} makes scales grow. Give a number of at least 0, such as 1.2."
            )
        if self.order not in ORDERS:
            raise SettingsError(f"ess_order = {self.order} is no norm that is known. Give 1, 2 or inf.")
        if not (self.smallest > 0.0 and np.isfinite(self.smallest)):
            raise SettingsError(f"ess_min_value = {self.smallest} is not positive. Give a number such as 1e-7.")

    def of_modes(self, modes: Any) -> np.ndarray:
        """Return the scales of modes, shape (elements,).

        Args:
            modes: (l, m, n) of each, shape (elements, 3).
        """
        norms = np.linalg.norm(np.asarray(modes, dtype=float), ord=self.order, axis=-1)
        return np.maximum(np.exp(-self.alpha * (norms - 1.0)), self.smallest)

    def of_thing(self, thing: Any) -> dict[str, np.ndarray]:
        """Return the scale of every parameter of a thing by name, in the shape that it has.

        Raises:
            ParameterError: Mode numbers are given for no parameter, or not one for each element.
        """
        own = arrays(thing)
        scales = {key: np.ones(value.shape) for key, value in own.items()}
        modes = by_key(thing, thing.mode_numbers, "mode numbers") if isinstance(thing, SpectralThing) else {}
        for key, numbers in modes.items():
            found = self.of_modes(numbers)
            if found.shape != (own[key].size,):
                raise ParameterError(
                    f"Parameter {key!r} has {own[key].size} elements, but mode numbers of the shape "
                    f"{np.shape(numbers)}. Give (l, m, n) for each element."
                )
            scales[key] = found.reshape(own[key].shape)
        return scales
