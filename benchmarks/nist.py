"""Thirteen NIST StRD data sets for nonlinear regression: models, certified values, and scores in digits.

The certificates are read from files as NIST distributes them. A model takes its parameters b, shape (p, ...), the
predictor and the module whose `exp` it should use, so that NumPy (also with complex b) and JAX run the same formula.
Jacobians are complex steps: exact to rounding, because every model is analytic in b.

Reference: National Institute of Standards and Technology, Statistical Reference Datasets, nonlinear regression,
https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from problems import TestProblem, problem

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "nist"
"""Where the certificates lie, one file per data set."""

MOST_DIGITS = 11.0
"""As many are certified."""

IMAGINARY_STEP = 1e-30


def _gauss_1(b, x, xp):
    first, second = ((x - b[3]) / b[4]) ** 2, ((x - b[6]) / b[7]) ** 2
    return b[0] * xp.exp(-b[1] * x) + b[2] * xp.exp(-first) + b[5] * xp.exp(-second)


def _hahn_1(b, x, xp):
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1.0 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def _lanczos_3(b, x, xp):
    return b[0] * xp.exp(-b[1] * x) + b[2] * xp.exp(-b[3] * x) + b[4] * xp.exp(-b[5] * x)


MODELS = {
    "BoxBOD": lambda b, x, xp: b[0] * (1.0 - xp.exp(-b[1] * x)),
    "Chwirut2": lambda b, x, xp: xp.exp(-b[0] * x) / (b[1] + b[2] * x),
    "DanWood": lambda b, x, xp: b[0] * x ** b[1],
    "Eckerle4": lambda b, x, xp: b[0] / b[1] * xp.exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "Gauss1": _gauss_1,
    "Hahn1": _hahn_1,
    "Kirby2": lambda b, x, xp: (b[0] + b[1] * x + b[2] * x**2) / (1.0 + b[3] * x + b[4] * x**2),
    "Lanczos3": _lanczos_3,
    "MGH17": lambda b, x, xp: b[0] + b[1] * xp.exp(-x * b[3]) + b[2] * xp.exp(-x * b[4]),
    "Misra1a": lambda b, x, xp: b[0] * (1.0 - xp.exp(-b[1] * x)),
    "Misra1b": lambda b, x, xp: b[0] * (1.0 - (1.0 + b[1] * x / 2.0) ** -2),
    "Nelson": lambda b, x, xp: b[0] - b[1] * x[0] * xp.exp(-b[2] * x[1]),
    "Rat42": lambda b, x, xp: b[0] / (1.0 + xp.exp(b[1] - b[2] * x)),
}
"""Model name to a function of parameters, predictor and array module."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """One data set.

    Args:
        starts: The two starts, shape (2, p).
        values: Certified parameters, shape (p,).
        deviations: Their certified standard deviations, shape (p,).
        sum_of_squares: Certified residual sum of squares.
        y: Response, shape (m,).
        x: Predictor, shape (m,), or predictors, shape (2, m).
    """

    starts: np.ndarray
    values: np.ndarray
    deviations: np.ndarray
    sum_of_squares: float
    y: np.ndarray
    x: np.ndarray


def read_certificate(path: Path) -> Certificate:
    """Read a file of the NIST collection."""
    lines = path.read_text().splitlines()
    rows = [line.split("=")[1].split() for line in lines if re.match(r"\s*b\d+ =", line)]
    numbers = np.array(rows, dtype=float)
    squares = next(float(line.split(":")[1]) for line in lines if line.startswith("Residual Sum of Squares"))
    first = max(index for index, line in enumerate(lines) if line.startswith("Data:")) + 1
    data = np.array([line.split() for line in lines[first:] if line.strip()], dtype=float).T
    return Certificate(numbers[:, :2].T, numbers[:, 2], numbers[:, 3], squares, data[0], data[1:].squeeze())


def targets(name: str, certificate: Certificate) -> np.ndarray:
    """Return what the model is fitted to; Nelson's is the logarithm of the response."""
    return np.log(certificate.y) if name == "Nelson" else certificate.y


def residual_function(name: str, certificate: Certificate) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return the function of b that gives residuals and Jacobian."""
    model, x, y = MODELS[name], certificate.x, targets(name, certificate)

    def function(b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # One column per parameter, each with its own imaginary step, so that one call gives the whole Jacobian.
        stepped = (b[:, None] + IMAGINARY_STEP * 1j * np.eye(b.size))[:, :, None]
        J = np.asarray(model(stepped, x if x.ndim == 1 else x[:, None, :], np)).imag.T / IMAGINARY_STEP
        return model(b, x, np) - y, J

    return function


def load(folder: Path = FOLDER) -> dict[str, Certificate]:
    """Read all certificates that are in a folder; none if there is no such folder."""
    return {name: read_certificate(folder / f"{name}.dat") for name in MODELS if (folder / f"{name}.dat").is_file()}


CERTIFICATES = load()
PROBLEMS: tuple[TestProblem, ...] = tuple(
    problem(f"{name}/{start + 1}", residual_function(name, entry), entry.starts[start], entry.sum_of_squares)
    for name, entry in CERTIFICATES.items()
    for start in range(2)
)


def standard_deviations(J: np.ndarray, score: float) -> np.ndarray:
    """Return the standard deviations of the parameters of a fit, shape (p,).

    Args:
        J: Jacobian at the solution, shape (m, p).
        score: Sum of squared residuals there.
    """
    m, p = J.shape
    scale = np.linalg.norm(J, axis=0)
    # From the triangular factor: forming J^T J would lose half the digits.
    inverse = np.linalg.pinv(np.linalg.qr(J / np.where(scale > 0.0, scale, 1.0), mode="r"), rcond=1e-15)
    return np.sqrt(score / (m - p)) * np.linalg.norm(inverse, axis=1) / scale


def correct_digits(found: np.ndarray, certified: np.ndarray) -> float:
    """Return -log10 of the largest relative error, between 0 and 11."""
    found = np.asarray(found, dtype=float)
    if not np.all(np.isfinite(found)):
        return 0.0
    error = float(np.max(np.abs(found - certified) / np.abs(certified)))
    return MOST_DIGITS if error <= 10.0**-MOST_DIGITS else float(max(0.0, -np.log10(error)))
