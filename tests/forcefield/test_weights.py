"""Tolerances by name, against published scores."""

from __future__ import annotations

import numpy as np
import pytest

from fieldfit.errors import SettingsError
from fieldfit.forcefield import ForceFieldObjective, build_force_field, estimate_force_constants
from fieldfit.forcefield.references import REFERENCES
from fieldfit.forcefield.weights import KINDS, PRESETS, Q2MM_WEIGHTS, chosen_tolerances, tolerances
from molecules import ethane, fluoromethane

CLASSIC = ("classic_eigenmatrix_diagonal", "bond_length", "bond_angle")
"""What published multi-target scores consist of."""

BONDS, ANGLES, EIGENVALUES = 500, 1050, 1404
"""Bonds, angles and 3 N of the nine Rh-enamide structures; bonds and angles as MacroModel prints them."""


@pytest.mark.parametrize("name", PRESETS)
def test_every_tolerance_belongs_to_a_kind_and_is_positive(name) -> None:
    found = tolerances(name)
    assert set(found) <= set(REFERENCES)
    assert all(value > 0.0 for value in found.values())


def test_default_is_what_the_kinds_state() -> None:
    assert tolerances() == {name: REFERENCES[name].tolerance for name in REFERENCES}


def test_a_weight_is_the_inverse_of_a_tolerance() -> None:
    assert tolerances("q2mm") == pytest.approx({name: 1.0 / weight for name, weight in Q2MM_WEIGHTS.items()})


def test_an_unknown_set_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="default, q2mm"):
        tolerances("q2m")


@pytest.mark.parametrize("name", PRESETS)
def test_kinds_that_go_with_a_set_are_in_it(name) -> None:
    assert chosen_tolerances(weights=name) == {kind: tolerances(name)[kind] for kind in KINDS[name]}


def test_tolerances_are_those_given_and_for_the_rest_those_of_the_set() -> None:
    chosen = {"bond_length": None, "frequency": 7.0}
    assert chosen_tolerances(chosen) == {"bond_length": 0.01, "frequency": 7.0}
    assert chosen_tolerances(chosen, "q2mm") == {"bond_length": 0.1, "frequency": 7.0}
    assert chosen_tolerances("torsion") == chosen_tolerances(["torsion"]) == {"torsion": 1.0}
    assert chosen_tolerances({"gradient": 3.0}, "q2mm") == {"gradient": 3.0}


@pytest.mark.parametrize(
    ("chosen", "weights", "message"),
    [
        ([], "default", "nothing to fit"),
        (["bond"], "default", "Known:"),
        (["gradient"], "q2mm", "no tolerance for gradient"),
        ({"frequency": 0.0}, "default", "counts as one"),
        ({"frequency": float("inf")}, "default", "counts as one"),
        (None, "q3mm", "Did you mean 'q2mm'"),
    ],
)
def test_a_choice_that_cannot_be_is_an_error(chosen, weights, message) -> None:
    with pytest.raises(SettingsError, match=message):
        chosen_tolerances(chosen, weights)


def test_q2mm_weights_turn_published_deviations_into_the_published_score() -> None:
    # Rh-enamide: score 2.70e5 with bonds off by 0.039 A and angles by 3.2 degrees; eigenvalues, off by less than 0.2
    # hartree/bohr^2 wherever bonds are of the right order, add less than one. Angles are stated to 3 %, squared.
    tolerance = tolerances("q2mm")
    angles = ANGLES * (3.2 / tolerance["bond_angle"]) ** 2
    bonds = BONDS * (0.039 / tolerance["bond_length"]) ** 2
    eigenvalues = EIGENVALUES * (0.2 / tolerance["classic_eigenmatrix_diagonal"]) ** 2
    assert angles + bonds + eigenvalues == pytest.approx(2.70e5, rel=0.03)
    assert angles / (angles + bonds + eigenvalues) > 0.999
    assert eigenvalues < 1.0


def test_q2mm_weights_turn_published_wavenumbers_into_the_published_scores() -> None:
    # Scores 36.1, 3.29 of root mean square deviations 188, 56.8 1/cm: the same number of modes, fewer than all 1350.
    tolerance = tolerances("q2mm")["frequency"]
    first, last = (score / (rmsd / tolerance) ** 2 for score, rmsd in ((36.1, 188.0), (3.29, 56.8)))
    assert first == pytest.approx(last, rel=0.01)
    assert 500.0 < first < 1350.0


@pytest.mark.parametrize("make", [fluoromethane, ethane])
def test_on_hartrees_the_score_is_99_9_percent_angles_and_in_the_right_unit_the_hessian_counts(
    make, shared_data
) -> None:
    # Bonds and angles as far off as in the published fit, the Hessian as far as Seminario's constants leave it.
    molecule = make(shared_data)
    field = estimate_force_constants([molecule], build_force_field([molecule]), method="qfuerza")
    theta0 = [name for name in field.parameter_names if name.endswith("theta0")]
    changes = {name: 3.2 * (-1.0) ** number for number, name in enumerate(theta0)}
    changes |= {name: 0.039 for name in field.parameter_names if name.endswith("r0")}
    values = {
        name: value for row in field.rows for name, value in zip(row.parameter_names, row.values.values(), strict=True)
    }
    field = field.with_values({name: values[name] + change for name, change in changes.items()})
    classic = shares(field, molecule, tolerances("q2mm"))
    assert classic["bond_angle"] > 0.999
    assert classic["classic_eigenmatrix_diagonal"] < 1e-6
    # The same weights in kJ/mol/A^2 are the default tolerances of this kind.
    meant = tolerances("q2mm") | {"classic_eigenmatrix_diagonal": 10.0 / 9375.829}
    assert meant["classic_eigenmatrix_diagonal"] == pytest.approx(
        tolerances()["classic_eigenmatrix_diagonal"], rel=1e-6
    )
    assert shares(field, molecule, meant)["classic_eigenmatrix_diagonal"] > 0.8


def shares(field, molecule, tolerance) -> dict[str, float]:
    """Return each category's share of the score."""
    objective = ForceFieldObjective(field, [molecule], {name: tolerance[name] for name in CLASSIC})
    found = objective.evaluate(field.parameters.flat, objective.initial_state(), derivatives=False)
    assert found.failure is None
    assert found.residuals is not None
    squares = found.residuals**2
    return {name: float(np.sum(squares[part]) / np.sum(squares)) for name, part in objective.term_slices().items()}
