"""Things: what the library asks of them, and what follows from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_array_equal

from fieldfit.errors import ParameterError, SettingsError
from fieldfit.things import Thing, Things, dim_x, dimensions, pack, unpack, x_idx
from some_things import Polynomial, Settable, plain

SHAPES = st.dictionaries(st.sampled_from("abcde"), arrays.array_shapes(min_dims=0, max_dims=3, max_side=3), min_size=1)


@given(SHAPES, st.integers(0, 2**32 - 1))
def test_unpack_undoes_pack(shapes, seed) -> None:
    rng = np.random.default_rng(seed)
    thing = plain(**{key: rng.normal(size=shape) for key, shape in shapes.items()})
    x = pack(thing)
    assert x.shape == (dim_x(thing),)
    for key, value in unpack(thing, x).items():
        assert_array_equal(value, thing.params_dict[key])
        assert_array_equal(x[x_idx(thing)[key]], np.ravel(value))


def test_dimensions_count_elements() -> None:
    assert dimensions(plain(a=1.0, b=[[1.0, 2.0]], c=[])) == {"a": 1, "b": 2, "c": 0}


def test_two_members_make_a_thing() -> None:
    assert isinstance(plain(x=1.0), Thing)
    assert isinstance(Polynomial([1.0]), Thing)
    assert not isinstance(object(), Thing)


def test_parameters_are_called_by_thing_and_key() -> None:
    things = Things.of([Polynomial([1.0, 2.0], name="upper"), plain(x=0.0)])
    assert things.parameters.names == ("upper.coefficients", "upper.scale", "thing1.x")


def test_things_of_one_name_are_numbered_apart() -> None:
    assert Things.of([Polynomial([1.0], name="arc"), Polynomial([1.0], name="arc")]).names == ("arc0", "arc1")


@pytest.mark.parametrize("given_things", [[], [object()], [None]])
def test_what_is_no_thing_is_refused(given_things) -> None:
    with pytest.raises(SettingsError):
        Things.of(given_things)


def test_a_thing_given_twice_is_refused() -> None:
    thing = plain(x=1.0)
    with pytest.raises(SettingsError, match="twice"):
        Things.of([thing, thing])


def test_bounds_of_a_thing_bound_its_parameters() -> None:
    entry = Things.of(Polynomial([1.0, 2.0], bounds={"coefficients": (0.0, None)})).parameters["thing0.coefficients"]
    assert_array_equal(entry.lower, [0.0, 0.0])
    assert np.all(np.isinf(entry.upper))


def test_elements_with_equal_bounds_stay_as_they_are() -> None:
    bounds = {"coefficients": ([1.0, 0.0], [1.0, 5.0])}
    entry = Things.of(Polynomial([1.0, 2.0], bounds=bounds)).parameters["thing0.coefficients"]
    assert_array_equal(entry.fixed, [True, False])


@pytest.mark.parametrize("bounds", [{"colour": (0.0, 1.0)}, {"scale": 3.0}, {"scale": (2.0, 3.0)}])
def test_bounds_that_fit_no_parameter_are_refused(bounds) -> None:
    with pytest.raises(ParameterError):
        Things.of(Polynomial([1.0], bounds=bounds)).scaled({})


def test_rebuilt_things_leave_the_given_ones_alone() -> None:
    thing = Settable([1.0, 2.0])
    (new,) = Things.of(thing).rebuilt(np.array([3.0, 4.0]))
    assert_array_equal(thing.params_dict["x"], [1.0, 2.0])
    assert_array_equal(new.params_dict["x"], [3.0, 4.0])


def test_updated_things_are_set_in_place_where_they_can_be() -> None:
    settable, frozen = Settable([1.0]), Polynomial([1.0])
    first, second = Things.of([settable, frozen]).updated(np.array([5.0, 6.0, 1.0]))
    assert first is settable
    assert_array_equal(settable.params_dict["x"], [5.0])
    assert second is not frozen
    assert_array_equal(second.coefficients, [6.0])
