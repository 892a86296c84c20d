"""Starting constants keep ties and bounds."""

import numpy as np
import pytest

from fieldfit.forcefield import build_force_field, estimate_force_constants, perceive, read


@pytest.fixture(scope="module")
def ch3f(examples):
    return perceive(read(examples / "ch3f" / "ch3f.json"))


@pytest.mark.parametrize("method", ["seminario", "modified-seminario", "hessian-fit"])
def test_tied_constants_are_estimated_together(ch3f, method):
    field = build_force_field([ch3f])
    tied = field.parameters.tie("angle.F-C-H.k", "angle.H-C-H.k")
    values = estimate_force_constants([ch3f], field, method, parameters=tied).parameters.values
    assert values["angle.F-C-H.k"] == values["angle.H-C-H.k"]
    if method != "hessian-fit":
        free = estimate_force_constants([ch3f], field, method).parameters.values
        # Three angles of each kind: the mean over all is the mean of the means.
        assert values["angle.H-C-H.k"] == pytest.approx(0.5 * (free["angle.F-C-H.k"] + free["angle.H-C-H.k"]))


def test_a_constant_between_equal_bounds_is_held(ch3f):
    field = build_force_field([ch3f])
    held = field.parameters.bound("bond.C-F.k", 300.0, 300.0)
    values = estimate_force_constants([ch3f], field, parameters=held).parameters.values
    assert values["bond.C-F.k"] == 300.0
    assert np.isclose(values["bond.C-H.k"], 381.0, atol=5.0)
