"""Every analytic derivative of internal coordinates against differences of 50-digit values.

The values are written here a second time, in decimal arithmetic, from the textbook definitions: distances and the
angles of vectors by Pythagoras and the arctangent. With a step of 1e-14 A a central difference is exact to 1e-26 of
the scale of the third derivatives, and to 1e-22 where it divides rounding errors, so whatever is found is the error
of the derivatives under test.
"""

import decimal
import itertools
import math
from decimal import Decimal

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.forcefield.geometry import COORDINATES
from fieldfit.precision import in_double_precision

DIGITS = decimal.Context(prec=50)
STEP = Decimal("1e-14")
DERIVATIVES = {name: in_double_precision(jax.jit(entry.derivatives)) for name, entry in COORDINATES.items()}


def arctangent(x):
    """Return atan(x) by halving the argument until its series converges fast."""
    halvings = 0
    while abs(x) > Decimal("0.01"):
        x = x / (1 + (1 + x * x).sqrt())
        halvings += 1
    # Fourteen terms of x^(2 k + 1) / (2 k + 1) with x up to 0.01 leave 1e-58.
    series = sum((-1) ** k * x ** (2 * k + 1) / (2 * k + 1) for k in range(14))
    return series * 2**halvings


def arctangent2(y, x):
    if abs(y) > abs(x):
        return (PI / 2 if y > 0 else -PI / 2) - arctangent(x / y)
    return arctangent(y / x) + (0 if x > 0 else PI if y >= 0 else -PI)


with decimal.localcontext(DIGITS):
    PI = 4 * arctangent(Decimal(1))


def length(u):
    return np.dot(u, u).sqrt()


def unit(u):
    return u / length(u)


def cross(u, v):
    return np.array([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])


def distance(x):
    return length(x[0] - x[1])


def angle(x):
    u, v = x[0] - x[1], x[2] - x[1]
    return arctangent2(length(cross(u, v)), np.dot(u, v))


def cosine(x):
    return np.dot(unit(x[0] - x[1]), unit(x[2] - x[1]))


def linear_bend(x):
    s = unit(x[0] - x[1]) + unit(x[2] - x[1])
    return np.dot(s, s)


def dihedral(x):
    # Components of the last bond along the two perpendiculars of the axis, counted from the first bond.
    axis = unit(x[2] - x[1])
    first, last = x[0] - x[1], x[3] - x[2]
    reference = unit(first - np.dot(first, axis) * axis)
    return arctangent2(np.dot(last, cross(axis, reference)), np.dot(last, reference))


def wilson_angle(x):
    bond, normal = x[3] - x[0], unit(cross(x[1] - x[0], x[2] - x[0]))
    height = np.dot(bond, normal)
    return arctangent2(height, length(bond - height * normal))


def site_distance(x, offset_i, offset_j):
    return length(x[0] + offset_i * (x[0] - x[1]) - x[2] - offset_j * (x[2] - x[3]))


def dipole_coupling(x):
    u1, u2 = unit(x[1] - x[0]), unit(x[3] - x[2])
    R = (x[2] + x[3] - x[0] - x[1]) / 2
    e, r = unit(R), length(R)
    return (np.dot(u1, u2) - 3 * np.dot(u1, e) * np.dot(u2, e)) / r**3


VALUES = {
    "distance": distance,
    "angle": angle,
    "cosine": cosine,
    "linear bend": linear_bend,
    "dihedral": dihedral,
    "guarded dihedral": dihedral,
    "wilson angle": wilson_angle,
    "site distance": site_distance,
    "dipole coupling": dipole_coupling,
}


def differences(name, x, constants):
    """Return q, b and C of a coordinate from differences of its 50-digit values."""
    with decimal.localcontext(DIGITS):
        origin = np.array([Decimal(float(entry)) for entry in x.ravel()])
        fixed = [Decimal(entry) for entry in constants]

        def value(*moves):
            y = origin.copy()
            for index, sign in moves:
                y[index] += sign * STEP
            q = VALUES[name](y.reshape(-1, 3), *fixed)
            # No small step changes a coordinate by pi: a dihedral has passed 180 degrees.
            return q - 2 * PI * ((q - centre) / (2 * PI)).to_integral_value()

        n, centre = x.size, VALUES[name](origin.reshape(-1, 3), *fixed)
        plus, minus = [value((i, 1)) for i in range(n)], [value((i, -1)) for i in range(n)]
        b = np.array([float((p - m) / (2 * STEP)) for p, m in zip(plus, minus, strict=True)])
        C = np.zeros((n, n))
        for i, j in itertools.combinations_with_replacement(range(n), 2):
            # Exact to second order, and for i = j the usual second difference of twice the step.
            mixed = value((i, 1), (j, 1)) - value((i, 1), (j, -1)) - value((i, -1), (j, 1)) + value((i, -1), (j, -1))
            C[i, j] = C[j, i] = float(mixed / (4 * STEP**2))
        return float(centre), b, C


def bent(degrees):
    """Return three atoms that form an angle, turned into no special direction."""
    t = math.radians(degrees)
    x = np.array([[1.1, 0.0, 0.0], [0.0, 0.0, 0.0], [1.6 * math.cos(t), 1.6 * math.sin(t), 0.0]])
    return x @ TURN.T + [0.3, -0.2, 0.7]


def twisted(degrees, left=110.0, right=105.0):
    """Return four atoms with a dihedral and the bond angles at its ends."""
    t, a, c = (math.radians(value) for value in (degrees, left, right))
    first = 1.1 * np.array([math.cos(a), math.sin(a), 0.0])
    last = 1.3 * np.array([-math.cos(c), math.sin(c) * math.cos(t), math.sin(c) * math.sin(t)])
    axis = np.array([1.5, 0.0, 0.0])
    x = np.stack([first, np.zeros(3), axis, axis + last])
    return x @ TURN.T + [0.3, -0.2, 0.7]


def pyramid(degrees):
    """Return a centre and three neighbours, the last one so many degrees above the plane of the others."""
    t = math.radians(degrees)
    last = 1.4 * np.array([math.cos(t), 0.1 * math.cos(t), math.sin(t)])
    x = np.array([[0.0, 0.0, 0.0], [-0.6, 0.9, 0.0], [-0.5, -1.0, 0.0], last])
    return x @ TURN.T + [0.3, -0.2, 0.7]


# An orthogonal matrix with no zero in it: (2, -1, 2), (2, 2, -1), (-1, 2, 2) over 3.
TURN = np.array([[2.0, -1.0, 2.0], [2.0, 2.0, -1.0], [-1.0, 2.0, 2.0]]) / 3.0

LINE = np.array([[-1.1, 0.0, 0.0], [0.0, 0.0, 0.0], [1.6, 0.0, 0.0]])
HYDROGENS = np.array([[0.1, 1.0, 0.2], [0.0, 0.0, 0.0], [1.9, 1.2, -0.3], [2.6, 0.4, -0.2]])
IN_ROW = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [4.0, 0.0, 0.0]])

ROUNDING = 5e-15
"""Tolerance in units of the largest derivative: some tens of rounding errors."""

# Coordinate, atoms, constants, tolerance. Rounding of the positions moves a bond by 1e-16 rad, which counts 1 / sin as
# much for directions near 180 degrees, where they are the direction of a small difference.
CASES = {
    "distance": ("distance", HYDROGENS[:2], (), ROUNDING),
    "angle of 110 degrees": ("angle", bent(110.0), (), ROUNDING),
    "angle of 30 degrees": ("angle", bent(30.0), (), ROUNDING),
    "angle of 179 degrees": ("angle", bent(179.0), (), ROUNDING / math.sin(math.radians(1.0))),
    "angle of 179.9 degrees": ("angle", bent(179.9), (), ROUNDING / math.sin(math.radians(0.1))),
    "cosine at 110 degrees": ("cosine", bent(110.0), (), ROUNDING),
    "cosine at 179 degrees": ("cosine", bent(179.0), (), ROUNDING),
    "cosine at 179.9 degrees": ("cosine", bent(179.9), (), ROUNDING),
    "cosine at 180 degrees": ("cosine", LINE, (), ROUNDING),
    "linear bend at 160 degrees": ("linear bend", bent(160.0), (), ROUNDING),
    "linear bend at 179 degrees": ("linear bend", bent(179.0), (), ROUNDING),
    "linear bend at 179.9 degrees": ("linear bend", bent(179.9), (), ROUNDING),
    "linear bend at 180 degrees": ("linear bend", LINE, (), ROUNDING),
    "linear bend at 180 degrees, turned": ("linear bend", bent(180.0), (), ROUNDING),
    "dihedral of 60 degrees": ("dihedral", twisted(60.0), (), ROUNDING),
    "dihedral of 0 degrees": ("dihedral", twisted(0.0), (), ROUNDING),
    "dihedral of 180 degrees": ("dihedral", twisted(180.0), (), ROUNDING),
    "dihedral of -179.9 degrees": ("dihedral", twisted(-179.9), (), ROUNDING),
    "dihedral at an angle of 179 degrees": (
        "dihedral",
        twisted(70.0, left=179.0),
        (),
        ROUNDING / math.sin(math.radians(1.0)),
    ),
    "guarded dihedral of 60 degrees": ("guarded dihedral", twisted(60.0), (), ROUNDING),
    "guarded dihedral at an angle of 172 degrees": ("guarded dihedral", twisted(40.0, right=172.0), (), ROUNDING),
    "wilson angle of a planar centre": ("wilson angle", pyramid(0.0), (), ROUNDING),
    "wilson angle of 0.01 degrees": ("wilson angle", pyramid(0.01), (), ROUNDING),
    "wilson angle of 40 degrees": ("wilson angle", pyramid(40.0), (), ROUNDING),
    "wilson angle of -89 degrees": ("wilson angle", pyramid(-89.0), (), ROUNDING / math.sin(math.radians(1.0))),
    "site distance": ("site distance", HYDROGENS, (-0.077, 0.05), ROUNDING),
    "site distance with one offset": ("site distance", HYDROGENS, (-0.077, 0.0), ROUNDING),
    "site distance without offsets": ("site distance", HYDROGENS, (0.0, 0.0), ROUNDING),
    "site distance of bonds in a row": ("site distance", IN_ROW, (-0.1, 0.2), ROUNDING),
    "dipole coupling": ("dipole coupling", HYDROGENS, (), ROUNDING),
    "dipole coupling in a plane": ("dipole coupling", twisted(0.0)[[0, 1, 3, 2]], (), ROUNDING),
    "dipole coupling of bonds in a row": ("dipole coupling", IN_ROW, (), ROUNDING),
}


@pytest.mark.parametrize("case", CASES)
def test_analytic_derivatives_are_those_of_50_digits(case):
    name, x, constants, tolerance = CASES[case]
    found = DERIVATIVES[name](x, *constants)
    q, b, C = differences(name, x, constants)
    # -180 and 180 degrees are the same dihedral.
    turns = round((float(found.q) - q) / (2.0 * math.pi))
    assert_allclose(found.q - turns * 2.0 * math.pi, q, rtol=1e-14, atol=1e-15)
    assert_allclose(found.b, b, rtol=0.0, atol=tolerance * max(1.0, np.abs(b).max()))
    assert_allclose(found.C, C, rtol=0.0, atol=tolerance * max(1.0, np.abs(C).max()))


def test_every_coordinate_has_cases():
    assert {entry[0] for entry in CASES.values()} == set(COORDINATES)
