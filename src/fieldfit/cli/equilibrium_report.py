"""What `fieldfit equilibrium` says about what it found: text for a person, numbers for a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit._version import __version__
from fieldfit.cli.equilibrium_inputs import quantity
from fieldfit.cli.equilibrium_settings import PROFILES, SCALARS
from fieldfit.equilibrium import Equilibrium, Plasma, force_error, product_grid, typical_force
from fieldfit.equilibrium.equilibrium import UNITS
from fieldfit.equilibrium.field import magnetic_field
from fieldfit.equilibrium.tables import by_quantity, node_tables, node_values
from fieldfit.optimize import ObjectiveValue, ThingsResult
from fieldfit.tables import write_table


@dataclass(frozen=True, eq=False)
class ForceError:
    """What is left of the force, in units of the typical force per volume.

    Args:
        density: The typical force per volume, magnetic pressure over minor radius [N/m^3].
        mean: Average over the volume.
        largest: Of the nodes.
        n_nodes: Number of nodes, twice as many in each direction as force balance was asked for at.
    """

    density: float
    mean: float
    largest: float
    n_nodes: int


@dataclass(frozen=True, eq=False)
class State:
    """What is known of one equilibrium.

    Args:
        scalars: Quantity to value.
        profiles: Quantity to values on the surfaces, shape (surfaces,).
        force: What is left of the force.
    """

    scalars: Mapping[str, float]
    profiles: Mapping[str, np.ndarray]
    force: ForceError

    @staticmethod
    def of(equilibrium: Equilibrium, surfaces: Sequence[float]) -> State:
        """Compute it.

        Args:
            equilibrium: Solved or not.
            surfaces: Radii of the profiles, shape (surfaces,).
        """
        plasma = Plasma.of(equilibrium, rho=surfaces)
        # Without a transform there is no safety factor, and a circle has no elongation by way of its perimeter.
        with np.errstate(divide="ignore", invalid="ignore"):
            scalars = {name: float(quantity(name)(plasma)) for name in SCALARS}
            profiles = {name: np.asarray(quantity(name)(plasma)) for name in PROFILES}
        return State(scalars, profiles, _force_error(equilibrium, scalars["volume"]))


@dataclass(frozen=True, eq=False)
class Report:
    """Everything about a run.

    Args:
        command: "solve" or "optimize".
        description: What was computed, before it was.
        result: Of the run.
        before: The equilibrium at the start of an optimization; None for a solve.
        after: The equilibrium that was found.
        surfaces: Radii of the profiles.
        free: Parameter that was free, "Zb -1", to its values before and after and their unit.
        notes: What else is to be said.
        is_balanced: Whether the surfaces that were solved for besides the run itself converged.
    """

    command: str
    description: str
    result: ThingsResult
    before: State | None
    after: State
    surfaces: Sequence[float]
    free: Mapping[str, tuple[float, float, str]]
    notes: Sequence[str] = ()
    is_balanced: bool = True

    @property
    def is_success(self) -> bool:
        """Whether the run reached what it was asked for."""
        return self.result.success and self.is_balanced

    @property
    def details(self) -> str:
        """What the report of the run itself does not have: parameters, quantities, force, versions."""
        parts = [_free_table(self.free)] if self.free else []
        parts += [self._quantities(), self._profiles(), self._force()]
        parts += ["\n".join(self.notes)] if self.notes else []
        versions = ", ".join(f"{name} {version}" for name, version in self._versions.items())
        return "\n\n".join([*parts, f"Versions: {versions}"])

    def as_dict(self, times: Mapping[str, float]) -> dict[str, Any]:
        """Return all numbers for JSON.

        Args:
            times: Part of the run to its duration [s].
        """
        fit = self.result.fit
        return {
            "command": f"equilibrium {self.command}",
            "description": self.description,
            "success": self.is_success,
            "message": self.result.message,
            "verdict": {"word": fit.verdict.word, "reason": fit.verdict.reason},
            "method": self.result.method,
            "cost": _finite(self.result.cost),
            "optimality": _finite(self.result.optimality),
            "violation": _finite(self.result.violation),
            "iterations": self.result.nit,
            "evaluations": self.result.nfev,
            "evaluations_with_derivatives": self.result.njev,
            "terms": {name: _term(entry) for name, entry in self.result.objective_values.items()},
            "free": {
                name: {"before": before, "after": after, "unit": unit}
                for name, (before, after, unit) in self.free.items()
            },
            "quantities": _numbers(self.after),
            "quantities_before": None if self.before is None else _numbers(self.before),
            "surfaces": list(self.surfaces),
            "force_error": _force_numbers(self.after.force),
            "force_error_before": None if self.before is None else _force_numbers(self.before.force),
            "notes": list(self.notes),
            "times": dict(times),
            "versions": self._versions,
            "history": [[_finite(entry.cost), entry.is_accepted] for entry in self.result.history],
        }

    @property
    def _versions(self) -> dict[str, str]:
        """Versions of this library, also where it is not installed, and of those it stands on."""
        return {"fieldfit": __version__, **self.result.fit.versions}

    def _quantities(self) -> str:
        columns = ["value"] if self.before is None else ["before", "after"]
        rows: list[tuple[str, ...]] = [("quantity", *columns, "unit")]
        for name, unit in SCALARS.items():
            states = [self.after] if self.before is None else [self.before, self.after]
            rows.append((_words(name), *(f"{state.scalars[name]:.6g}" for state in states), unit))
        return write_table(rows)

    def _profiles(self) -> str:
        states = {"": self.after} if self.before is None else {" before": self.before, " after": self.after}
        rows: list[tuple[str, ...]] = [("on surfaces, rho", *(f"{rho:g}" for rho in self.surfaces))]
        for name in PROFILES:
            for when, state in states.items():
                rows.append((_words(name) + when, *(f"{value:.5g}" for value in state.profiles[name])))
        return write_table(rows)

    def _force(self) -> str:
        force = self.after.force
        lines = [
            f"Force that is left, in units of {force.density:.4g} N/m^3, magnetic pressure over minor radius:",
            f"  mean over the volume {force.mean:.3g}, largest of {force.n_nodes} nodes {force.largest:.3g}",
        ]
        if self.before is not None:
            before = self.before.force
            lines.append(f"  before: mean {before.mean:.3g}, largest {before.largest:.3g}")
        return "\n".join(lines)


def free_values(
    places: Mapping[str, tuple[str, int]], before: Equilibrium, after: Equilibrium
) -> dict[str, tuple[float, float, str]]:
    """Return parameters that were free before and after, with their unit.

    Args:
        places: Label to parameter array and place in it.
        before: The start.
        after: What was found.
    """
    first, last = before.params_dict, after.params_dict
    return {
        label: (float(np.ravel(first[array])[place]), float(np.ravel(last[array])[place]), UNITS[array])
        for label, (array, place) in places.items()
    }


def _force_error(equilibrium: Equilibrium, volume: float) -> ForceError:
    """Return what is left of the force between the nodes of force balance."""
    resolution = equilibrium.resolution
    grid = product_grid(2 * resolution.radial + 4, 4 * resolution.poloidal + 4)
    tables = node_tables(grid, equilibrium.mode_numbers, pressure=equilibrium.pressure, iota=equilibrium.iota)
    sqrt_g = magnetic_field(by_quantity(node_values(tables, equilibrium.params_dict))).sqrt_g
    density = typical_force(equilibrium) / volume
    error = force_error(equilibrium, grid.rho, grid.theta) / density
    parts = grid.weights * sqrt_g
    return ForceError(density, float(np.sum(parts * error) / np.sum(parts)), float(np.max(error)), grid.size)


def _free_table(free: Mapping[str, tuple[float, float, str]]) -> str:
    rows = [("free", "before", "after", "unit")]
    rows += [(label, f"{before:.8g}", f"{after:.8g}", unit) for label, (before, after, unit) in free.items()]
    return write_table(rows)


def _numbers(state: State) -> dict[str, Any]:
    scalars = {name: {"value": _finite(value), "unit": SCALARS[name]} for name, value in state.scalars.items()}
    profiles = {
        name: {"values": [_finite(value) for value in values.tolist()], "unit": PROFILES[name]}
        for name, values in state.profiles.items()
    }
    return scalars | profiles


def _force_numbers(force: ForceError) -> dict[str, Any]:
    return {
        "mean": _finite(force.mean),
        "largest": _finite(force.largest),
        "unit_newton_per_cubic_metre": _finite(force.density),
        "nodes": force.n_nodes,
    }


def _term(entry: ObjectiveValue) -> dict[str, Any]:
    return {
        "kind": "constraint" if entry.is_constraint else "objective",
        "unit": entry.unit,
        "cost_before": _finite(entry.before.cost),
        "cost_after": _finite(entry.after.cost),
        "largest_before": _finite(_largest(entry.before.values)),
        "largest_after": _finite(_largest(entry.after.values)),
    }


def _largest(values: np.ndarray) -> float:
    """Return a single value as it is, of several the largest magnitude."""
    return float(values[0]) if values.size == 1 else float(np.max(np.abs(values), initial=0.0))


def _finite(value: float) -> float | None:
    """Return a number as JSON can hold it: NaN and infinity are null."""
    return float(value) if np.isfinite(value) else None


def _words(name: str) -> str:
    return name.replace("_", " ")
