"""Inner and outer problems with known answers."""

import numpy as np

import fieldfit
from fieldfit import FunctionObjective, Parameter, Parameters
from fieldfit.projections import ProximalObjective

N_MASSES = 30
"""Masses of the chain."""

N_GROUPS = 5
"""Groups of springs that share a rest length."""

LOAD = 0.05
"""Force that grows along the chain, in units of spring constant times length."""


def cubic(start=0.5, y=1.0):
    """x^3 + x = y, which has one real root for every y."""
    return FunctionObjective(lambda p: p["x"] ** 3 + p["x"] - p["y"], {"x": start, "y": y})


def cubic_root(y):
    """The real root of x^3 + x = y by Cardano's formula."""
    half, root = y / 2.0, np.sqrt(y**2 / 4.0 + 1.0 / 27.0)
    return np.cbrt(half + root) + np.cbrt(half - root)


def chain(**options):
    """Thirty masses between walls on springs of five rest lengths: their displacements follow wanted ones.

    Springs stiffen with the cube of their extension. Returns the objective and the wanted rest lengths.
    """
    groups = np.repeat(np.arange(N_GROUPS), (N_MASSES + 1) // N_GROUPS + 1)[: N_MASSES + 1]
    load = LOAD * np.linspace(0.0, 1.0, N_MASSES)
    wanted = np.array([0.9, 1.2, 1.0, 0.8, 1.1])

    def forces(p):
        import jax.numpy as jnp

        ends = jnp.zeros(1), jnp.full(1, N_MASSES + 1.0)
        stretch = jnp.diff(jnp.concatenate([ends[0], p["place"], ends[1]])) - p["rest"][groups]
        tension = stretch + 2.0 * stretch**3
        return jnp.diff(tension) + load

    start = {"place": np.arange(1.0, N_MASSES + 1.0), "rest": np.ones(N_GROUPS)}
    equality = FunctionObjective(forces, start, name="forces")
    there = FunctionObjective(lambda p: p["place"], {"place": start["place"]})
    solved = ProximalObjective(there, equality, inner="place")
    target = solved.evaluate(wanted, solved.initial_state(), derivatives=False).residuals
    # Only differences of rest lengths move masses between walls, so the last one is given.
    free = np.array([False] * (N_GROUPS - 1) + [True])
    outer = Parameters([Parameter("place", start["place"]), Parameter("rest", np.where(free, wanted, 1.0), fixed=free)])
    goal = fieldfit.Goal(target=target)
    fit = FunctionObjective(lambda p: p["place"], Parameters([outer["place"]]), goal=goal)
    held = FunctionObjective(forces, outer, name="forces")
    return ProximalObjective(fit, held, inner="place", **options), wanted


def differences(objective, values, state, step=1e-5):
    """Central differences of residuals or cost by full solves from one state."""
    columns = []
    for index in range(values.size):
        move = np.zeros_like(values)
        move[index] = step * max(1.0, abs(values[index]))
        ends = [objective.evaluate(values + sign * move, state, derivatives=False) for sign in (1.0, -1.0)]
        outputs = [np.atleast_1d(end.cost if end.residuals is None else end.residuals) for end in ends]
        columns.append((outputs[0] - outputs[1]) / (2.0 * move[index]))
    return np.stack(columns, axis=1)
