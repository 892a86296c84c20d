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

JAX differentiates the pointwise function, forward in as many directions whatever the resolution; the products with the
tables T are left to linear algebra. The compiled program depends on the number of nodes only. Two reverse passes
compute less, but XLA takes three times as long to compile them, and half as long again to run them.

References:
    Dudt, Kolemen (2020), Phys. Plasmas 27, 102513, doi:10.1063/5.0020743.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from fieldfit.equilibrium.equilibrium import Equilibrium
from fieldfit.equilibrium.field import VACUUM_PERMEABILITY, force
from fieldfit.equilibrium.grid import Grid, quadrature_grid
from fieldfit.equilibrium.tables import by_quantity, node_tables, node_values
from fieldfit.errors import SettingsError
from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import Parameters
from fieldfit.precision import in_double_precision
from fieldfit.typing import Vector

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
        if not derivatives:
            return evaluation_from_residuals(np.ravel(_compiled_residuals()(at_nodes, self._factors)), None)
        residuals, partials = _compiled_partials()(at_nodes, self._factors)
        jacobian = self._columns.jacobian(self._tables, partials)
        return evaluation_from_residuals(np.ravel(residuals), jacobian, columns=self._columns.elements)

    def term_slices(self) -> dict[str, slice]:
        size = self.grid.size
        return {name: slice(place * size, (place + 1) * size) for place, name in enumerate(TERMS)}

    def traced(self, values: Any) -> Any:
        at_nodes = node_values(self._tables, self._parameters.split(values))
        return _residuals(at_nodes, self._factors).ravel()


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


def _residuals(at_nodes: Mapping[str, Any], factors: Any) -> Any:
    """Return both residuals of every node, shape (2, nodes); works on traced arrays."""
    import jax.numpy as jnp

    return factors * jnp.stack(force(by_quantity(at_nodes)))


@functools.cache
def _compiled_residuals() -> Callable[..., Any]:
    import jax

    return in_double_precision(jax.jit(_residuals))


@functools.cache
def _compiled_partials() -> Callable[..., Any]:
    import jax

    return in_double_precision(jax.jit(_partials))


def _partials(at_nodes: Mapping[str, Any], factors: Any) -> Any:
    """Return the residuals and their partial derivatives: name to shape (nodes, 2, quantities)."""
    import jax
    import jax.numpy as jnp

    names = list(at_nodes)
    stops = np.cumsum([at_nodes[name].shape[1] for name in names])

    def along(direction: Any) -> Any:
        # Nodes do not mix: one direction at all nodes has the partial derivatives of each.
        parts = dict(zip(names, jnp.split(direction, stops[:-1]), strict=True))
        tangents = {name: jnp.broadcast_to(parts[name], at_nodes[name].shape) for name in at_nodes}
        return jax.jvp(lambda values: _residuals(values, factors), (at_nodes,), (tangents,))[1]

    found = jax.vmap(along, out_axes=2)(jnp.eye(stops[-1]))
    blocks = dict(zip(names, jnp.split(found.swapaxes(0, 1), stops[:-1], axis=2), strict=True))
    return _residuals(at_nodes, factors), blocks
