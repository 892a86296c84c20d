"""Normal modes against closed forms, invariances and the frequencies that programs printed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from fieldfit.errors import MoleculeError
from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.topology import perceive
from fieldfit.forcefield.vibrations import (
    NormalModes,
    align,
    degenerate_sets,
    eigenvalue,
    mode_overlaps,
    normal_modes,
    pair_modes,
    pairing_agreement,
    rigid_motions,
    subspace_overlaps,
    wavenumber,
)
from molecules import ethane, fluoromethane, internal_parameters

MDYN_PER_ANGSTROM = 143.9326  # kcal/mol/A^2
PER_ROOT_MDYN = 1302.79  # wavenumber [1/cm] of 1 mdyn/A/u, Wilson, Decius, Cross (1955), appendix I
SEEDS = st.integers(0, 2**32 - 1)


def bond_row(coordinates, i, j):
    """Derivative of the distance of two atoms."""
    row = np.zeros_like(coordinates)
    row[i] = (coordinates[i] - coordinates[j]) / np.linalg.norm(coordinates[i] - coordinates[j])
    row[j] = -row[i]
    return row.ravel()


def angle_row(coordinates, i, j, k):
    """Derivative of the angle of three atoms (Wilson, Decius, Cross 1955, section 4-1)."""
    a, b = coordinates[i] - coordinates[j], coordinates[k] - coordinates[j]
    r, s = np.linalg.norm(a), np.linalg.norm(b)
    cosine = a @ b / (r * s)
    sine = np.sqrt(1.0 - cosine**2)
    row = np.zeros_like(coordinates)
    row[i] = (cosine * a / r - b / s) / (r * sine)
    row[k] = (cosine * b / s - a / r) / (s * sine)
    row[j] = -row[i] - row[k]
    return row.ravel()


def bent_molecule(apex=104.5, length=0.957, stretch=8.0, bend=0.7):
    """Hessian [kcal/mol/A^2], geometry and masses of XY2 with E = k x^2 / 2 in mdyn, A and rad."""
    half = np.radians(apex / 2.0)
    arms = length * np.array([[0.0, 0.0, 0.0], [np.sin(half), 0.0, np.cos(half)], [-np.sin(half), 0.0, np.cos(half)]])
    rows = np.array([bond_row(arms, 0, 1), bond_row(arms, 0, 2), angle_row(arms, 1, 0, 2)])
    hessian = MDYN_PER_ANGSTROM * rows.T @ np.diag([stretch, stretch, bend]) @ rows
    return hessian, arms, np.array([16.0, 1.0, 1.0])


def random_molecule(seed, atoms=5):
    """A symmetric matrix and a geometry without symmetry, not stationary."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(scale=100.0, size=(3 * atoms, 3 * atoms))
    return matrix + matrix.T, rng.normal(size=(atoms, 3)), rng.uniform(1.0, 20.0, size=atoms)


def benzene(shared_data: Path) -> Molecule:
    return perceive(read(shared_data / "benzene" / "lig.fchk", name="benzene"))


MOLECULES = {"fluoromethane": fluoromethane, "ethane": ethane, "benzene": benzene}


def random_force_field_modes(molecule: Molecule, rng) -> NormalModes:
    """Return the modes at the QM geometry for constants between a tenth of their usual values and four times these."""
    field = build_force_field([molecule])
    system = JaxEngine().system(molecule, field)
    p = internal_parameters(field) * np.where(field.is_linear, rng.uniform(0.1, 4.0, len(field.is_linear)), 1.0)
    record = molecule.record
    return normal_modes(system.local(record.coordinates, p).hessian, record.coordinates, record.masses)


def test_diatomic_has_one_frequency_of_the_reduced_mass() -> None:
    coordinates = np.array([[0.1, 0.2, 0.3], [0.1, 0.9, 1.1]])
    row = bond_row(coordinates, 0, 1)
    modes = normal_modes(MDYN_PER_ANGSTROM * 19.0 * np.outer(row, row), coordinates, np.array([12.0, 16.0]))
    assert_allclose(modes.frequencies, [PER_ROOT_MDYN * np.sqrt(19.0 * (1 / 12.0 + 1 / 16.0))], rtol=1e-5)


@pytest.mark.parametrize("apex", [60.0, 104.5, 170.0])
def test_bent_triatomic_has_the_frequencies_of_the_closed_form(apex: float) -> None:
    # Herzberg (1945), Infrared and Raman Spectra, p. 170, valence forces.
    length, stretch, bend, central, outer = 0.957, 8.0, 0.7, 16.0, 1.0
    frequencies = normal_modes(*bent_molecule(apex)).frequencies
    half = np.radians(apex / 2.0)
    symmetric, antisymmetric = 1 + 2 * outer / central * np.cos(half) ** 2, 1 + 2 * outer / central * np.sin(half) ** 2
    soft = bend / length**2
    trace = (symmetric * stretch + 2 * antisymmetric * soft) / outer
    product = 2 * (1 + 2 * outer / central) * stretch * soft / outer**2
    pair = np.roots([1.0, -trace, product])
    expected = PER_ROOT_MDYN * np.sqrt([*pair, antisymmetric * stretch / outer])
    assert_allclose(frequencies, np.sort(expected), rtol=1e-5)


def test_linear_triatomic_has_four_vibrations_with_a_degenerate_bend() -> None:
    # Herzberg (1945), p. 172: carbon dioxide with valence forces k1 = 15.5 mdyn/A, k_delta / l^2 = 0.57 mdyn/A.
    length, stretch, bend = 1.16, 15.5, 0.57
    coordinates = np.array([[0.0, 0.0, -length], [0.0, 0.0, 0.0], [0.0, 0.0, length]])
    bends = [np.array([1.0, 0, 0, -2.0, 0, 0, 1.0, 0, 0]), np.array([0, 1.0, 0, 0, -2.0, 0, 0, 1.0, 0])]
    rows = np.array([bond_row(coordinates, 0, 1), bond_row(coordinates, 1, 2), *bends])
    hessian = MDYN_PER_ANGSTROM * rows.T @ np.diag([stretch, stretch, bend, bend]) @ rows
    modes = normal_modes(hessian, coordinates, np.array([16.0, 12.0, 16.0]))
    ratio = 1 + 2 * 16.0 / 12.0
    expected = PER_ROOT_MDYN * np.sqrt(
        [2 * bend * ratio / 16, 2 * bend * ratio / 16, stretch / 16, stretch * ratio / 16]
    )
    assert_allclose(modes.frequencies, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("coordinates", "rank"),
    [
        ([[0.0, 0.0, 0.0]], 3),
        ([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], 5),
        ([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [-2.0, -2.0, -2.0]], 5),
        ([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 6),
        ([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 6),
    ],
    ids=["atom", "diatomic", "linear", "planar", "general"],
)
def test_rigid_motions_have_the_rank_of_the_shape(coordinates, rank: int) -> None:
    geometry = np.array(coordinates)
    motions = rigid_motions(geometry, np.arange(1.0, len(geometry) + 1.0))
    assert motions.shape == (3 * len(geometry), rank)
    assert_allclose(motions.T @ motions, np.eye(rank), atol=1e-12)


def test_a_molecule_linear_to_the_printed_digits_is_linear() -> None:
    # Six decimals in bohr, as ORCA prints, leave an atom 1e-6 off the axis.
    geometry = np.array([[0.0, 0.0, -1.16], [1e-6, 0.0, 0.0], [0.0, 0.0, 1.16]])
    assert rigid_motions(geometry, np.array([16.0, 12.0, 16.0])).shape[1] == 5


@given(SEEDS)
def test_modes_are_orthonormal_and_free_of_rigid_motion(seed: int) -> None:
    hessian, coordinates, masses = random_molecule(seed)
    modes = normal_modes(hessian, coordinates, masses).modes
    assert_allclose(modes.T @ modes, np.eye(9), atol=1e-10)
    assert_allclose(rigid_motions(coordinates, masses).T @ modes, 0.0, atol=1e-10)


@given(SEEDS)
def test_frequencies_do_not_depend_on_frame_or_order_of_atoms(seed: int) -> None:
    hessian, coordinates, masses = random_molecule(seed)
    rng = np.random.default_rng(seed)
    rotation, order = Rotation.random(rng=rng).as_matrix(), rng.permutation(5)
    turn = np.kron(np.eye(5), rotation)
    pick = (3 * order[:, None] + np.arange(3)).ravel()
    moved = (coordinates @ rotation.T + rng.normal(size=3))[order]
    expected = normal_modes(hessian, coordinates, masses).eigenvalues
    found = normal_modes((turn @ hessian @ turn.T)[np.ix_(pick, pick)], moved, masses[order]).eigenvalues
    assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


def test_a_gradient_does_not_leak_into_the_modes() -> None:
    # A bond under tension has a Hessian that does not vanish along rotations; the one vibration is unchanged.
    coordinates = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.2]])
    along = np.outer([0, 0, 1.0], [0, 0, 1.0])
    tension = -300.0 / 1.2 * (np.eye(3) - along)
    block = 1000.0 * along + tension
    strained = normal_modes(np.block([[block, -block], [-block, block]]), coordinates, np.array([1.0, 2.0]))
    assert_allclose(strained.eigenvalues, [1000.0 * 1.5])


@given(st.floats(-5000.0, 5000.0))
def test_wavenumber_and_eigenvalue_are_inverse_with_sign(value: float) -> None:
    assert wavenumber(eigenvalue(value)) == pytest.approx(value, rel=1e-12, abs=1e-12)


def test_wavenumber_of_one_atomic_unit_per_u_is_5140() -> None:
    # sqrt(hartree / bohr^2 / u) / (2 pi c) from the CODATA values of scipy.
    from scipy import constants

    hartree = constants.value("Hartree energy")
    omega = np.sqrt(hartree / constants.value("Bohr radius") ** 2 / constants.atomic_mass)
    expected = omega / (2.0 * np.pi * constants.c * 100.0)
    in_kcal = hartree * constants.N_A / 4184.0 / (constants.value("Bohr radius") * 1e10) ** 2
    assert wavenumber(in_kcal) == pytest.approx(expected, rel=1e-8)


@given(SEEDS)
def test_alignment_undoes_a_rigid_motion(seed: int) -> None:
    _, coordinates, masses = random_molecule(seed)
    rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    moved = coordinates @ rotation.T + np.array([1.0, -2.0, 3.0])
    found, aligned = align(moved, coordinates, masses)
    assert_allclose(found, rotation.T, atol=1e-9)
    assert_allclose(aligned, coordinates, atol=1e-9)


@given(SEEDS)
def test_alignment_is_a_proper_rotation_and_the_best_one(seed: int) -> None:
    _, coordinates, masses = random_molecule(seed)
    mirrored = coordinates * np.array([1.0, 1.0, -1.0])
    rotation, aligned = align(mirrored, coordinates, masses)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    distance = masses @ np.sum((aligned - coordinates) ** 2, axis=1)
    # scipy's independent solution of the same problem, in centred coordinates.
    centre, target = (masses @ geometry / masses.sum() for geometry in (mirrored, coordinates))
    other = Rotation.align_vectors(coordinates - target, mirrored - centre, weights=masses)[0].apply(mirrored - centre)
    assert distance <= masses @ np.sum((other - (coordinates - target)) ** 2, axis=1) + 1e-9


@given(SEEDS)
def test_rotated_modes_are_those_of_the_rotated_hessian(seed: int) -> None:
    hessian, coordinates, masses = random_molecule(seed)
    rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    turn = np.kron(np.eye(5), rotation)
    turned = normal_modes(turn @ hessian @ turn.T, coordinates @ rotation.T, masses)
    rotated = normal_modes(hessian, coordinates, masses).rotated(rotation)
    assert_allclose(np.abs(mode_overlaps(rotated.modes, turned.modes)).max(axis=1), 1.0, atol=1e-6)


@given(SEEDS)
def test_pairing_finds_a_permutation(seed: int) -> None:
    reference = normal_modes(*random_molecule(seed))
    order = np.random.default_rng(seed).permutation(9)
    shuffled = NormalModes(reference.eigenvalues[order], -reference.modes[:, order])
    pairing = pair_modes(reference, shuffled)
    assert_allclose(order[pairing], np.arange(9))
    assert_allclose(subspace_overlaps(reference, shuffled, pairing), 1.0)


def set_rotations(frequencies, rng):
    """Return a random rotation within every set of nearly degenerate modes, none between sets."""
    sets = degenerate_sets(frequencies)
    blocks = np.where(sets[:, None] == sets, rng.normal(size=(len(sets), len(sets))), 0.0)
    return np.linalg.qr(blocks).Q


def pair_counts(reference, modes):
    """Return how many modes of each set of one side are paired with each set of the other."""
    sets, others = degenerate_sets(reference.frequencies), degenerate_sets(modes.frequencies)
    counts = np.zeros((sets.max() + 1, others.max() + 1))
    np.add.at(counts, (sets, others[pair_modes(reference, modes)]), 1)
    return counts


def test_pairs_of_degenerate_modes_are_paired_as_spaces() -> None:
    # Each space has 3/5 in common with the one of its own wavenumber, but every single mode there at most 3/10, because
    # directions within the spaces differ by 45 degrees; with the other space 2/5, in one mode.
    turn = Rotation.from_euler("z", 45.0, degrees=True).as_matrix()[:2, :2]
    c, s = np.sqrt(0.6), np.sqrt(0.4)
    eigenvalues = eigenvalue(np.array([1000.0, 1000.0, 1500.0, 1500.0]))
    overlaps = np.block([[c * turn, s * np.eye(2)], [-s * np.eye(2), c * turn.T]])
    padding = np.zeros((2, 4))
    reference, modes = (NormalModes(eigenvalues, np.vstack([own, padding])) for own in (np.eye(4), overlaps))
    pairing = pair_modes(reference, modes)
    assert sorted(pairing[:2]) == [0, 1]
    assert sorted(pairing[2:]) == [2, 3]
    assert_allclose(subspace_overlaps(reference, modes, pairing), c)


@given(SEEDS)
def test_pairing_of_sets_does_not_depend_on_directions_within_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lowest = rng.uniform(500.0, 3000.0, size=(2, 4))
    eigenvalues = [eigenvalue(np.sort(np.repeat(entry, [1, 2, 2, 1]))) for entry in lowest]
    start = np.linalg.qr(rng.normal(size=(6, 6))).Q
    reference, modes = NormalModes(eigenvalues[0], np.eye(6)), NormalModes(eigenvalues[1], start)
    expected = pair_counts(reference, modes)
    for _ in range(5):
        turned = [
            NormalModes(side.eigenvalues, side.modes @ set_rotations(side.frequencies, rng))
            for side in (reference, modes)
        ]
        assert_allclose(pair_counts(*turned), expected)


@pytest.mark.parametrize("name", MOLECULES)
def test_sets_of_symmetric_molecules_are_paired_alike_whatever_the_directions(name: str, shared_data: Path) -> None:
    # Constants at random: sets of the force field are of another character than those of QM.
    molecule = MOLECULES[name](shared_data)
    qm = normal_modes(molecule.qm_hessian, molecule.record.coordinates, molecule.record.masses)
    rng = np.random.default_rng(1)
    for _ in range(5):
        found = random_force_field_modes(molecule, rng)
        expected = pair_counts(qm, found)
        turned, other = (
            NormalModes(side.eigenvalues, side.modes @ set_rotations(side.frequencies, rng)) for side in (qm, found)
        )
        assert_allclose(pair_counts(turned, other), expected)


@given(SEEDS)
def test_the_pairing_found_agrees_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    eigenvalues = eigenvalue(np.array([800.0, 1000.0, 1001.0, 1500.0, 1501.0, 2000.0]))
    reference, modes = (NormalModes(eigenvalues, np.linalg.qr(rng.normal(size=(6, 6))).Q) for _ in range(2))
    best = pairing_agreement(reference, modes, pair_modes(reference, modes)).sum()
    for _ in range(20):
        assert pairing_agreement(reference, modes, rng.permutation(6)).sum() <= best + 1e-9


def test_members_of_a_set_may_be_exchanged_without_a_loss_of_agreement() -> None:
    eigenvalues = eigenvalue(np.array([1000.0, 1001.0, 1500.0]))
    reference, modes = NormalModes(eigenvalues, np.eye(3)), NormalModes(eigenvalues, np.eye(3))
    # Each of the two has one of the two entries of its set: 1/2 whichever it is; the third has itself.
    assert_allclose(pairing_agreement(reference, modes, np.array([0, 1, 2])), [0.5, 0.5, 1.0])
    assert_allclose(pairing_agreement(reference, modes, np.array([1, 0, 2])), [0.5, 0.5, 1.0])
    assert_allclose(pairing_agreement(reference, modes, np.array([2, 1, 0])), [0.0, 0.5, 0.0])


@given(SEEDS)
def test_sets_follow_from_gaps_whatever_the_order(seed: int) -> None:
    frequencies = np.array([-400.0, 1000.0, 1002.5, 1005.0, 1009.0])
    order = np.random.default_rng(seed).permutation(5)
    assert degenerate_sets(frequencies[order]).tolist() == np.array([0, 1, 1, 1, 2])[order].tolist()


@given(SEEDS, SEEDS)
def test_pairing_beats_every_other_permutation_tried(seed: int, other: int) -> None:
    # Eigenvalues as far apart as can be: no sets, so that single modes are compared.
    _, coordinates, masses = random_molecule(seed)
    apart = eigenvalue(np.linspace(500.0, 3000.0, 9))
    reference, modes = (
        NormalModes(apart, normal_modes(random_molecule(s)[0], coordinates, masses).modes) for s in (seed, other)
    )
    squares = mode_overlaps(reference.modes, modes.modes) ** 2
    pairing = pair_modes(reference, modes)
    assert sorted(pairing) == list(range(9))
    rng = np.random.default_rng(seed)
    for _ in range(20):
        assert squares[np.arange(9), pairing].sum() >= squares[np.arange(9), rng.permutation(9)].sum()


def test_degenerate_modes_are_compared_as_a_space() -> None:
    turn = Rotation.from_euler("z", 40.0, degrees=True).as_matrix()
    reference = NormalModes(eigenvalue(np.array([1000.0, 1001.0, 1500.0])), np.eye(3))
    modes = NormalModes(reference.eigenvalues, turn)
    pairing = pair_modes(reference, modes)
    assert_allclose(subspace_overlaps(reference, modes, pairing), 1.0)
    assert_allclose(subspace_overlaps(reference, modes, pairing, tolerance=0.5), [np.cos(np.radians(40.0))] * 2 + [1.0])


def test_fewer_modes_than_reference_modes_cannot_be_paired() -> None:
    bent, linear = (NormalModes(np.ones(n), np.eye(9)[:, :n]) for n in (3, 4))
    with pytest.raises(MoleculeError, match="4 reference modes of 3 atoms cannot be paired with 3 modes of 3 atoms"):
        pair_modes(linear, bent)


def test_an_unsymmetric_hessian_is_refused() -> None:
    hessian, coordinates, masses = bent_molecule()
    hessian[0, 3] += 1.0
    with pytest.raises(MoleculeError, match="differs from its transpose by up to 1 kcal"):
        normal_modes(hessian, coordinates, masses)


def test_a_hessian_of_another_molecule_is_refused() -> None:
    _, coordinates, masses = bent_molecule()
    with pytest.raises(MoleculeError, match=r"shape \(6, 6\), but 3 atoms need \(9, 9\)"):
        normal_modes(np.eye(6), coordinates, masses)


@pytest.mark.parametrize("mass", [0.0, -1.0, np.nan, np.inf])
def test_a_mass_that_is_not_positive_is_refused(mass: float) -> None:
    hessian, coordinates, masses = bent_molecule()
    masses[1] = mass
    with pytest.raises(MoleculeError, match="masses above zero"):
        normal_modes(hessian, coordinates, masses)


@pytest.mark.parametrize("broken", [0, 1], ids=["hessian", "coordinates"])
def test_numbers_that_are_not_finite_are_refused(broken: int) -> None:
    arguments = bent_molecule()
    arguments[broken][0, 0] = np.nan
    with pytest.raises(MoleculeError, match="not finite"):
        normal_modes(*arguments)


def test_fluoromethane_pairs_with_the_modes_that_psi4_wrote(shared_data: Path) -> None:
    # Psi4 stores all 15 eigenvectors of the mass-weighted Hessian, in ascending order, rigid motions among them.
    archive = np.load(shared_data / "ch3f" / "ch3f-normal-modes.npz")
    lines = (shared_data / "ch3f" / "ch3f-optimized.xyz").read_text().split("\n")[2:7]
    coordinates = np.array([[float(field) for field in line.split()[1:]] for line in lines])
    hessian = np.load(shared_data / "ch3f" / "ch3f-hessian.npy")
    modes = normal_modes(hessian, coordinates, archive["masses_amu"])
    theirs = NormalModes(archive["eigenvalues"], archive["eigenvectors"])
    pairing = pair_modes(modes, theirs)
    overlaps = subspace_overlaps(modes, theirs, pairing)
    assert sorted(pairing) == list(range(6, 15))
    assert_allclose(overlaps, 1.0, atol=1e-4)
