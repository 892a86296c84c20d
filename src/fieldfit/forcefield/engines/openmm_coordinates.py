"""Internal coordinates as expressions of OpenMM, in A and rad.

Distance, angle and dihedral are functions of OpenMM, and the others are written with them as far as possible: an
expression of few distances has few derivatives, so it is compiled soon and evaluated fast. Scalar products of vectors
between particles are differences of squared distances,

    2 (b - a) . (d - c) = |b - c|^2 + |a - d|^2 - |b - d|^2 - |a - c|^2.

So, with M and N the midpoints of two bonds a-b and c-d,

    cosine              (r12^2 + r23^2 - r13^2) / (2 r12 r23)
    dipole coupling     [u1 . u2 - 3 (u1 . n) (u2 . n)] / |M - N|^3,  n the direction from M to N
    wilson angle        asin[sin(j-c-k) sin(dihedral i-j-c-k)]

These are other formulas than those of `geometry`, so each checks the other. The linear bend is written out in the
positions of the particles: it is smooth through 180 degrees, where OpenMM bounds the derivative of its angle, and
differences of distances would lose its digits. The guarded dihedral takes the function of positions that OpenMM has
beside the one of particles, because the force code of the latter divides 0 by 0 if three atoms are in line.

The site distance is not here: the engine makes its sites particles of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.forms import InternalCoordinate
from fieldfit.forcefield.geometry.dihedrals import IN_LINE

A_PER_NM = 10.0
"""One nm [A]."""

AXES = "xyz"


def write_coordinate(coordinate: InternalCoordinate, *, label: str) -> str:
    """Write an internal coordinate.

    Args:
        coordinate: The coordinate.
        label: Name of the form for messages.

    Returns:
        An expression [A or rad] of the particles "p1", "p2" ... of a term.

    Raises:
        ForceFieldError: The coordinate has no expression.
    """
    if coordinate.kind not in EXPRESSIONS:
        raise ForceFieldError(
            f"The form {label} acts on the coordinate {coordinate.kind!r}, which the OpenMM engine cannot write. It "
            f"knows {', '.join(EXPRESSIONS)}. Take another engine, such as jax."
        )
    return EXPRESSIONS[coordinate.kind]([f"{atom + 1}" for atom in coordinate.atoms])


def _distance(atoms: Sequence[str]) -> str:
    return f"{A_PER_NM}*{_length(*atoms)}"


def _angle(atoms: Sequence[str]) -> str:
    return _call("angle", *atoms)


def _dihedral(atoms: Sequence[str]) -> str:
    return _call("dihedral", *atoms)


def _cosine(atoms: Sequence[str]) -> str:
    i, j, k = atoms
    return f"{_product((j, i), (j, k))}/({_length(i, j)}*{_length(j, k)})"


def _linear_bend(atoms: Sequence[str]) -> str:
    i, j, k = atoms
    return "+".join(f"({_direction(axis, i, j)}+{_direction(axis, k, j)})^2" for axis in AXES)


def _guarded_dihedral(atoms: Sequence[str]) -> str:
    positions = ",".join(f"{axis}{atom}" for atom in atoms for axis in AXES)
    is_bent = "*".join(f"step(sin({_call('angle', *ends)})-{IN_LINE})" for ends in (atoms[:3], atoms[1:]))
    return f"select({is_bent},pointdihedral({positions}),0)"


def _wilson_angle(atoms: Sequence[str]) -> str:
    centre, i, j, k = atoms
    return f"asin(sin({_call('angle', j, centre, k)})*sin({_call('dihedral', i, j, centre, k)}))"


def _dipole_coupling(atoms: Sequence[str]) -> str:
    a, b, c, d = atoms
    across = "+".join(_square(one, other) for one in (a, b) for other in (c, d))
    # |M - N|^2, and four times the products of the bond vectors with N - M, hence 3 / 16.
    square = f"(0.25*({across}-{_square(a, b)}-{_square(c, d)}))"
    along_1 = f"({_square(c, a)}-{_square(c, b)}+{_square(d, a)}-{_square(d, b)})"
    along_2 = f"({_square(d, a)}-{_square(c, a)}+{_square(d, b)}-{_square(c, b)})"
    lengths = f"({_length(a, b)}*{_length(c, d)})"
    in_nm = f"({_product((a, b), (c, d))}-3*{along_1}*{along_2}/(16*{square}))/({lengths}*{square}^1.5)"
    return f"{A_PER_NM**-3}*{in_nm}"


EXPRESSIONS: Mapping[str, Callable[[Sequence[str]], str]] = {
    "distance": _distance,
    "angle": _angle,
    "cosine": _cosine,
    "linear bend": _linear_bend,
    "dihedral": _dihedral,
    "guarded dihedral": _guarded_dihedral,
    "wilson angle": _wilson_angle,
    "dipole coupling": _dipole_coupling,
}
"""Kind of coordinate to the function that writes it for the numbers of its particles."""


def _call(function: str, *atoms: str) -> str:
    return f"{function}({','.join(f'p{atom}' for atom in atoms)})"


def _length(i: str, j: str) -> str:
    """Write the distance of two particles [nm], in one order: OpenMM would take i-j and j-i for two variables."""
    return _call("distance", *sorted((i, j)))


def _square(i: str, j: str) -> str:
    return f"{_length(i, j)}^2"


def _product(first: tuple[str, str], second: tuple[str, str]) -> str:
    """Write the scalar product of the vectors between two pairs of particles [nm^2], each from its first to its second.

    A particle that stands in both pairs has no distance from itself.
    """
    (a, b), (c, d) = first, second
    signs = {(b, c): "+", (a, d): "+", (b, d): "-", (a, c): "-"}
    squares = "".join(f"{sign}{_square(*ends)}" for ends, sign in signs.items() if ends[0] != ends[1])
    return f"(0.5*({squares.removeprefix('+')}))"


def _direction(axis: str, i: str, j: str) -> str:
    """Write a component of the unit vector from particle j to particle i."""
    return f"({axis}{i}-{axis}{j})/{_length(i, j)}"
