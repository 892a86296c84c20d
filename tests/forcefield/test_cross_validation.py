"""Leaving out molecules: what the others do not know is held and named, and the figures are those of the report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fieldfit.errors import SettingsError
from fieldfit.forcefield import build_force_field, perceive, read, share_types
from fieldfit.forcefield.cross_validation import FIGURES, leave_molecules_out, only_in
from fieldfit.forcefield.reference_data import ReferenceData
from fieldfit.forcefield.staged_fit import fit_force_field
from molecules import made_by

REFERENCES = {"eigenmatrix_diagonal": 20.0, "eigenmatrix_off_diagonal": 40.0, "newton_displacement": 0.02}


@pytest.fixture(scope="module")
def molecules(shared_data):
    """Fluoromethane and ethane, whose C-H bonds and H-C-H angles are shared by hand."""
    folder = shared_data / "ch3f"
    first = read(folder / "ch3f-optimized.xyz", hessian=folder / "ch3f-hessian.npy", name="CH3F")
    second = read(shared_data / "ethane" / "GS.fchk", name="ethane")
    symbols = [record.symbols for record in (first, second)]
    return tuple(perceive(record, types=list(types)) for record, types in zip((first, second), symbols, strict=True))


@pytest.fixture(scope="module")
def field(molecules):
    return build_force_field(molecules)


@pytest.fixture(scope="module")
def found(molecules, field):
    full = fit_force_field(molecules, field, REFERENCES)
    return full, leave_molecules_out(molecules, field, REFERENCES, full=full)


def test_parameters_of_one_molecule_are_named_and_held(found, molecules, field) -> None:
    _, left_out = found
    own = {row.name: set(row.held) for row in left_out.rows}
    assert own["CH3F"] == {"bond.C-F.k", "bond.C-F.r0", "angle.F-C-H.k", "angle.F-C-H.theta0"}
    assert all("C-C" in name for name in own["ethane"])
    start = field.parameters
    for row in left_out.rows:
        for name in row.held:
            if name.endswith(("r0", "theta0")):
                assert row.result.x[name] == start[name].value
    assert "held, known to no other: bond.C-F.k" in str(left_out)


def test_the_figures_are_those_of_the_report(found) -> None:
    full, left_out = found
    report = full.report()
    for row, molecule in zip(left_out.rows, report.molecules, strict=True):
        assert row.name == molecule.name
        for heading, name in FIGURES.items():
            assert row.reference[heading] == pytest.approx(getattr(molecule, name), rel=1e-6)


def test_the_refit_is_that_of_the_others_alone(found, molecules, field) -> None:
    _, left_out = found
    parameters = field.parameters.fix(*left_out.rows[0].held)
    alone = fit_force_field(molecules[1:], field, REFERENCES, parameters=parameters)
    assert left_out.rows[0].result.final_params == pytest.approx(alone.result.final_params, rel=1e-9)


def test_a_copy_of_a_molecule_predicts_it_as_well_as_itself(molecules) -> None:
    ethane = molecules[1]
    twin = replace(ethane, record=replace(ethane.record, name="twin"))
    pair = share_types([ethane, twin])
    field = build_force_field(pair)
    full = fit_force_field(pair, field, REFERENCES)
    for row in leave_molecules_out(pair, field, ReferenceData.from_molecules(pair, REFERENCES), full=full).rows:
        assert row.held == ()
        assert row.figures["frequency [1/cm]"] == pytest.approx(row.reference["frequency [1/cm]"], rel=1e-3)


def test_followers_count_where_their_leader_acts(molecules, field) -> None:
    parameters = field.parameters.tie("bond.C-F.k", "bond.C-H.k")
    names = only_in(molecules[0], molecules, field, parameters)
    assert "bond.C-F.k" not in names
    assert "bond.C-F.r0" in names


def test_a_molecule_made_by_the_field_is_predicted_exactly(molecules, field) -> None:
    true = field.with_values({"bond.C-C.k": 250.0, "torsion.H-C-C-H.3.k": 0.15})
    copies = [made_by(molecule, true) for molecule in molecules]
    found = leave_molecules_out(copies, true.with_values({"bond.C-H.k": 250.0, "angle.H-C-H.k": 60.0}), REFERENCES)
    # What CH3F shares with ethane is recovered from ethane; the rest is held at what made it.
    figures = found.rows[0].figures
    assert figures["bonds [A]"] < 1e-5
    assert figures["frequency [1/cm]"] < 1e-2


def test_one_molecule_cannot_be_left_out(molecules, field) -> None:
    with pytest.raises(SettingsError, match="at least two"):
        leave_molecules_out(molecules[:1], field, REFERENCES)
