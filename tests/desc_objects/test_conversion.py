"""Equilibria of DESC as native ones, and back."""

import numpy as np
import pytest

pytest.importorskip("desc", reason="DESC is an optional dependency with an environment of its own")

from desc.equilibrium import Equilibrium as DescEquilibrium
from desc.geometry import FourierRZToroidalSurface
from desc.grid import LinearGrid
from desc.profiles import PowerSeriesProfile, SplineProfile
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldfit.equilibrium import Equilibrium, PowerSeries, Resolution, flux_surfaces
from fieldfit.equilibrium.desc.convert import from_desc, to_desc
from fieldfit.errors import SettingsError


def surface(**options):
    given = {"R_lmn": [3.0, 1.0, 0.1], "modes_R": [[0, 0], [1, 0], [2, 0]], "Z_lmn": [-1.4], "modes_Z": [[-1, 0]]}
    return FourierRZToroidalSurface(**{"sym": True} | given | options)


def desc_equilibrium(**options):
    profiles = {"pressure": PowerSeriesProfile([9.0, -9.0], modes=[0, 2]), "iota": PowerSeriesProfile([0.9])}
    return DescEquilibrium(**{"L": 4, "M": 4, "N": 0, "sym": True, "surface": surface()} | profiles | options)


def random_equilibrium(resolution, seed):
    """Return one with numbers everywhere, among them odd powers; surfaces need not be nested for this."""
    start = Equilibrium.from_boundary(
        resolution,
        Rb={0: 3.0, 1: 1.0},
        Zb={-1: -1.3},
        Psi=2.0,
        pressure=PowerSeries(np.zeros(resolution.radial + 1)),
        iota=PowerSeries(np.zeros(resolution.radial + 3)),
    )
    rng = np.random.default_rng(seed)
    return start.with_params({name: rng.normal(size=found.shape) for name, found in start.params_dict.items()})


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=4, deadline=None)
@given(st.integers(1, 8), st.integers(0, 3), st.integers(0, 2**31))
def test_a_native_equilibrium_comes_back_with_every_bit(poloidal, more, seed):
    there = random_equilibrium(Resolution(poloidal + more, poloidal), seed)
    back = from_desc(to_desc(there))
    assert back.resolution == there.resolution
    assert (back.pressure.powers, back.iota.powers) == (there.pressure.powers, there.iota.powers)
    assert_same_bits(back.params_dict, there.params_dict)


def test_an_equilibrium_of_desc_comes_back_with_every_bit():
    there = desc_equilibrium()
    back = to_desc(from_desc(there))
    for name in ("R_lmn", "Z_lmn", "L_lmn", "Rb_lmn", "Zb_lmn", "p_l", "i_l", "Psi"):
        np.testing.assert_array_equal(back.params_dict[name], there.params_dict[name], err_msg=name)
    assert (back.L, back.M, back.N, back.NFP, back.sym) == (there.L, there.M, there.N, there.NFP, there.sym)
    assert (back.L_grid, back.M_grid, back.spectral_indexing) == (there.L_grid, there.M_grid, there.spectral_indexing)


def test_desc_fills_profiles_with_zeros_that_stay():
    there = from_desc(desc_equilibrium())
    assert there.pressure.powers == (0, 2, 4)
    assert there.pressure.coefficients.tolist() == [9.0, -9.0, 0.0]


@pytest.mark.parametrize("indexing", ["ansi", "fringe"])
def test_surfaces_are_those_of_desc(indexing):
    there = desc_equilibrium(spectral_indexing=indexing, L=8 if indexing == "fringe" else 5)
    rng = np.random.default_rng(4)
    there.R_lmn = np.asarray(there.R_lmn) + 0.02 * rng.normal(size=there.R_lmn.size)
    there.Z_lmn = np.asarray(there.Z_lmn) + 0.02 * rng.normal(size=there.Z_lmn.size)
    grid = LinearGrid(rho=np.array([0.0, 0.3, 0.7, 1.0]), theta=9, zeta=1)
    data = there.compute(["R", "Z"], grid=grid)
    R, Z = flux_surfaces(from_desc(there), grid.nodes[:, 0], grid.nodes[:, 1])
    np.testing.assert_allclose(R, data["R"], rtol=1e-14)
    np.testing.assert_allclose(Z, data["Z"], atol=1e-14)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (lambda: {"N": 1}, "toroidal modes up to N = 1"),
        (lambda: {"NFP": 3, "surface": surface(NFP=3)}, "NFP = 3"),
        (lambda: {"sym": False, "surface": surface(sym=False)}, "no up-down symmetry"),
        (lambda: {"L": 3}, "M = 4 poloidal modes"),
        (lambda: {"iota": None, "current": PowerSeriesProfile([0.0])}, "current profile"),
        (lambda: {"pressure": SplineProfile([1.0, 0.5, 0.0])}, "to_powerseries"),
        (lambda: {"iota": SplineProfile([1.0, 0.9, 0.8])}, "iota of this equilibrium"),
        (lambda: {"anisotropy": PowerSeriesProfile([0.1])}, "anisotropic"),
        (
            lambda: {
                "pressure": None,
                "electron_temperature": PowerSeriesProfile([1.0]),
                "electron_density": PowerSeriesProfile([1.0]),
            },
            "kinetic profiles",
        ),
    ],
)
def test_what_the_native_model_lacks_is_refused_by_name(changes, words):
    with pytest.raises(SettingsError, match=words):
        from_desc(desc_equilibrium(**changes()))


def test_other_objects_are_refused():
    with pytest.raises(SettingsError, match="FourierRZToroidalSurface"):
        from_desc(surface())
