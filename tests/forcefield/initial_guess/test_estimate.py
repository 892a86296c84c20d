"""Methods for starting constants, and how well the force fields they give vibrate."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import SettingsError
from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.initial_guess import METHODS, estimate_force_constants, hessian_fit, seminario
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.relaxation import relax
from fieldfit.forcefield.topology import internal_coordinates, perceive
from fieldfit.forcefield.vibrations import align, normal_modes, pair_modes
from molecules import bare_record, ethane, fluoromethane, internal_parameters, made_by, propyne, sn2_transition_state


@pytest.fixture(scope="module")
def molecule(shared_data) -> Molecule:
    return fluoromethane(shared_data)


def constants(field: ForceField) -> dict[str, float]:
    return {row.label: row.values["k"] for row in field.rows}


def frequency_errors(molecule: Molecule, field: ForceField) -> tuple[float, float]:
    """Return the mean relative error of paired wavenumbers at the QM geometry and at the minimum of the field."""
    record = molecule.record
    system, p = JaxEngine().system(molecule, field), internal_parameters(field)
    qm = normal_modes(molecule.qm_hessian, record.coordinates, record.masses)
    relaxed = relax(lambda x: system.local(x, p), record.coordinates)
    errors = []
    for x, hessian in (
        (record.coordinates, system.local(record.coordinates, p).hessian),
        (relaxed.x, relaxed.hessian),
    ):
        rotation, _ = align(x, record.coordinates, record.masses)
        modes = normal_modes(hessian, x, record.masses)
        paired = modes.frequencies[pair_modes(qm, modes.rotated(rotation))]
        errors.append(float(np.mean(np.abs(paired / qm.frequencies - 1.0))))
    return errors[0], errors[1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [ethane, sn2_transition_state])
def test_every_method_gives_constants_inside_the_bounds(request, make, method) -> None:
    molecule = make(request.getfixturevalue("examples" if make is sn2_transition_state else "shared_data"))
    field = build_force_field([molecule], stretch_bend=["*"])
    found = estimate_force_constants([molecule], field, method)
    assert found.parameter_names == field.parameter_names
    for entry, start in zip(found.parameters, field.parameters, strict=True):
        assert start.lower <= entry.value <= start.upper
        if not entry.name.endswith(".k"):
            assert entry.value == start.value


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_exact_for_a_diatomic(method) -> None:
    bare = perceive(bare_record("HF", "HF", [(0.0, 0.0, 0.0), (0.0, 0.0, 0.92)]))
    truth = build_force_field([bare]).with_values({"bond.F-H.k": 690.0})
    start = truth if method == "given" else truth.with_values({"bond.F-H.k": 1.0})
    found = estimate_force_constants([made_by(bare, truth)], start, method)
    # "approximation" knows 5 mdyn/A only: 143.93 kcal/mol/A^2 per mdyn/A, halved for E = k x^2.
    expected = 2.5 * 143.93 if method == "approximation" else 690.0
    assert constants(found)["bond.F-H"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("method", ["seminario", "modified-seminario", "gamma-fuerza"])
def test_a_row_gets_the_mean_over_its_interactions(molecule, method) -> None:
    found = internal_coordinates(molecule)
    function = {"seminario": seminario.seminario, "modified-seminario": seminario.modified_seminario}.get(
        method, seminario.gamma_fuerza
    )
    single = function(molecule.qm_hessian, molecule.record.coordinates, found.bonds, found.angles)
    field = estimate_force_constants([molecule], build_force_field([molecule]), method)
    # Atoms of CH3F: C, F, H, H, H.
    hydrogens = [k for (i, j), k in zip(found.bonds, single.bonds, strict=True) if (i, j) != (0, 1)]
    with_fluorine = [k for (i, _, j), k in zip(found.angles, single.angles, strict=True) if 1 in (i, j)]
    assert (len(hydrogens), len(with_fluorine)) == (3, 3)
    assert constants(field)["bond.C-H"] == pytest.approx(np.mean(hydrogens), rel=1e-12)
    assert constants(field)["angle.F-C-H"] == pytest.approx(np.mean(with_fluorine), rel=1e-12)


def test_the_hessian_fit_is_the_default(molecule) -> None:
    field = build_force_field([molecule])
    assert constants(estimate_force_constants([molecule], field)) == constants(hessian_fit([molecule], field))


def test_given_keeps_everything(molecule) -> None:
    field = build_force_field([molecule])
    assert estimate_force_constants([molecule], field, "given") is field


def test_torsions_are_fitted_where_bonds_and_angles_are_estimated(shared_data) -> None:
    molecule = ethane(shared_data)
    field = build_force_field([molecule])
    found = estimate_force_constants([molecule], field, "modified-seminario")
    torsion = constants(found)["torsion.H-C-C-H.3"]
    assert torsion != 0.0
    held = found.with_values({"torsion.H-C-C-H.3.k": 0.0})
    again = hessian_fit([molecule], held, held.parameters.fix("bond.*", "angle.*"))
    assert constants(again)["torsion.H-C-C-H.3"] == pytest.approx(torsion, rel=1e-9)


def test_fixed_constants_keep_their_values(molecule) -> None:
    field = build_force_field([molecule]).with_values({"bond.C-F.k": 123.0})
    for method in METHODS:
        found = estimate_force_constants([molecule], field, method, parameters=field.parameters.fix("bond.C-F.k"))
        assert constants(found)["bond.C-F"] == 123.0, method


@pytest.mark.parametrize("method", METHODS)
def test_tied_constants_follow_their_leader(molecule, method) -> None:
    field = build_force_field([molecule]).with_values({"bond.C-H.k": 360.0})
    parameters = field.parameters.tie("bond.C-H.k", "bond.C-F.k", factor=1.2)
    found = constants(estimate_force_constants([molecule], field, method, parameters=parameters))
    assert found["bond.C-H"] == pytest.approx(1.2 * found["bond.C-F"], rel=1e-12)


def test_constants_stop_at_bounds(molecule) -> None:
    field = build_force_field([molecule])
    parameters = field.parameters.bound("bond.C-H.k", 0.0, 310.0)
    found = estimate_force_constants([molecule], field, "seminario", parameters=parameters)
    assert constants(found)["bond.C-H"] == 310.0


def test_the_scale_multiplies_the_constants(molecule) -> None:
    field = build_force_field([molecule])
    one, other = (
        constants(estimate_force_constants([molecule], field, "seminario", scale=scale)) for scale in (1.0, 0.9)
    )
    assert other == pytest.approx({name: 0.9 * value for name, value in one.items()}, rel=1e-12)


def test_the_approximation_needs_no_hessian() -> None:
    bare = perceive(propyne())
    field = build_force_field([bare])
    found = estimate_force_constants([bare], field, "approximation")
    assert {round(value, 1) for name, value in constants(found).items() if name.startswith("bond")} == {359.8}
    assert {round(value, 1) for name, value in constants(found).items() if "angle" in name} == {36.0}


def test_an_unknown_method_is_refused(molecule) -> None:
    with pytest.raises(SettingsError, match=r"is called 'semiario'\. Did you mean 'seminario'"):
        estimate_force_constants([molecule], build_force_field([molecule]), "semiario")


def test_the_hessian_fit_of_ethane_vibrates_better_than_seminario(shared_data) -> None:
    molecule = ethane(shared_data)
    field = build_force_field([molecule])
    errors = {
        method: frequency_errors(molecule, estimate_force_constants([molecule], field, method))
        for method in ("hessian-fit", "seminario", "modified-seminario", "qfuerza", "gamma-fuerza")
    }
    best = errors.pop("hessian-fit")
    # Ten molecules, by an independent prototype: 3.5 % against 5.8 % (modified) and 8.1 % on the mean.
    assert max(best) < 0.05
    for method, found in errors.items():
        assert best[0] < found[0], method
        assert best[1] < found[1], method


def test_the_hessian_fit_of_anisole_vibrates_better_than_seminario(examples) -> None:
    path = examples / "anisole" / "anisole.json"
    if not path.is_file():
        pytest.skip("the QM result of anisole is not there")
    molecule = perceive(read(path))
    field = build_force_field([molecule])
    fitted, modified, plain = (
        frequency_errors(molecule, estimate_force_constants([molecule], field, method))
        for method in ("hessian-fit", "modified-seminario", "seminario")
    )
    assert fitted[0] < modified[0] < plain[0]
    assert fitted[1] < modified[1] < plain[1]


def test_stretch_bends_improve_the_hessian_fit(shared_data) -> None:
    molecule = ethane(shared_data)
    plain, crossed = (
        estimate_force_constants([molecule], build_force_field([molecule], stretch_bend=patterns))
        for patterns in ([], ["*"])
    )
    assert frequency_errors(molecule, crossed)[0] < 0.85 * frequency_errors(molecule, plain)[0]


def test_every_constant_of_a_made_hessian_is_near_in_every_method(shared_data) -> None:
    # A Hessian without couplings but those of geometry: the estimates are of the right size, not exact.
    molecule = ethane(shared_data)
    truth = hessian_fit([molecule], build_force_field([molecule]))
    made = made_by(molecule, truth)
    for method in ("seminario", "modified-seminario"):
        found = constants(estimate_force_constants([made], truth, method))
        wanted = constants(truth)
        for name in wanted:
            if name.startswith("bond"):
                assert found[name] == pytest.approx(wanted[name], rel=0.3), (method, name)
    exact = constants(estimate_force_constants([made], truth, "hessian-fit"))
    assert_allclose(list(exact.values()), list(constants(truth).values()), rtol=1e-8)
