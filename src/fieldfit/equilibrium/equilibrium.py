"""A tokamak equilibrium with a given boundary: the thing that is solved for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int

from fieldfit.equilibrium.boundary import modes_by_number
from fieldfit.equilibrium.modes import Modes, Resolution, spectral_scales
from fieldfit.equilibrium.profiles import PowerSeries
from fieldfit.errors import ParameterError
from fieldfit.parameters import Parameter, Parameters
from fieldfit.registry import unknown_name
from fieldfit.typing import Vector

UNITS = {
    "R_lmn": "m",
    "Z_lmn": "m",
    "L_lmn": "rad",
    "Rb_lmn": "m",
    "Zb_lmn": "m",
    "p_l": "Pa",
    "i_l": "",
    "Psi": "Wb",
}
"""Parameter array to unit, in the order of the flat vector."""

UNKNOWNS = ("R_lmn", "Z_lmn", "L_lmn")
"""What force balance decides; the rest is given."""


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """Flux surfaces, stream function, boundary, flux and profiles of an axisymmetric, up-down symmetric plasma.

    Args:
        resolution: Highest mode numbers.
        R_lmn: Coefficients of R [m], shape (cosine modes,).
        Z_lmn: Coefficients of Z [m], shape (sine modes,).
        L_lmn: Coefficients of the stream function lambda [rad], shape (sine modes,).
        Rb_lmn: Boundary modes of R [m], shape (M + 1,).
        Zb_lmn: Boundary modes of Z [m], shape (M,).
        Psi: Toroidal flux through the boundary [Wb].
        pressure: Pressure [Pa] of rho.
        iota: Rotational transform of rho.
        bounds: Parameter array to its (lower, upper) bounds, where it has some.
        name: What it is called among other things.

    Raises:
        ParameterError: An array has the wrong shape or is not finite, or bounds name no array.

    Example:
        >>> from fieldfit.equilibrium import Equilibrium, PowerSeries
        >>> torus = Equilibrium.from_boundary(
        ...     6, Rb={0: 4.0, 1: 1.0}, Zb={-1: -1.5}, Psi=1.0, pressure=PowerSeries([0.0]), iota=PowerSeries([1.0])
        ... )
        >>> torus.dim_x
        56
    """

    resolution: Resolution
    R_lmn: Vector
    Z_lmn: Vector
    L_lmn: Vector
    Rb_lmn: Vector
    Zb_lmn: Vector
    Psi: float
    pressure: PowerSeries
    iota: PowerSeries
    bounds: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    name: str = "equilibrium"

    def __post_init__(self) -> None:
        modes = self.mode_numbers
        for name, found in self.params_dict.items():
            _check_shape(name, found, (len(modes[name]),) if name in modes else found.shape)
            if not np.all(np.isfinite(found)):
                raise ParameterError(f"{name} = {found} {UNITS[name]} is not finite. Give finite numbers.")
        for name in self.bounds:
            _check_name(name)

    @staticmethod
    def from_boundary(
        resolution: Resolution | int,
        *,
        Rb: Mapping[int, float],
        Zb: Mapping[int, float],
        Psi: float,
        pressure: PowerSeries,
        iota: PowerSeries,
    ) -> Equilibrium:
        """Make the start of a solve: nested surfaces that shrink towards the middle of the boundary.

        Args:
            resolution: Highest mode numbers; a number stands for both.
            Rb: Poloidal mode number m >= 0 to amplitude of cos(m theta) in R [m].
            Zb: Negative mode number to amplitude of sin(abs(m) theta) in Z [m].
            Psi: Toroidal flux through the boundary [Wb].
            pressure: Pressure [Pa] of rho.
            iota: Rotational transform of rho.

        Returns:
            An equilibrium with R_mm = Rb_m, Z_mm = Zb_m and lambda = 0.

        Raises:
            SettingsError: A mode number does not exist.
            ParameterError: A number is not finite, or the boundary runs the other way round.
        """
        chosen = Resolution(resolution) if isinstance(resolution, int) else resolution
        Rb_lmn = modes_by_number(Rb, chosen.boundary_cosine, "The boundary of R")
        Zb_lmn = modes_by_number(Zb, chosen.boundary_sine, "The boundary of Z")
        _check_orientation(Rb_lmn, Zb_lmn)
        return Equilibrium(
            chosen,
            R_lmn=_lowest_degrees(Rb_lmn, chosen.boundary_cosine, chosen.cosine),
            Z_lmn=_lowest_degrees(Zb_lmn, chosen.boundary_sine, chosen.sine),
            L_lmn=np.zeros(len(chosen.sine)),
            Rb_lmn=Rb_lmn,
            Zb_lmn=Zb_lmn,
            Psi=float(Psi),
            pressure=pressure,
            iota=iota,
        )

    @property
    def params_dict(self) -> dict[str, np.ndarray]:
        """Name to parameter array, copies, in the order of the flat vector."""
        found = {name: getattr(self, name) for name in UNITS if name not in ("p_l", "i_l")}
        found |= {"p_l": self.pressure.coefficients, "i_l": self.iota.coefficients}
        return {name: np.array(found[name], dtype=float) for name in UNITS}

    def with_params(self, params: Mapping[str, Any]) -> Equilibrium:
        """Return an equilibrium with other values of some parameter arrays.

        Args:
            params: Name to array; those that are not mentioned stay.

        Raises:
            ParameterError: A name is unknown, or an array has the wrong shape or is not finite.
        """
        changes: dict[str, Any] = {}
        for name, given in params.items():
            _check_name(name)
            array = np.array(given, dtype=float)
            _check_shape(name, array, self._shapes[name])
            changes[name] = float(array) if name == "Psi" else array
        for name, profile in (("p_l", "pressure"), ("i_l", "iota")):
            if name in changes:
                changes[profile] = getattr(self, profile).with_coefficients(changes.pop(name))
        return replace(self, **changes)

    @cached_property
    def mode_numbers(self) -> dict[str, Modes]:
        """Name of a spectral parameter array to its mode numbers (l, m, n); m < 0 are sines."""
        return _mode_numbers(self.resolution)

    @property
    def dimensions(self) -> dict[str, int]:
        """Name to number of elements."""
        return {name: found.size for name, found in self.params_dict.items()}

    @property
    def dim_x(self) -> int:
        """Number of elements of all parameter arrays."""
        return sum(self.dimensions.values())

    @property
    def x_idx(self) -> dict[str, Int[np.ndarray, " _"]]:
        """Name to places in the flat vector."""
        stops = dict(zip(UNITS, np.cumsum(list(self.dimensions.values())), strict=True))
        return {name: np.arange(stops[name] - size, stops[name]) for name, size in self.dimensions.items()}

    def pack_params(self, params: Mapping[str, Any]) -> Vector:
        """Return parameter arrays as one flat vector, shape (dim_x,).

        Raises:
            ParameterError: One is missing or unknown.
        """
        for name in params:
            _check_name(name)
        missing = [name for name in UNITS if name not in params]
        if missing:
            raise ParameterError(f"The parameters lack {', '.join(missing)}. Start from `params_dict` and change it.")
        return np.concatenate([np.ravel(np.asarray(params[name], dtype=float)) for name in UNITS])

    def unpack_params(self, x: Any) -> dict[str, Any]:
        """Return a flat vector as parameter arrays; works on traced vectors.

        Args:
            x: Shape (dim_x,).
        """
        return {name: x[found[0] : found[-1] + 1].reshape(self._shapes[name]) for name, found in self.x_idx.items()}

    @property
    def parameters(self) -> Parameters:
        """All parameter arrays with units, bounds and scales; only what force balance decides is free.

        Lengths are measured in one unit, the minor radius: the directions that the boundary leaves are then those of
        least change of all surfaces, whatever single coefficients start from.
        """
        scales = {"m": self.typical_minor_radius, "rad": 1.0}
        return Parameters(
            [
                Parameter(
                    name,
                    found,
                    UNITS[name],
                    *self.bounds.get(name, (None, None)),
                    scale=scales.get(UNITS[name]),
                    fixed=name not in UNKNOWNS,
                )
                for name, found in self.params_dict.items()
            ]
        )

    @property
    def typical_minor_radius(self) -> float:
        """Geometric mean of the half axes of the boundary, from its first modes [m]."""
        return float(np.sqrt(abs(self.Rb_lmn[1] * self.Zb_lmn[0])))

    def spectral_scales(
        self, *, alpha: float = 1.2, order: float = np.inf, smallest: float = 1e-7
    ) -> dict[str, Vector]:
        """Return scales of the spectral arrays; see `fieldfit.equilibrium.modes.spectral_scales`."""
        return {
            name: spectral_scales(modes, alpha=alpha, order=order, smallest=smallest)
            for name, modes in self.mode_numbers.items()
        }

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: found.shape for name, found in self.params_dict.items()}

    def with_resolution(self, resolution: Resolution | int) -> Equilibrium:
        """Return the same surfaces with more modes, those zero, or with fewer, those left out.

        Where modes of the boundary are left out, it changes, and so does what the rest adds up to on it: solve again.
        Bounds of the spectral arrays stay behind.

        Args:
            resolution: Highest mode numbers; a number stands for both.
        """
        chosen = Resolution(resolution) if isinstance(resolution, int) else resolution
        other = _mode_numbers(chosen)
        arrays = {name: _moved(getattr(self, name), own, other[name]) for name, own in self.mode_numbers.items()}
        kept = {name: pair for name, pair in self.bounds.items() if name not in arrays}
        return replace(self, resolution=chosen, bounds=kept, **arrays)

    def __repr__(self) -> str:
        return (
            f"Equilibrium(L = {self.resolution.radial}, M = {self.resolution.poloidal}, R0 = {self.Rb_lmn[0]:g} m, "
            f"a = {self.typical_minor_radius:g} m, Psi = {self.Psi:g} Wb)"
        )


def _mode_numbers(resolution: Resolution) -> dict[str, Modes]:
    return {
        "R_lmn": resolution.cosine,
        "Z_lmn": resolution.sine,
        "L_lmn": resolution.sine,
        "Rb_lmn": resolution.boundary_cosine,
        "Zb_lmn": resolution.boundary_sine,
    }


def _check_orientation(Rb_lmn: Vector, Zb_lmn: Vector) -> None:
    """Refuse a boundary without area, or one whose angle runs the other way."""
    # The area of the curve: the integral of R dZ over one turn.
    area = np.pi * float(np.sum(np.arange(1, Rb_lmn.size) * Rb_lmn[1:] * Zb_lmn))
    if area >= 0.0:
        raise ParameterError(
            f"The boundary encloses {-area:g} m^2 in the sense of its angle, but that has to be positive: with R cos t "
            "goes -Z sin t. Change the sign of all of Zb, and that of iota with it."
        )


def _check_name(name: str) -> None:
    if name not in UNITS:
        raise ParameterError(unknown_name("parameter of an equilibrium", name, UNITS))


def _check_shape(name: str, found: np.ndarray, wanted: tuple[int, ...]) -> None:
    if found.shape != wanted:
        raise ParameterError(
            f"{name} has the shape {found.shape}, but with this resolution and these profiles it has {wanted}. Give "
            "one number per mode or coefficient, or change the resolution by `with_resolution`."
        )


def _lowest_degrees(boundary: Vector, outer: Modes, inner: Modes) -> Vector:
    """Return coefficients that are the boundary modes where l = abs(m), and zero elsewhere."""
    return _moved(boundary, np.stack([np.abs(outer[:, 1]), outer[:, 1], outer[:, 2]], axis=1), inner)


def _moved(coefficients: Vector, own: Modes, other: Modes) -> Vector:
    """Return coefficients in another set of modes; those it does not have are left out."""
    known = {tuple(mode): value for mode, value in zip(own.tolist(), coefficients, strict=True)}
    return np.array([known.get(tuple(mode), 0.0) for mode in other.tolist()])
