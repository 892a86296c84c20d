"""Small equilibria for tests."""

from fieldfit.equilibrium import Equilibrium, PowerSeries


def torus(resolution, shape=0.0):
    """Return a torus of major radius 3 and minor radius 1 with a boundary that is circular for shape 0, unsolved."""
    return Equilibrium.from_boundary(
        resolution,
        Rb={0: 3.0, 1: 1.0, 2: shape},
        Zb={-1: -1.0 - 3.0 * shape, -2: shape},
        Psi=3.0,
        pressure=PowerSeries([2000.0, -2000.0], powers=[0, 2]),
        iota=PowerSeries([0.9, -0.4], powers=[0, 2]),
    )
