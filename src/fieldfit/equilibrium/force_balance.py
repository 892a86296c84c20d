"""Force balance J x B = grad p as residuals.

At each node there are two residuals, the radial and the helical component of the force (see the module
`fieldfit.equilibrium.field`) times volume, in units of a typical force:

    w F_r |grad r| sqrt g / f0      and      w sqrt g J^r |e_h| sqrt g / f0,

w being the quadrature weight times the square root of the number of nodes. With the minor radius a = sqrt|Rb_1 Zb_1|,
A = pi a^2, V = 2 pi R0 A and the field B = 1.25 Psi / A,

    f0 = B^2 V / (2 mu0 a).

The Jacobian is a product. Nineteen values at a node are linear in the parameters, and the residuals are a function of
these alone, node by node:

    r = force(u),  u = T p        dr/dp = sum_k (dforce/du_k) T_k.

The pointwise function is differentiated forward, in nineteen directions whatever the resolution, by dual numbers in
NumPy; the products with the tables T are linear algebra. A program of JAX for the same is faster per evaluation, 0.3 ms
instead of 1.5 at 364 nodes, but importing and compiling it takes longer than a whole solve. Where others trace the
residuals, they are traced.

References:
    Dudt, Kolemen (2020), Phys. Plasmas 27, 102513, doi:10.1063/5.0020743.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from fieldfit.equilibrium.dual import independent
from fieldfit.equilibrium.equilibrium import Equilibrium
from fieldfit.equilibrium.field import VACUUM_PERMEABILITY, force
from fieldfit.equilibrium.grid import Grid, quadrature_grid
from fieldfit.equilibrium.tables import QUANTITIES, by_quantity, node_tables, node_values
from fieldfit.errors import SettingsError
from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import Parameters
from fieldfit.typing import Matrix, Vector

TERMS = ("radial force", "helical force")


class ForceBalance(AbstractObjective):
    """The force that is left in an equilibrium, as residuals.

    Args:
        equilibrium: Start values, modes and profiles.
        grid: Where the force is evaluated; default: `quadrature_grid` of its resolution.
        normalization: Force that counts as one [N]; default: `typical_force` of the equilibrium.

    Raises:
        SettingsError: The normalization is not positive.

    Example:
        >>> import fieldfit
        >>> from fieldfit.equilibrium import Equilibrium, ForceBalance, PowerSeries, boundary_constraints
        >>> torus = Equilibrium.from_boundary(
        ...     4, Rb={0: 4.0, 1: 1.0}, Zb={-1: -1.5}, Psi=1.0, pressure=PowerSeries([0.0]), iota=PowerSeries([1.0])
        ... )
        >>> problem = fieldfit.Problem(ForceBalance(torus), constraints=boundary_constraints(torus))
        >>> bool(fieldfit.LeastSquaresOptimizer().optimize(problem).cost < 1e-5)
        True
    """

    def __init__(
        self, equilibrium: Equilibrium, *, grid: Grid | None = None, normalization: float | None = None
    ) -> None:
        chosen = typical_force(equilibrium) if normalization is None else float(normalization)
        if not (chosen > 0.0 and np.isfinite(chosen)):
            raise SettingsError(
                f"The force is to be measured in units of {chosen} N. Give a positive number, and an equilibrium with "
                "a flux and a boundary that are not zero."
            )
        self.equilibrium = equilibrium
        self.grid = quadrature_grid(equilibrium.resolution) if grid is None else grid
        self._parameters = equilibrium.parameters
        self._tables = node_tables(
            self.grid, equilibrium.mode_numbers, pressure=equilibrium.pressure, iota=equilibrium.iota
        )
        self._factors = self.grid.weights * np.sqrt(self.grid.size) / chosen
        self._columns = _Columns.of(self._parameters)

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return ObjectiveTraits(has_residuals=True, has_derivatives=True, is_traceable=True)

    def for_parameters(self, parameters: Parameters) -> ForceBalance:
        made = copy.copy(self)
        made._parameters = parameters
        made._columns = _Columns.of(parameters)
        return made

    def initial_state(self) -> None:
        return None

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        at_nodes = node_values(self._tables, self._parameters.split(values))
        # Coordinates that are singular somewhere give no finite force, which is for the optimizer to see.
        with np.errstate(all="ignore"):
            if not derivatives:
                found = self._factors * np.stack(force(by_quantity(at_nodes)))
                return evaluation_from_residuals(found.ravel(), None)
            residuals, partials = _partials(at_nodes, self._factors)
        jacobian = self._columns.jacobian(self._tables, partials)
        return evaluation_from_residuals(residuals.ravel(), jacobian, columns=self._columns.elements)

    def term_slices(self) -> dict[str, slice]:
        size = self.grid.size
        return {name: slice(place * size, (place + 1) * size) for place, name in enumerate(TERMS)}

    def traced(self, values: Any) -> Any:
        import jax.numpy as jnp

        at_nodes = node_values(self._tables, self._parameters.split(values))
        return (self._factors * jnp.stack(force(by_quantity(at_nodes)))).ravel()


def typical_force(equilibrium: Equilibrium) -> float:
    """Return f0 of the module, the magnetic pressure of the plasma over its minor radius times its volume [N]."""
    R0, minor_radius = equilibrium.Rb_lmn[0], equilibrium.typical_minor_radius
    if minor_radius == 0.0:
        return 0.0
    area = np.pi * minor_radius**2
    field = 1.25 * equilibrium.Psi / area
    return float(field**2 / (2.0 * VACUUM_PERMEABILITY * minor_radius) * 2.0 * np.pi * R0 * area)


@dataclass(frozen=True, eq=False)
class _Columns:
    """Elements of the flat vector that derivatives are with respect to, and the columns of each parameter array."""

    elements: Int[np.ndarray, " _"]
    blocks: Mapping[str, slice]

    @staticmethod
    def of(parameters: Parameters) -> _Columns:
        """Return those of the arrays that vary, or that something which varies follows."""
        leaders = {tie.leader for tie in parameters.ties.values()}
        places = parameters.split(np.arange(parameters.size))
        chosen = [
            entry.name
            for entry in parameters
            if entry.name in leaders or entry.name in parameters.ties or not np.all(entry.fixed)
        ]
        stops = np.cumsum([places[name].size for name in chosen], dtype=int).tolist()
        blocks = {name: slice(stop - places[name].size, stop) for name, stop in zip(chosen, stops, strict=True)}
        return _Columns(np.concatenate([np.zeros(0, dtype=int), *(places[name].ravel() for name in chosen)]), blocks)

    def jacobian(self, tables: Mapping[str, np.ndarray], partials: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the derivatives of all residuals, shape (2 nodes, elements)."""
        n_nodes = next(iter(tables.values())).shape[0]
        jacobian = np.zeros((2, n_nodes, self.elements.size))
        for name, block in self.blocks.items():
            # Boundary modes are in no table: they leave the force as it is.
            if name in tables:
                jacobian[:, :, block] = np.matmul(partials[name], tables[name]).transpose(1, 0, 2)
        return jacobian.reshape(2 * n_nodes, -1)


def _partials(at_nodes: Mapping[str, Matrix], factors: Vector) -> tuple[Matrix, dict[str, np.ndarray]]:
    """Return the residuals, shape (2, nodes), and their partial derivatives: name to shape (nodes, 2, quantities)."""
    names = list(at_nodes)
    stops = np.cumsum([at_nodes[name].shape[1] for name in names])
    inputs = independent(np.concatenate([at_nodes[name] for name in names], axis=1))
    quantities = [quantity for name in names for quantity in QUANTITIES[name]]
    found = force(dict(zip(quantities, inputs, strict=True)))
    residuals = factors * np.stack([component.value for component in found])
    slopes = factors * np.stack([component.slopes for component in found])
    # Nodes first: each has its own small matrix to multiply.
    blocks = np.split(np.ascontiguousarray(slopes.transpose(2, 0, 1)), stops[:-1], axis=2)
    return residuals, dict(zip(names, blocks, strict=True))
