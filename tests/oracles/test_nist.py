"""The NIST StRD data sets for nonlinear regression: certified parameters and standard deviations.

Reference: National Institute of Standards and Technology, Statistical Reference Datasets, nonlinear regression,
https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml.
"""

import jax.numpy as jnp
import pytest
from nist import MODELS, read_certificate, targets
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, Goal, LeastSquaresOptimizer


def objective_of(name, certificate, start):
    return FunctionObjective(
        lambda p: MODELS[name](p["b"], certificate.x, jnp),
        {"b": certificate.starts[start]},
        goal=Goal(target=targets(name, certificate)),
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
