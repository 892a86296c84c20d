"""Equilibria of DESC as native ones, and back.

Both programs have the same coordinates, the same Zernike polynomials with the value 1 on the boundary, and the same
meaning of flux, pressure and rotational transform, so that conversion moves numbers from one order of modes to the
other and changes no bit. What the native model lacks (toroidal modes, surfaces without up-down symmetry, a given
current instead of a transform, other kinds of profiles) is an error.

DESC fills profiles up to the radial resolution with zeros; these stay, for they are parameters of its objects.

References:
    Dudt, Kolemen (2020), Phys. Plasmas 27, 102513, doi:10.1063/5.0020743.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fieldfit.equilibrium.desc.loading import require_desc
from fieldfit.equilibrium.equilibrium import Equilibrium
from fieldfit.equilibrium.modes import Modes, Resolution
from fieldfit.equilibrium.profiles import PowerSeries
from fieldfit.errors import SettingsError
from fieldfit.typing import Vector


def from_desc(eq: Any) -> Equilibrium:
    """Return an equilibrium of DESC as a native one.

    Args:
        eq: A `desc.equilibrium.Equilibrium`: axisymmetric, up-down symmetric (`sym=True`), with a boundary at rho = 1,
            and pressure and rotational transform as power series. Modes that its "fringe" indexing leaves out are zero.

    Returns:
        The same surfaces, stream function, boundary, flux and profiles.

    Raises:
        SettingsError: DESC is not installed, or the native model lacks something that this equilibrium has.

    Example:
        From one of DESC's example files, solved again::

            import desc.examples
            from fieldfit.equilibrium import solve
            from fieldfit.equilibrium.desc import from_desc

            plasma, result = solve(from_desc(desc.examples.get("DSHAPE")))
    """
    require_desc("from_desc")
    _check_model(eq)
    resolution = Resolution(int(eq.L), int(eq.M))
    surface = eq.surface
    return Equilibrium(
        resolution,
        R_lmn=_in_order(eq.R_lmn, eq.R_basis.modes, resolution.cosine),
        Z_lmn=_in_order(eq.Z_lmn, eq.Z_basis.modes, resolution.sine),
        L_lmn=_in_order(eq.L_lmn, eq.L_basis.modes, resolution.sine),
        Rb_lmn=_in_order(surface.R_lmn, surface.R_basis.modes, resolution.boundary_cosine),
        Zb_lmn=_in_order(surface.Z_lmn, surface.Z_basis.modes, resolution.boundary_sine),
        Psi=float(np.asarray(eq.Psi).item()),
        pressure=_power_series(eq.pressure, "pressure"),
        iota=_power_series(eq.iota, "iota"),
    )


def to_desc(equilibrium: Equilibrium) -> Any:
    """Return a native equilibrium as one of DESC.

    Bounds and the name are left out: DESC has none.

    Args:
        equilibrium: Solved or not.

    Returns:
        A `desc.equilibrium.Equilibrium` with "ansi" indexing and DESC's own grid resolution.

    Raises:
        SettingsError: DESC is not installed.
    """
    require_desc("to_desc")
    from desc.equilibrium import Equilibrium as DescEquilibrium  # pyright: ignore[reportMissingImports]
    from desc.geometry import FourierRZToroidalSurface  # pyright: ignore[reportMissingImports]

    modes, arrays = equilibrium.mode_numbers, equilibrium.params_dict
    surface = FourierRZToroidalSurface(
        R_lmn=arrays["Rb_lmn"],
        Z_lmn=arrays["Zb_lmn"],
        modes_R=modes["Rb_lmn"][:, 1:],
        modes_Z=modes["Zb_lmn"][:, 1:],
        sym=True,
        check_orientation=False,
    )
    made = DescEquilibrium(
        Psi=equilibrium.Psi,
        L=equilibrium.resolution.radial,
        M=equilibrium.resolution.poloidal,
        N=0,
        surface=surface,
        pressure=_desc_series(equilibrium.pressure),
        iota=_desc_series(equilibrium.iota),
        sym=True,
        spectral_indexing="ansi",
        ensure_nested=False,
        check_orientation=False,
    )
    made.R_lmn = _in_order(arrays["R_lmn"], modes["R_lmn"], made.R_basis.modes)
    made.Z_lmn = _in_order(arrays["Z_lmn"], modes["Z_lmn"], made.Z_basis.modes)
    made.L_lmn = _in_order(arrays["L_lmn"], modes["L_lmn"], made.L_basis.modes)
    return made


def _in_order(coefficients: Any, own: Any, wanted: Modes) -> Vector:
    """Return coefficients in another order of modes; those that are missing are zero."""
    known = dict(zip(map(tuple, np.asarray(own).tolist()), np.asarray(coefficients, dtype=float), strict=True))
    return np.array([known.get(tuple(mode), 0.0) for mode in np.asarray(wanted).tolist()])


def _power_series(profile: Any, name: str) -> PowerSeries:
    from desc.profiles import PowerSeriesProfile  # pyright: ignore[reportMissingImports]

    if not isinstance(profile, PowerSeriesProfile):
        raise SettingsError(
            f"The {name} of this equilibrium of DESC is a {type(profile).__name__}, but here profiles are sums of "
            f"powers of rho. Fit it first: eq.{name} = eq.{name}.to_powerseries(order=eq.L, sym=True)."
        )
    return PowerSeries(np.array(profile.params, dtype=float), profile.basis.modes[:, 0].tolist())


def _desc_series(profile: PowerSeries) -> Any:
    from desc.profiles import PowerSeriesProfile  # pyright: ignore[reportMissingImports]

    return PowerSeriesProfile(profile.coefficients, modes=np.array(profile.powers))


def _check_model(eq: Any) -> None:
    """Refuse what the native model lacks."""
    from desc.equilibrium import Equilibrium as DescEquilibrium  # pyright: ignore[reportMissingImports]

    if not isinstance(eq, DescEquilibrium):
        raise SettingsError(
            f"from_desc was given a {type(eq).__name__}. Give a desc.equilibrium.Equilibrium; of a family, its last "
            "member: family[-1]."
        )
    lacking = {
        f"toroidal modes up to N = {eq.N}": (eq.N != 0, "axisymmetric plasmas are those with N = 0"),
        f"NFP = {eq.NFP} field periods": (eq.NFP != 1, "an axisymmetric plasma has one: eq.change_resolution(NFP=1)"),
        "no up-down symmetry": (not eq.sym, "set it by eq.change_resolution(sym=True) if the surfaces have it"),
        f"M = {eq.M} poloidal modes and degrees up to L = {eq.L} only": (
            eq.M > eq.L,
            "make L at least M by eq.change_resolution(L=eq.M)",
        ),
        "a boundary on a toroidal section": (eq.bdry_mode != "lcfs", "give a boundary surface, rho = 1"),
        "a current profile": (eq.iota is None, "take the transform it leads to: eq.iota = eq.get_profile('iota')"),
        "anisotropic pressure": (eq.anisotropy is not None, "set eq.anisotropy = None"),
        "kinetic profiles": (eq.pressure is None, "take the pressure they add up to: eq.get_profile('p')"),
    }
    for what, (is_there, remedy) in lacking.items():
        if is_there:
            raise SettingsError(f"This equilibrium of DESC has {what}, which the native model lacks: {remedy}.")
