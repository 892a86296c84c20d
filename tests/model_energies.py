"""Model energies with known minima, written without the force-field package, for tests of relaxations."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

CONTACT = 2.0 ** (1.0 / 6.0)
"""Distance of the minimum of a Lennard-Jones pair in units of sigma."""


class Local(NamedTuple):
    energy: float
    gradient: np.ndarray
    hessian: np.ndarray


def cluster(x, epsilon=1.0, sigma=1.0) -> Local:
    """Sum of 4 epsilon ((sigma / r)^12 - (sigma / r)^6) over pairs, with derivatives written out."""
    n = len(x)
    energy, gradient, hessian = 0.0, np.zeros((n, 3)), np.zeros((n, 3, n, 3))
    for i, j in itertools.combinations(range(n), 2):
        u = x[i] - x[j]
        r = np.linalg.norm(u)
        a, b = (sigma / r) ** 12, (sigma / r) ** 6
        first, second = 4.0 * epsilon * (6.0 * b - 12.0 * a) / r, 4.0 * epsilon * (156.0 * a - 42.0 * b) / r**2
        e = u / r
        block = second * np.outer(e, e) + first / r * (np.eye(3) - np.outer(e, e))
        energy += 4.0 * epsilon * (a - b)
        for left, right, sign in ((i, i, 1.0), (j, j, 1.0), (i, j, -1.0), (j, i, -1.0)):
            hessian[left, :, right, :] += sign * block
        gradient[i] += first * e
        gradient[j] -= first * e
    return Local(energy, gradient.ravel(), hessian.reshape(3 * n, 3 * n))


def tetrahedron(seed: int, noise: float) -> np.ndarray:
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * CONTACT / np.sqrt(8.0)
    return corners + noise * np.random.default_rng(seed).uniform(-1.0, 1.0, size=(4, 3))


def distances(x) -> np.ndarray:
    return np.array([np.linalg.norm(a - b) for a, b in itertools.combinations(x, 2)])


def spring(x, k=100.0, r0=1.0) -> Local:
    """k (r - r0)^2 between two atoms."""
    u = x[0] - x[1]
    r = np.linalg.norm(u)
    b = np.concatenate([u, -u]) / r
    C = (np.kron([[1.0, -1.0], [-1.0, 1.0]], np.eye(3)) - np.outer(b, b)) / r
    d = r - r0
    return Local(k * d**2, 2.0 * k * d * b, 2.0 * k * (np.outer(b, b) + d * C))


# Mueller, Brown (1979), Theor. Chim. Acta 53, 75, doi:10.1007/BF00547608, with its stationary points to six digits as
# they are tabulated in the literature: minima, then saddles.
MUELLER_BROWN = np.array([[-200.0, -1, 0, -10, 1, 0], [-100, -1, 0, -10, 0, 0.5], [-170, -6.5, 11, -6.5, -0.5, 1.5]])
MUELLER_BROWN = np.vstack([MUELLER_BROWN, [15.0, 0.7, 0.6, 0.7, -1.0, 1.0]])
MUELLER_BROWN_MINIMA = (
    (-146.699517, -0.558224, 1.441726),
    (-108.166724, 0.623499, 0.028038),
    (-80.767818, -0.050011, 0.466694),
)
MUELLER_BROWN_SADDLES = ((-40.664844, -0.822002, 0.624313), (-72.248940, 0.212487, 0.292988))
HOLDERS = np.array([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]])
"""Three atoms without an energy: frozen, they keep the fourth one's directions apart."""


def mueller_brown(x) -> Local:
    """The surface of Mueller and Brown for the fourth of four atoms, in its x and y; harmonic in its z."""
    A, a, b, c, x0, y0 = MUELLER_BROWN.T
    u, v = x[3, 0] - x0, x[3, 1] - y0
    term = A * np.exp(a * u**2 + b * u * v + c * v**2)
    du, dv = 2 * a * u + b * v, b * u + 2 * c * v
    gradient, hessian = np.zeros(12), np.zeros((12, 12))
    gradient[9:] = term @ du, term @ dv, 200.0 * x[3, 2]
    hessian[9:, 9:] = np.diag([term @ (du**2 + 2 * a), term @ (dv**2 + 2 * c), 200.0])
    hessian[9, 10] = hessian[10, 9] = term @ (du * dv + b)
    return Local(float(term.sum() + 100.0 * x[3, 2] ** 2), gradient, hessian)


CHAIN = np.array([[-0.6, 1.4, 0.1], [0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [2.1, 0.9, 1.2]])
"""Four atoms near a minimum of `Chain` [A]."""


class Chain(NamedTuple):
    """Butane of united atoms: bonds, angles, a torsion, and the repulsion of its ends; derivatives by JAX."""

    bond_length: float = 1.53
    angle: float = 1.95
    torsion: float = 1.6
    repulsion: float = 2000.0

    def __call__(self, x) -> Local:
        with jax.enable_x64(True):
            energy, gradient, hessian = _chain(np.asarray(x), np.array(self))
        return Local(float(energy), np.asarray(gradient).ravel(), np.asarray(hessian).reshape(x.size, x.size))

    def mixed(self, x) -> np.ndarray:
        """Derivatives of the gradient with respect to the four parameters, shape (12, 4)."""
        with jax.enable_x64(True):
            return np.asarray(_chain_mixed(np.asarray(x), np.array(self))).reshape(x.size, 4)


def torsion_of(x) -> float:
    """Return the dihedral of four atoms [deg] by arccosine and the sign of a triple product."""
    b1, b2, b3 = np.diff(x, axis=0)
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    cosine = n1 @ n2 / np.linalg.norm(n1) / np.linalg.norm(n2)
    return float(np.degrees(np.sign(b1 @ n2) * np.arccos(np.clip(cosine, -1.0, 1.0))))


def angle_of(x, i, j, k) -> float:
    """Return an angle [deg] by arccosine."""
    u, v = x[i] - x[j], x[k] - x[j]
    return float(np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))))


def _chain_energy(x, p):
    bond_length, angle, torsion, repulsion = p
    b = jnp.diff(x, axis=0)
    r = jnp.sqrt(jnp.sum(b**2, axis=1))
    cosines = -jnp.sum(b[:-1] * b[1:], axis=1) / (r[:-1] * r[1:])
    n = jnp.cross(b[:-1], b[1:])
    cosine = n[0] @ n[1] / jnp.sqrt((n[0] @ n[0]) * (n[1] @ n[1]))
    # cos 3 phi = 4 cos^3 phi - 3 cos phi.
    turn = torsion * (1.0 + 4.0 * cosine**3 - 3.0 * cosine)
    ends = repulsion / jnp.sum((x[3] - x[0]) ** 2) ** 6
    return 300.0 * jnp.sum((r - bond_length) ** 2) + 60.0 * jnp.sum((jnp.arccos(cosines) - angle) ** 2) + turn + ends


@jax.jit
def _chain(x, p):
    gradient = jax.grad(_chain_energy)
    return _chain_energy(x, p), gradient(x, p), jax.jacfwd(gradient)(x, p)


@jax.jit
def _chain_mixed(x, p):
    return jax.jacfwd(jax.grad(_chain_energy), argnums=1)(x, p)


def relaxed_by_scipy(local, x, free=None):
    """Minimise over chosen Cartesian coordinates with SciPy's BFGS and return the geometry."""
    import scipy.optimize

    free = np.arange(x.size) if free is None else np.asarray(free)

    def geometry(y):
        flat = x.ravel().copy()
        flat[free] = y
        return flat.reshape(x.shape)

    found = scipy.optimize.minimize(
        lambda y: local(geometry(y)).energy,
        x.ravel()[free],
        jac=lambda y: local(geometry(y)).gradient[free],
        method="BFGS",
        options={"gtol": 1e-7, "maxiter": 2000},
    )
    return geometry(found.x)
