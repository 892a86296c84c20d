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

JAX differentiates the pointwise function, by two reverse passes whatever the resolution; the products with the tables T
are left to linear algebra. The compiled program depends on the number of nodes only.

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
        self._columns = _Columns.of(self._parameters, tuple(self._tables))

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return ObjectiveTraits(has_residuals=True, has_derivatives=True, is_traceable=True)

    def for_parameters(self, parameters: Parameters) -> ForceBalance:
        made = copy.copy(self)
        made._parameters = parameters
        made._columns = _Columns.of(parameters, tuple(self._tables))
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
    """Which parameter arrays vary, and where their elements are in the flat vector."""

    names: tuple[str, ...]
    elements: np.ndarray

    @staticmethod
    def of(parameters: Parameters, names: tuple[str, ...]) -> _Columns:
        varied = {entry.name for entry in parameters if not np.all(entry.fixed) or entry.name in parameters.ties}
        places = parameters.split(np.arange(parameters.size))
        # A boundary mode leaves the force as it is, but who asks for its derivative gets the zeros.
        chosen = tuple(name for name in parameters.names if name in varied)
        elements = np.concatenate([np.zeros(0, dtype=int), *(places[name].ravel() for name in chosen)])
        return _Columns(chosen, elements)

    def jacobian(self, tables: Mapping[str, np.ndarray], partials: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the derivatives of all residuals with respect to these elements, shape (2 nodes, elements)."""
        n_nodes = next(iter(tables.values())).shape[0]
        jacobian = np.zeros((2, n_nodes, self.elements.size))
        start = 0
        for name in self.names:
            size = tables[name].shape[2] if name in tables else 0
            jacobian[:, :, start : start + size] = np.matmul(partials[name], tables[name]).transpose(1, 0, 2)
            start += size
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
    import jax.numpy as jnp

    def partials(at_nodes: Any, factors: Any) -> Any:
        found, backward = jax.vjp(lambda values: _residuals(values, factors), at_nodes)
        # Nodes do not mix, so the sum over the nodes of one component has the partial derivatives of each node.
        ones = jnp.ones_like(factors)
        rows = [backward(jnp.stack(rows))[0] for rows in ((ones, 0.0 * ones), (0.0 * ones, ones))]
        return found, jax.tree.map(lambda radial, helical: jnp.stack([radial, helical], axis=1), *rows)

    return in_double_precision(jax.jit(partials))
