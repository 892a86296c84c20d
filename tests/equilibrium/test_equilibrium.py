"""The thing: parameter arrays, boundary, files, pictures."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from cases import torus
from hypothesis import given
from hypothesis import strategies as st

from fieldfit.equilibrium import (
    Equilibrium,
    Grid,
    PowerSeries,
    Resolution,
    boundary_constraints,
    flux_surfaces,
    load,
    product_grid,
    save,
    spectral_scales,
)
from fieldfit.errors import FileFormatError, ParameterError, SettingsError


@given(st.integers(2, 7), st.integers(0, 2**31))
def test_packing_and_unpacking_are_inverse(resolution, seed):
    thing = torus(resolution)
    x = np.random.default_rng(seed).normal(size=thing.dim_x)
    params = thing.unpack_params(x)
    np.testing.assert_array_equal(thing.pack_params(params), x)
    for name, places in thing.x_idx.items():
        np.testing.assert_array_equal(x[places], np.ravel(params[name]))
    np.testing.assert_array_equal(thing.with_params(params).parameters.flat, x)


def test_a_changed_copy_leaves_the_original_as_it_was():
    thing = torus(4)
    moved = thing.with_params({"Psi": 5.0, "p_l": [1.0, 2.0], "L_lmn": np.ones(thing.dimensions["L_lmn"])})
    assert (thing.Psi, moved.Psi) == (3.0, 5.0)
    assert not np.any(thing.L_lmn)
    assert moved.pressure.coefficients.tolist() == [1.0, 2.0]
    assert moved.pressure.powers == thing.pressure.powers
    thing.params_dict["R_lmn"][:] = 0.0
    assert thing.R_lmn[0] == 3.0


def test_mode_numbers_have_one_row_per_element():
    thing = torus(5)
    assert {name: len(modes) for name, modes in thing.mode_numbers.items()} == {
        name: thing.dimensions[name] for name in thing.mode_numbers
    }
    assert all(np.all(modes[:, 2] == 0) for modes in thing.mode_numbers.values())


def test_starting_surfaces_meet_the_boundary():
    thing = torus(6, shape=0.1)
    theta = np.linspace(0.0, 2.0 * np.pi, 17)
    R, Z = flux_surfaces(thing, 1.0, theta)
    np.testing.assert_allclose(R, 3.0 + np.cos(theta) + 0.1 * np.cos(2.0 * theta), atol=1e-14)
    np.testing.assert_allclose(Z, -1.3 * np.sin(theta) + 0.1 * np.sin(2.0 * theta), atol=1e-14)
    assert flux_surfaces(thing, 0.0, 0.0)[0] == pytest.approx(3.0)


def test_boundary_conditions_hold_at_the_start_and_are_one_per_boundary_mode():
    parameters = torus(5, shape=0.1).parameters
    for constraint, rows in zip(boundary_constraints(torus(5)), (6, 5), strict=True):
        condition = constraint.condition(parameters)
        assert condition.matrix.shape == (rows, parameters.size)
        np.testing.assert_allclose(condition.matrix @ parameters.flat, 0.0, atol=1e-15)


def test_more_modes_leave_the_surfaces_as_they_are():
    thing = torus(4, shape=0.1)
    rho, theta = np.array([0.2, 0.9])[:, None], np.linspace(0.0, 6.0, 7)
    for found, expected in zip(
        flux_surfaces(thing.with_resolution(9), rho, theta), flux_surfaces(thing, rho, theta), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    back = thing.with_resolution(9).with_resolution(4)
    np.testing.assert_array_equal(back.pack_params(back.params_dict), thing.pack_params(thing.params_dict))


def test_spectral_scales_fall_from_one_at_the_lowest_modes():
    # exp(-1.2 (|mode| - 1)) with |(l, m, n)| = max(l, |m|, |n|): l = 1 gives 1, l = 3 gives exp(-2.4).
    modes = np.array([[1, 1, 0], [3, -1, 0], [40, 0, 0]])
    np.testing.assert_allclose(spectral_scales(modes), [1.0, np.exp(-2.4), 1e-7], rtol=1e-14)
    assert torus(3).spectral_scales()["L_lmn"].shape == (torus(3).dimensions["L_lmn"],)


def test_bounds_of_the_thing_are_those_of_its_parameters():
    thing = torus(4)
    bounded = replace(thing, bounds={"Psi": (0.0, 10.0), "L_lmn": (-1.0, None)})
    assert bounded.parameters["Psi"].upper == 10.0
    assert np.all(bounded.parameters["L_lmn"].lower == -1.0)
    assert np.all(np.isinf(bounded.parameters["R_lmn"].lower))


@given(st.integers(2, 8), st.integers(0, 2**31))
def test_a_file_gives_back_every_bit(tmp_path_factory, resolution, seed):
    thing = torus(resolution)
    rng = np.random.default_rng(seed)
    thing = thing.with_params({name: rng.normal(size=found.shape) for name, found in thing.params_dict.items()})
    path = tmp_path_factory.mktemp("equilibria") / "torus.eq"
    save(thing, path)
    found = load(path)
    assert found.resolution == thing.resolution
    assert found.pressure.powers == thing.pressure.powers
    for name, values in thing.params_dict.items():
        np.testing.assert_array_equal(found.params_dict[name], values)


def test_a_file_keeps_bounds_and_unequal_resolutions(tmp_path):
    thing = torus(Resolution(5, 3))
    bounded = replace(thing, bounds={"Psi": (None, 10.0)})
    save(bounded, tmp_path / "torus.npz")
    found = load(tmp_path / "torus.npz")
    assert found.resolution == Resolution(5, 3)
    assert [float(end) for end in found.bounds["Psi"]] == [-np.inf, 10.0]


def test_files_that_are_no_equilibrium_are_refused_by_name(tmp_path):
    with pytest.raises(FileFormatError, match=r"no file .*missing"):
        load(tmp_path / "missing.npz")
    text = tmp_path / "text.npz"
    text.write_text("R_lmn")
    with pytest.raises(FileFormatError, match="not a NumPy archive"):
        load(text)
    np.save(tmp_path / "array.npy", np.ones(3))
    with pytest.raises(FileFormatError, match="not a NumPy archive"):
        load(tmp_path / "array.npy")
    np.savez(tmp_path / "other.npz", R_lmn=np.ones(3))
    with pytest.raises(FileFormatError, match="lacks Z_lmn"):
        load(tmp_path / "other.npz")
    save(torus(2), tmp_path / "newer.npz")
    with np.load(tmp_path / "newer.npz") as archive:
        entries = {**archive, "format": 99}
    np.savez(tmp_path / "newer.npz", **entries)
    with pytest.raises(FileFormatError, match="layout 99"):
        load(tmp_path / "newer.npz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"R_lmm": [1.0]}, "Did you mean 'R_lmn'"),
        ({"R_lmn": [1.0]}, "shape"),
        ({"Psi": np.nan}, "not finite"),
        ({"Psi": [1.0, 2.0]}, "shape"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change, words):
    with pytest.raises(ParameterError, match=words):
        torus(3).with_params(change)


def test_a_vector_lacking_an_array_is_refused():
    with pytest.raises(ParameterError, match="lack Psi"):
        torus(3).pack_params({name: found for name, found in torus(3).params_dict.items() if name != "Psi"})


def test_boundaries_that_cannot_be_are_refused():
    given = {"Psi": 1.0, "pressure": PowerSeries([0.0]), "iota": PowerSeries([1.0])}
    with pytest.raises(SettingsError, match="m = 3"):
        Equilibrium.from_boundary(2, Rb={0: 3.0, 3: 1.0}, Zb={-1: -1.0}, **given)
    with pytest.raises(SettingsError, match="m = 1"):
        Equilibrium.from_boundary(2, Rb={0: 3.0, 1: 1.0}, Zb={1: -1.0}, **given)
    with pytest.raises(SettingsError, match="amplitude nan"):
        Equilibrium.from_boundary(2, Rb={0: np.nan}, Zb={-1: -1.0}, **given)
    with pytest.raises(ParameterError, match="Change the sign of all of Zb"):
        Equilibrium.from_boundary(2, Rb={0: 3.0, 1: 1.0}, Zb={-1: 1.0}, **given)


def test_profiles_are_sums_of_powers():
    series = PowerSeries([1.0, -3.0], powers=[0, 3])
    rho = np.array([0.0, 0.5, 1.0])
    np.testing.assert_allclose(series(rho), 1.0 - 3.0 * rho**3)
    np.testing.assert_allclose(series(rho, derivative=1), -9.0 * rho**2)
    assert PowerSeries([2.0, 1.0]).powers == (0, 1)
    for wrong in ({"coefficients": [1.0], "powers": [0, 2]}, {"coefficients": [1.0], "powers": [-1]}):
        with pytest.raises(SettingsError, match="profile"):
            PowerSeries(**wrong)


def test_quadrature_integrates_polynomials_and_trigonometric_polynomials_exactly():
    grid = product_grid(6, 5)
    # Over the torus: 4 pi^2 int rho^7 drho times the mean of cos^2(2 theta).
    found = grid.weights @ (grid.rho**7 * np.cos(2.0 * grid.theta) ** 2)
    assert found == pytest.approx(4.0 * np.pi**2 / 16.0, rel=1e-13)
    with pytest.raises(SettingsError, match="above 0"):
        Grid(np.zeros(1), np.zeros(1), np.ones(1))


def test_pictures_show_surfaces_and_force():
    pytest.importorskip("matplotlib").use("agg")
    import matplotlib.pyplot as plt

    from fieldfit.equilibrium import plot_force, plot_surfaces

    _, axes = plt.subplots(1, 2)
    drawn = plot_surfaces(torus(3), axes[0], n_surfaces=5, n_angles=4)
    # Five surfaces, four lines of equal angle, one axis.
    assert len(drawn.lines) == 10
    assert drawn.lines[4].get_xdata().max() == pytest.approx(4.0)
    assert plot_force(torus(3), axes[1]).get_xlabel() == "R [m]"
    assert plot_surfaces(torus(3)) is not axes[0]
    plt.close("all")


def test_making_and_solving_an_equilibrium_does_not_import_jax():
    code = (
        "import sys; from fieldfit.equilibrium import Equilibrium, ForceBalance, PowerSeries, Plasma, solve; "
        "e = Equilibrium.from_boundary(4, Rb={0: 3.0, 1: 1.0}, Zb={-1: -1.0}, Psi=1.0, "
        "pressure=PowerSeries([0.0]), iota=PowerSeries([1.0])); ForceBalance(e); Plasma.of(e).volume; solve(e); "
        "assert 'jax' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_library_does_not_import_this_package():
    code = "import sys, fieldfit; assert not any(name.startswith('fieldfit.equilibrium') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
