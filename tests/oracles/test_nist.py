"""The NIST StRD data sets for nonlinear regression: certified parameters and standard deviations.

Reference: National Institute of Standards and Technology, Statistical Reference Datasets, nonlinear regression,
https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml.
"""

import re
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, Goal, LeastSquaresOptimizer

MODELS = {
    "BoxBOD": lambda b, x: b[0] * (1.0 - jnp.exp(-b[1] * x)),
    "Chwirut2": lambda b, x: jnp.exp(-b[0] * x) / (b[1] + b[2] * x),
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "Eckerle4": lambda b, x: b[0] / b[1] * jnp.exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "Gauss1": lambda b, x: (
        b[0] * jnp.exp(-b[1] * x)
        + b[2] * jnp.exp(-(((x - b[3]) / b[4]) ** 2))
        + b[5] * jnp.exp(-(((x - b[6]) / b[7]) ** 2))
    ),
    "Hahn1": lambda b, x: (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1.0 + b[4] * x + b[5] * x**2 + b[6] * x**3),
    "Kirby2": lambda b, x: (b[0] + b[1] * x + b[2] * x**2) / (1.0 + b[3] * x + b[4] * x**2),
    "Lanczos3": lambda b, x: b[0] * jnp.exp(-b[1] * x) + b[2] * jnp.exp(-b[3] * x) + b[4] * jnp.exp(-b[5] * x),
    "MGH17": lambda b, x: b[0] + b[1] * jnp.exp(-x * b[3]) + b[2] * jnp.exp(-x * b[4]),
    "Misra1a": lambda b, x: b[0] * (1.0 - jnp.exp(-b[1] * x)),
    "Misra1b": lambda b, x: b[0] * (1.0 - (1.0 + b[1] * x / 2.0) ** -2),
    "Nelson": lambda b, x: b[0] - b[1] * x[0] * jnp.exp(-b[2] * x[1]),
    "Rat42": lambda b, x: b[0] / (1.0 + jnp.exp(b[1] - b[2] * x)),
}


@dataclass(frozen=True, eq=False)
class Certificate:
    """One data set: starts, certified values and data."""

    starts: np.ndarray
    values: np.ndarray
    deviations: np.ndarray
    sum_of_squares: float
    y: np.ndarray
    x: np.ndarray


def read_certificate(path):
    lines = path.read_text().splitlines()
    rows = [line.split("=")[1].split() for line in lines if re.match(r"\s*b\d+ =", line)]
    numbers = np.array(rows, dtype=float)
    squares = next(float(line.split(":")[1]) for line in lines if line.startswith("Residual Sum of Squares"))
    first = max(index for index, line in enumerate(lines) if line.startswith("Data:")) + 1
    data = np.array([line.split() for line in lines[first:] if line.strip()], dtype=float).T
    return Certificate(numbers[:, :2].T, numbers[:, 2], numbers[:, 3], squares, data[0], data[1:].squeeze())


def objective_of(name, certificate, start):
    y = np.log(certificate.y) if name == "Nelson" else certificate.y
    return FunctionObjective(
        lambda p: MODELS[name](p["b"], certificate.x), {"b": certificate.starts[start]}, goal=Goal(target=y)
    )


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", MODELS)
def test_certified_values_are_reproduced(shared_data, name, start):
    certificate = read_certificate(shared_data / "nist" / f"{name}.dat")
    # No test but that of rounding. The cost is flat to 1e-16 there, and so the parameters of the worst conditioned sets
    # are known to seven digits or so, the others to nine and more.
    optimizer = LeastSquaresOptimizer(ftol=None, xtol=None, gtol=None)
    result = optimizer.optimize(objective_of(name, certificate, start))
    assert result.success
    assert_allclose(result.x["b"], certificate.values, rtol=5e-7)
    assert_allclose(list(result.standard_errors.values()), certificate.deviations, rtol=5e-7)
    # Eleven digits are certified.
    assert result.final_score == pytest.approx(certificate.sum_of_squares, rel=1e-10)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", MODELS)
def test_default_tolerances_give_six_digits(shared_data, name, start):
    certificate = read_certificate(shared_data / "nist" / f"{name}.dat")
    result = LeastSquaresOptimizer().optimize(objective_of(name, certificate, start))
    assert result.success
    assert_allclose(result.x["b"], certificate.values, rtol=1e-6)
    assert_allclose(list(result.standard_errors.values()), certificate.deviations, rtol=1e-5)
