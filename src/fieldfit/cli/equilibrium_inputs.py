"""What the settings of `fieldfit equilibrium` ask for, as equilibria, terms and constraints."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fieldfit.cli.equilibrium_settings import PROFILES, SCALARS, FreeSettings, Settings, TermSettings
from fieldfit.constraints import AbstractConstraint, Fixed
from fieldfit.equilibrium import (
    Equilibrium,
    ForceBalance,
    Grid,
    Plasma,
    PowerSeries,
    QuantityObjective,
    Resolution,
    boundary_constraints,
    load,
    product_grid,
)
from fieldfit.equilibrium.boundary import modes_by_number
from fieldfit.equilibrium.equilibrium import UNKNOWNS
from fieldfit.errors import SettingsError
from fieldfit.things import Term

NAME = "equilibrium"
"""What the equilibrium is called among things."""

FORCE = "force balance"

ARRAYS = {"Rb": "Rb_lmn", "Zb": "Zb_lmn", "pressure": "p_l", "iota": "i_l", "Psi": "Psi"}
"""Key of `[free]` to parameter array."""


def read_equilibrium(settings: Settings) -> Equilibrium:
    """Return the equilibrium to start from.

    Raises:
        FileFormatError: A file is missing or holds no equilibrium.
        SettingsError: A mode number or a power does not exist.
        ParameterError: A boundary that runs the wrong way round, or numbers that do not fit together.
    """
    given = settings.equilibrium
    if given.file is not None:
        saved = load(settings.path.parent / given.file)
        return _changed(replace(saved, name=NAME), settings)
    if given.Psi == 0.0:
        raise SettingsError(f"{settings.path}: equilibrium.Psi = 0 Wb is no field. Give the flux through the plasma.")
    return Equilibrium.from_boundary(
        _resolution(given.resolution),
        Rb=_by_number(given.Rb),
        Zb=_by_number(given.Zb),
        Psi=0.0 if given.Psi is None else given.Psi,
        pressure=_series(given.pressure),
        iota=_series(given.iota),
    )


def read_grid(settings: Settings, resolution: Resolution) -> Grid:
    """Return the nodes at which force balance is asked for."""
    given = settings.force_balance
    n_rho, n_theta = given.radial_nodes or resolution.radial + 2, given.poloidal_nodes or 2 * resolution.poloidal + 2
    return product_grid(n_rho, n_theta)


def force_term(equilibrium: Equilibrium, grid: Grid) -> Term:
    """Return force balance, which decides the surfaces inside."""
    return Term(ForceBalance(equilibrium, grid=grid), equilibrium, name=FORCE, solves_for=UNKNOWNS)


def force_within(equilibrium: Equilibrium, grid: Grid, width: float) -> Term:
    """Return force balance as residuals that stay between limits.

    At a given resolution they cannot vanish, and asked to be smaller than they can be they leave nothing to optimize.

    Args:
        equilibrium: The start.
        grid: The nodes.
        width: Largest residual.
    """
    balance = ForceBalance(equilibrium, grid=grid)
    return Term(balance, equilibrium, bounds=(-width, width), normalization=width, name=FORCE)


def held_parameters(equilibrium: Equilibrium, free: FreeSettings) -> list[AbstractConstraint]:
    """Return what keeps the boundary and all parameters that are not free.

    Raises:
        SettingsError: Something is to be free that the equilibrium does not have.
    """
    chosen = free_elements(equilibrium, free)
    held = [
        Fixed(f"{NAME}.{array}" if array == "Psi" else f"{NAME}.{array}[{place}]")
        for array, label, place in _elements(equilibrium)
        if label not in chosen
    ]
    return [*boundary_constraints(equilibrium, prefix=f"{NAME}."), *held]


def free_elements(equilibrium: Equilibrium, free: FreeSettings) -> dict[str, tuple[str, int]]:
    """Return what is free, "Zb -1", as parameter array and place in it.

    Raises:
        SettingsError: It is not there.
    """
    known = {label: (array, place) for array, label, place in _elements(equilibrium)}
    wanted: list[str] = ["Psi"] if free.Psi else []
    for name in ("Rb", "Zb", "pressure", "iota"):
        asked = getattr(free, name)
        own = [label for label in known if label.startswith(f"{name} ")]
        wanted += own if asked == "all" else [f"{name} {number}" for number in asked]
        for number in [] if asked == "all" else asked:
            if f"{name} {number}" not in own:
                there = ", ".join(label.removeprefix(f"{name} ") for label in own)
                raise SettingsError(
                    f"free.{name} has {number}, but there are {there}. Name one of these; modes come with the "
                    "resolution, powers with the profile in [equilibrium], where 0 is a coefficient like any other."
                )
    return {label: known[label] for label in known if label in wanted}


def quantity_terms(equilibrium: Equilibrium, given: Sequence[TermSettings]) -> dict[str, Term]:
    """Return terms of quantities by name."""
    terms: dict[str, Term] = {}
    for entry in given:
        name = entry.name or entry.quantity.replace("_", " ")
        if name in terms:
            name = f"{name} ({sum(other.split(' (')[0] == name for other in terms) + 1})"
        terms[name] = _quantity_term(equilibrium, entry, name)
    return terms


def quantity(name: str) -> Callable[[Plasma], Any]:
    """Return what reads a quantity of a plasma; the same object for the same name, so that programs are shared."""
    return _quantities()[name]


def default_scales(equilibrium: Equilibrium) -> Mapping[str, float]:
    """Return all lengths in one unit, the minor radius; see `Equilibrium.parameters`."""
    radius = equilibrium.typical_minor_radius
    return {**dict.fromkeys(("R_lmn", "Z_lmn", "Rb_lmn", "Zb_lmn"), radius), "L_lmn": 1.0}


@functools.cache
def _quantities() -> Mapping[str, Callable[[Plasma], Any]]:
    return {name: operator.attrgetter(name) for name in (*SCALARS, *PROFILES)}


def _quantity_term(equilibrium: Equilibrium, given: TermSettings, name: str) -> Term:
    rho = (1.0,) if given.rho is None else given.rho
    return Term(
        QuantityObjective(equilibrium, quantity(given.quantity), rho=rho, name=name),
        equilibrium,
        target=None if given.target is None else np.array(given.target),
        bounds=None if given.bounds is None else (given.bounds[0], given.bounds[1]),
        weight=given.weight,
        normalization=given.normalization or _size(given),
        name=name,
        unit={**SCALARS, **PROFILES}[given.quantity],
    )


def _size(given: TermSettings) -> float:
    """Return the largest magnitude in a goal: deviations count relative to that; 1 for a goal of zero."""
    goal = np.abs(np.ravel(np.array(given.bounds if given.target is None else given.target, dtype=float)))
    return float(np.max(goal[np.isfinite(goal)], initial=0.0)) or 1.0


def _changed(equilibrium: Equilibrium, settings: Settings) -> Equilibrium:
    """Return a saved equilibrium with what the settings state besides its file."""
    given = settings.equilibrium
    if given.resolution is not None:
        equilibrium = equilibrium.with_resolution(_resolution(given.resolution))
    changes: dict[str, Any] = {}
    if given.Psi is not None:
        changes["Psi"] = given.Psi
    for name, modes in (("Rb", equilibrium.resolution.boundary_cosine), ("Zb", equilibrium.resolution.boundary_sine)):
        if getattr(given, name) is not None:
            changes[ARRAYS[name]] = modes_by_number(_by_number(getattr(given, name)), modes, f"equilibrium.{name}")
    for name in ("pressure", "iota"):
        if getattr(given, name) is not None:
            changes[name] = _series(getattr(given, name))
    return replace(equilibrium, **changes)


def _elements(equilibrium: Equilibrium) -> list[tuple[str, str, int]]:
    """Return parameter array, label and place of everything that may be free or held."""
    modes = equilibrium.mode_numbers
    numbers = {
        "Rb": modes["Rb_lmn"][:, 1].tolist(),
        "Zb": modes["Zb_lmn"][:, 1].tolist(),
        "pressure": list(equilibrium.pressure.powers or ()),
        "iota": list(equilibrium.iota.powers or ()),
    }
    found = [
        (ARRAYS[name], f"{name} {number}", place) for name, own in numbers.items() for place, number in enumerate(own)
    ]
    return [*found, ("Psi", "Psi", 0)]


def _resolution(given: int | list[int] | None) -> Resolution:
    parts = [given] if isinstance(given, int) else list(given or ())
    return Resolution(*parts)


def _by_number(given: Mapping[str, float] | None) -> dict[int, float]:
    return {int(number): value for number, value in (given or {}).items()}


def _series(given: Mapping[str, float] | None) -> PowerSeries:
    powers = _by_number(given)
    return PowerSeries(list(powers.values()), list(powers))
