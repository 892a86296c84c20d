"""Equilibria of DESC for tests."""

from desc.equilibrium import Equilibrium
from desc.geometry import FourierRZToroidalSurface
from desc.profiles import PowerSeriesProfile


def solovev(resolution):
    """Return DESC's example SOLOVEV, unsolved (desc/examples, release 0.17)."""
    boundary = FourierRZToroidalSurface(
        R_lmn=[3.999, 1.026, -0.068],
        Z_lmn=[-1.58, -0.01],
        modes_R=[[0, 0], [1, 0], [2, 0]],
        modes_Z=[[-1, 0], [-2, 0]],
    )
    return Equilibrium(
        surface=boundary,
        L=resolution,
        M=resolution,
        pressure=PowerSeriesProfile([0.125, -0.125], modes=[0, 2]),
        iota=PowerSeriesProfile([1.0]),
        Psi=1.0,
    )
