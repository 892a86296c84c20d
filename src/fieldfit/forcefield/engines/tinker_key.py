"""The keyword file (.key) that gives Tinker the terms of a molecule, each with its own values.

Tinker finds parameters by the classes of atoms. Here every atom is a type and a class of its own, numbered like the
atom. So each term becomes one parameter line that fits nowhere else, and Tinker's rules for equal classes, wildcards
and small rings never apply. With d a displacement [A], D one in degrees, R and eps a van der Waals radius and depth:

    form                              line        energy that Tinker computes
    harmonic_bond, mm3_bond           BOND        k d^2 (1 + BOND-CUBIC d + BOND-QUARTIC d^2)
    harmonic_angle, mm3_angle         ANGLE       ANGLEUNIT k D^2 (1 + ANGLE-CUBIC D + ... + ANGLE-SEXTIC D^4)
    linear_bend                       ANGLEF      2 ANGLEUNIT k (180/pi/n)^2 (1 + cos(n theta - a)); n = 1, a = 0
    urey_bradley                      UREYBRAD    k d^2
    cosine_torsion                    TORSION     sum of k_n (1 + cos(n phi - gamma_n)), n from 1 to 6
    periodic_improper                 IMPTORS     the same, n from 1 to 3, the third atom at the centre
    harmonic_improper with phi0 = 0   IMPROPER    k phi^2 [rad], the first atom at the centre
    stretch_bend                      STRBND      STRBNDUNIT (k1 d1 + k2 d2) D; k1 = k2
    torsion_stretch                   STRTORS     sum over three bonds and n of k d (1 + cos(n phi - gamma_n))
    lennard_jones (_geometric)        VDW         eps ((rm/r)^12 - 2 (rm/r)^6), rm by RADIUSRULE, EPSILONRULE GEOMETRIC
    buckingham without offset         VDW         eps (A-EXPTERM exp(-B-EXPTERM r/rm) - C-EXPTERM (rm/r)^6)
    lennard_jones_pair, buckingham_pair   VDWPR   rm and eps of a pair
    coulomb, point_charges            CHARGE      ELECTRIC q_i q_j / (DIELECTRIC r)

Force constants are in kcal/mol, A and rad without a half, as ours are; ANGLEUNIT and STRBNDUNIT are the conversions of
degrees. The unit of IMPROPER has changed between versions together with its default, so the default is left. STRTORS
takes its gamma_n from TORSION, so the one of n = 3 must be 0; of its nine constants eight are 0. Pairs separated by
one or two bonds do not interact, those separated by three do with VDW-14-SCALE and CHG-14-SCALE. Nothing is cut off,
since molecules are not periodic.

The site of a van der Waals term lies on the bond of its atom, as a fraction of the bond, in Tinker as here, for atoms
with one bond only.

Left out are forms that Tinker cannot compute exactly: Morse bonds (its depth is k / 4 for all), out-of-plane terms
that are means over three angles, bend-bend (its constants belong to atoms, not pairs of angles), stretch-stretch,
switched torsions, bond dipoles (its debye has changed between versions), the mixing rule of Waldman and Hagler, and
charges that act from shifted sites. Below half of rm, Tinker replaces the Buckingham energy by a wall of its own:
`check_contacts` refuses such geometries.

Tinker looks for all bonds, angles and torsions that follow from the bonded atoms and stops if one has no parameters;
those without a term get a force constant of 0. It would ignore a line elsewhere, so that is refused.

Keywords and energies: Ponder, Tinker User's Guide, section "Keywords" (https://dasher.wustl.edu/tinker/), and the
sources kbond.f, kangle.f, eangle.f, estrbnd.f, ktors.f, kimptor.f, kimprop.f, eimprop.f, kstrtor.f, estrtor.f, kvdw.f,
ebuck.f, kcharge.f, prmkey.f of https://github.com/TinkerTools/tinker; Rackers et al. (2018),
doi:10.1021/acs.jctc.8b00529.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fieldfit.errors import EvaluationError, ForceFieldError
from fieldfit.forcefield.assignment import Terms
from fieldfit.forcefield.elements import atomic_number
from fieldfit.forcefield.forms import FORMS
from fieldfit.forcefield.forms.form import DEGREE
from fieldfit.forcefield.forms.mm3 import BEND_SEXTIC, DISPERSION, REPULSION, STEEPNESS, STRETCH_CUBIC
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.nonbonded import Nonbonded
from fieldfit.typing import Matrix, Vector

GENERAL = (
    "parameters none",
    "digits 10",
    "openmp-threads 1",
    *(f"{kind}term none" for kind in ("dipole", "chgdpl", "mpole", "polarize", "solvate")),
    f"angleunit {DEGREE**2!r}",
    f"strbndunit {DEGREE!r}",
    "bondtype HARMONIC",
    "radiustype R-MIN",
    "radiussize RADIUS",
    "epsilonrule GEOMETRIC",
    f"a-expterm {REPULSION!r}",
    f"b-expterm {STEEPNESS!r}",
    f"c-expterm {DISPERSION!r}",
)
"""Keywords of every molecule."""

BOND_POLYNOMIALS = {"harmonic_bond": (0.0, 0.0), "mm3_bond": (-STRETCH_CUBIC, 7.0 / 12.0 * STRETCH_CUBIC**2)}
ANGLE_POLYNOMIALS = {"harmonic_angle": (0.0,) * len(BEND_SEXTIC), "mm3_angle": BEND_SEXTIC}
VDW_TYPES = {
    "lennard_jones": "LENNARD-JONES",
    "lennard_jones_geometric": "LENNARD-JONES",
    "lennard_jones_pair": "LENNARD-JONES",
    "buckingham": "BUCKINGHAM",
    "buckingham_pair": "BUCKINGHAM",
}
RADIUS_RULES = {"lennard_jones": "ARITHMETIC", "lennard_jones_geometric": "GEOMETRIC", "buckingham": "ARITHMETIC"}
VDW_PAIRS = ("lennard_jones_pair", "buckingham_pair")
BUCKINGHAM = ("buckingham", "buckingham_pair")
NO_VDW = (1.0, 0.0)
"""Radius [A] and depth [kcal/mol] of an atom all of whose van der Waals terms are those of special pairs."""

CHARGES = ("coulomb", "point_charges")
COMPUTED = frozenset(
    {*BOND_POLYNOMIALS, *ANGLE_POLYNOMIALS, *VDW_TYPES, *CHARGES, "linear_bend", "urey_bradley", "cosine_torsion"}
    | {"periodic_improper", "harmonic_improper", "stretch_bend", "torsion_stretch"}
)
"""Names of the forms that Tinker computes."""

LARGEST_VALENCE = 8
"""Bonded neighbours of an atom that Tinker has room for (its parameter maxval)."""

LONGEST_LINE = 240
"""Characters of a line that Tinker reads."""

TORSION_FOLDS = 6
IMPROPER_FOLDS = 3

EXPONENTIAL_END = 0.5
"""Distance in units of rm below which Tinker replaces the Buckingham energy by a wall."""

Atoms = tuple[int, ...]


class Term(NamedTuple):
    """One term: the name of its form, its atoms, parameters p in internal units and constants s."""

    form: str
    atoms: Atoms
    p: tuple[float, ...]
    s: tuple[float, ...]


def write_key(molecule: Molecule, terms: Iterable[Terms], nonbonded: Nonbonded | None, p: Vector) -> str:
    """Return the keyword file of a molecule.

    Args:
        molecule: The molecule.
        terms: Its terms.
        nonbonded: Factors and constants of its pair interactions.
        p: Parameters of the force field in internal units.

    Raises:
        ForceFieldError: Tinker cannot express a term, or forms exclude each other.
    """
    found = _with_values(terms, p)
    bonds = molecule.bonds
    angles = [(i, j, k) for j, around in enumerate(molecule.neighbours) for i, k in itertools.combinations(around, 2)]
    torsions = _torsions(molecule)
    lines = [
        *GENERAL,
        *_polynomials(found),
        *_atom_lines(molecule),
        *_bond_lines(_on(bonds, "bond", _select(found, BOND_POLYNOMIALS)), bonds),
        *_angle_lines(_on(angles, "angle", _select(found, (*ANGLE_POLYNOMIALS, "linear_bend"))), angles),
        *(_line("ureybrad", place, *term.p) for place, term in _on(angles, "angle", found["urey_bradley"]).items()),
        *(
            _line("strbnd", place, *term.p[:1] * 2)
            for place, term in _on(angles, "angle", found["stretch_bend"]).items()
        ),
        *_torsion_lines(found, torsions),
        *_improper_lines(molecule, found),
        *_vdw_lines(molecule, found, nonbonded),
        *_charge_lines(molecule, found, nonbonded),
    ]
    return "\n".join(lines) + "\n"


def check_contacts(terms: Iterable[Terms], p: Vector, x: Matrix) -> None:
    """Make sure that no Buckingham pair is so close that Tinker replaces its energy.

    Args:
        terms: Terms of the molecule.
        p: Parameters of the force field in internal units.
        x: Coordinates [A], shape (atoms, 3).

    Raises:
        EvaluationError: A pair is that close.
    """
    for term in _select(_with_values(terms, p), BUCKINGHAM):
        i, j = term.atoms[0], term.atoms[2]
        rm = term.p[0] if term.form in VDW_PAIRS else term.p[0] + term.p[2]
        r = float(np.linalg.norm(x[i] - x[j]))
        if r < EXPONENTIAL_END * rm:
            raise EvaluationError(
                f"Atoms {i + 1} and {j + 1} are {r:.3f} A apart, less than half of {rm:.3f} A, where the van der Waals "
                "energy of Tinker is not that of the form. Take another engine, or another geometry."
            )


def _with_values(terms: Iterable[Terms], p: Vector) -> Mapping[str, list[Term]]:
    """Return the terms of every form, with the values of their parameters."""
    found: dict[str, list[Term]] = {name: [] for name in COMPUTED}
    for entry in terms:
        rows = zip(entry.atoms.tolist(), p[entry.pointers].tolist(), entry.constants.tolist(), strict=True)
        found[entry.form] += [Term(entry.form, tuple(atoms), tuple(own), tuple(s)) for atoms, own, s in rows]
    return found


def _select(found: Mapping[str, list[Term]], names: Iterable[str]) -> list[Term]:
    return [term for name in names for term in found[name]]


def _on(places: Collection[Atoms], kind: str, terms: Iterable[Term]) -> dict[Atoms, Term]:
    """Return terms by the place that they act on.

    Raises:
        ForceFieldError: A term acts elsewhere, or two act on one place.
    """
    placed: dict[Atoms, Term] = {}
    known = set(places)
    for term in terms:
        place = _place(term, kind, known)
        if place in placed:
            raise ForceFieldError(
                f"Two terms, {placed[place].form} and {term.form}, act on the atoms {_named(place)}, but Tinker takes "
                f"one per {kind}. Take another engine, such as jax."
            )
        placed[place] = term
    return placed


def _place(term: Term, kind: str, known: Collection[Atoms]) -> Atoms:
    place = term.atoms if term.atoms in known else term.atoms[::-1]
    if place not in known:
        raise ForceFieldError(
            f"{term.form} acts on the atoms {_named(term.atoms)}, which are no {kind} of bonded atoms; Tinker would "
            "ignore it. Add the bonds to the molecule, or take another engine, such as jax."
        )
    return place


def _polynomials(found: Mapping[str, list[Term]]) -> list[str]:
    """Return the coefficients of bonds and angles, which are the same for all of them."""
    cubic, quartic = BOND_POLYNOMIALS[_only(found, BOND_POLYNOMIALS)]
    powers = ("cubic", "quartic", "pentic", "sextic")
    angle = ANGLE_POLYNOMIALS[_only(found, ANGLE_POLYNOMIALS)]
    return [
        f"bond-cubic {cubic!r}",
        f"bond-quartic {quartic!r}",
        *(f"angle-{power} {value!r}" for power, value in zip(powers, angle, strict=True)),
    ]


def _only(found: Mapping[str, list[Term]], names: Mapping[str, object]) -> str:
    """Return the one of several forms that occurs, or the first one if none does."""
    present = [name for name in names if found[name]] or list(names)[:1]
    if len({names[name] for name in present}) > 1:
        raise ForceFieldError(
            f"A molecule has {' and '.join(present)}, but Tinker computes one of them at a time. "
            "Use one form throughout, or take another engine, such as jax."
        )
    return present[0]


def _atom_lines(molecule: Molecule) -> list[str]:
    lines = []
    atoms = zip(molecule.record.symbols, molecule.record.masses.tolist(), molecule.neighbours, strict=True)
    for number, (symbol, mass, neighbours) in enumerate(atoms, 1):
        if len(neighbours) > LARGEST_VALENCE:
            raise ForceFieldError(
                f"{molecule.name}: atom {number} ({symbol}) has {len(neighbours)} bonded neighbours, but Tinker has "
                f"room for {LARGEST_VALENCE}. Take another engine, such as jax."
            )
        element = atomic_number(symbol)
        lines.append(f'atom {number} {number} {symbol} "{symbol}" {element} {mass!r} {len(neighbours)}')
    return lines


def _bond_lines(placed: Mapping[Atoms, Term], bonds: Iterable[Atoms]) -> list[str]:
    return [_line("bond", bond, *(placed[bond].p if bond in placed else (0.0, 1.0))) for bond in bonds]


def _angle_lines(placed: Mapping[Atoms, Term], angles: Iterable[Atoms]) -> list[str]:
    lines = []
    for angle in angles:
        term = placed.get(angle)
        if term is None:
            # An ideal angle of 0 would count as absent.
            lines.append(_line("angle", angle, 0.0, 90.0))
        elif term.form == "linear_bend":
            lines.append(_line("anglef", angle, *term.p, 0.0, 1.0))
        else:
            k, theta0 = term.p
            lines.append(_line("angle", angle, k, theta0 / DEGREE))
    return lines


def _torsions(molecule: Molecule) -> list[Atoms]:
    """List the torsions that Tinker finds."""
    around = molecule.neighbours
    return [
        (i, j, k, m)
        for j, k in molecule.bonds
        for i, m in itertools.product(around[j], around[k])
        if i not in (k, m) and m != j
    ]


def _torsion_lines(found: Mapping[str, list[Term]], torsions: list[Atoms]) -> list[str]:
    known = set(torsions)
    waves = _waves(((_place(term, "torsion", known), term) for term in found["cosine_torsion"]), TORSION_FOLDS)
    # Three folds at least: readers of Tinker files made for AMOEBA expect as many.
    lines = [_line("torsion", place, *_triples({1, 2, 3}, waves.get(place, {}))) for place in torsions]
    for place, term in _on(torsions, "torsion", found["torsion_stretch"]).items():
        if waves.get(place, {}).get(3, (0.0, 0.0))[1] != 0.0:
            raise ForceFieldError(
                f"The torsion on the atoms {_named(place)} has a threefold term with a phase that is not 0, and Tinker "
                "gives the same phase to the torsion-stretch there. Take another engine, such as jax."
            )
        lines.append(_line("strtors", place, 0.0, 0.0, 0.0, 0.0, 0.0, term.p[0], 0.0, 0.0, 0.0))
    return lines


def _waves(terms: Iterable[tuple[Atoms, Term]], largest: int) -> dict[Atoms, dict[int, tuple[float, float]]]:
    """Return amplitude [kcal/mol] and phase [rad] by place and fold.

    Raises:
        ForceFieldError: A fold is not whole, too large or given twice.
    """
    waves: dict[Atoms, dict[int, tuple[float, float]]] = {}
    for place, term in terms:
        own = waves.setdefault(place, {})
        fold = round(term.s[0])
        if fold != term.s[0] or not 1 <= fold <= largest or fold in own:
            raise ForceFieldError(
                f"{term.form} on the atoms {_named(term.atoms)} has the periodicity {term.s[0]:g}, but Tinker takes "
                f"each of the whole numbers from 1 to {largest} once. Take another engine, such as jax."
            )
        own[fold] = (term.p[0], term.s[1])
    return waves


def _triples(always: set[int], waves: Mapping[int, tuple[float, float]]) -> list[float | int]:
    """Return amplitude, phase in degrees and fold, one fold after the other."""
    values: list[float | int] = []
    for fold in sorted(always | set(waves)):
        amplitude, phase = waves.get(fold, (0.0, 0.0))
        values += [amplitude, phase / DEGREE, fold]
    return values


def _improper_lines(molecule: Molecule, found: Mapping[str, list[Term]]) -> list[str]:
    periodic = ((_with_centre(2, term, molecule), term) for term in found["periodic_improper"])
    lines = [_line("imptors", place, *_triples(set(), own)) for place, own in _waves(periodic, IMPROPER_FOLDS).items()]
    harmonic = [(_with_centre(0, term, molecule), term) for term in found["harmonic_improper"]]
    for place, term in harmonic:
        if term.p[1] != 0.0 or [other for other, _ in harmonic].count(place) > 1:
            raise ForceFieldError(
                f"{term.form} on the atoms {_named(term.atoms)} rests at {term.p[1] / DEGREE:g} degrees or is not the "
                "only one there, but Tinker takes the sign of that angle from the geometry, and one term. "
                "Let it rest at 0, or take another engine, such as jax."
            )
        lines.append(_line("improper", place, *term.p))
    return lines


def _with_centre(position: int, term: Term, molecule: Molecule) -> Atoms:
    """Return the atoms of an improper torsion in the order, of the two that mean the same, with the centre there."""
    for order in (term.atoms, term.atoms[::-1]):
        others = {*order} - {order[position]}
        if others == set(molecule.neighbours[order[position]]):
            return order
    raise ForceFieldError(
        f"{term.form} on the atoms {_named(term.atoms)} has at place {position + 1}, in neither direction, an atom "
        "with the three others as its bonded neighbours; Tinker would ignore it. Take another engine, such as jax."
    )


def _vdw_lines(molecule: Molecule, found: Mapping[str, list[Term]], nonbonded: Nonbonded | None) -> list[str]:
    terms = _select(found, VDW_TYPES)
    if not terms or nonbonded is None:
        return ["vdwterm none"]
    sites: dict[int, tuple[float, ...]] = {}
    reductions: dict[int, tuple[float, ...]] = {}
    pairs = []
    for term in terms:
        if term.form in BUCKINGHAM:
            reductions |= _reductions(molecule, term)
        if term.form in VDW_PAIRS:
            first, second = (term.atoms[place] for place in (0, len(term.atoms) // 2))
            pairs.append(_line("vdwpr", (first, second), *term.p))
            sites = {first: NO_VDW, second: NO_VDW} | sites
        else:
            sites |= _by_site(term)
    return [
        f"vdwtype {VDW_TYPES[_only(found, VDW_TYPES)]}",
        f"radiusrule {RADIUS_RULES[_only(found, RADIUS_RULES)]}",
        _line("vdw-14-scale", (), _factor("vdw_14", nonbonded.vdw_14)),
        *(_line("vdw", (atom,), *values, *reductions.get(atom, ())) for atom, values in sorted(sites.items())),
        *pairs,
    ]


def _reductions(molecule: Molecule, term: Term) -> dict[int, tuple[float, ...]]:
    """Return the reduction factors of the sites of a term that do not lie at their atoms, by atom.

    Raises:
        ForceFieldError: Such an atom has several neighbours: Tinker leaves its site at the nucleus.
    """
    found = {}
    for atom, offset in zip((term.atoms[0], term.atoms[2]), term.s[:2], strict=True):
        if not offset:
            continue
        if len(molecule.neighbours[atom]) != 1:
            raise ForceFieldError(
                f"{molecule.name}: the van der Waals site of {_named((atom,))} is shifted along one of its "
                f"{len(molecule.neighbours[atom])} bonds, but Tinker shifts those of atoms with one bond only. Take "
                "another engine, such as jax."
            )
        found[atom] = (1.0 + offset,)
    return found


def _charge_lines(molecule: Molecule, found: Mapping[str, list[Term]], nonbonded: Nonbonded | None) -> list[str]:
    charges: dict[int, tuple[float, ...]] = {}
    for term in found["coulomb"]:
        charges |= _by_site(term)
    if found["point_charges"] and molecule.charges is not None:
        charges |= {atom: (charge,) for atom, charge in enumerate(molecule.charges.tolist())}
    if not charges or nonbonded is None:
        return ["chargeterm none"]
    return [
        _line("electric", (), nonbonded.coulomb),
        _line("dielectric", (), nonbonded.dielectric),
        _line("chg-14-scale", (), _factor("charge_14", nonbonded.charge_14)),
        *(_line("charge", (atom,), *values) for atom, values in sorted(charges.items())),
    ]


def _by_site(term: Term) -> dict[int, tuple[float, ...]]:
    """Return the own parameters of each site of a pair term, by its atom."""
    form = FORMS[term.form]
    width = len(form.columns)
    return {
        term.atoms[site[0]]: term.p[number * width : (number + 1) * width] for number, site in enumerate(form.sites)
    }


def _factor(name: str, value: float) -> float:
    if value > 1.0:
        raise ForceFieldError(
            f"The nonbonded setting {name} is {value:g}, but Tinker takes the reciprocal of a factor above 1. "
            "Take another engine, such as jax."
        )
    return value


def _line(keyword: str, atoms: Atoms, *values: float | int) -> str:
    """Return a line with a keyword, the classes of atoms and values.

    Raises:
        ForceFieldError: Tinker would not read all of it.
    """
    numbers = [f"{value:.12g}" for value in values]
    line = " ".join([keyword, *(str(atom + 1) for atom in atoms), *numbers])
    if len(line) > LONGEST_LINE:
        raise ForceFieldError(
            f"The {keyword} parameters of the atoms {_named(atoms)} fill {len(line)} characters, but Tinker reads "
            f"{LONGEST_LINE} of a line. Give the phases with fewer digits."
        )
    return line


def _named(atoms: Sequence[int]) -> str:
    return "-".join(str(atom + 1) for atom in atoms)
