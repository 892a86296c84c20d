"""Observations: what is listed, chosen, weighted and written, against numbers from the QM results themselves."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fieldfit.errors import FileFormatError, MoleculeError, SettingsError
from fieldfit.forcefield import ForceFieldObjective, build_force_field, estimate_force_constants
from fieldfit.forcefield.constants import HARTREE_PER_BOHR2
from fieldfit.forcefield.reference_data import ReferenceData, ReferenceGroup
from fieldfit.forcefield.references import REFERENCES
from fieldfit.forcefield.weights import KINDS, tolerances
from molecules import ethane, fluoromethane, sn2_transition_state

SUFFIXES = (".toml", ".yaml")


@pytest.fixture(scope="module")
def sn2(examples):
    return sn2_transition_state(examples)


@pytest.fixture(scope="module")
def data(sn2) -> ReferenceData:
    return ReferenceData.from_molecules([sn2])


def needs_pyyaml(suffix: str) -> None:
    if suffix == ".yaml":
        pytest.importorskip("yaml")


def contents(data: ReferenceData) -> set:
    return set(data)


def test_bonds_are_the_distances_of_the_record(sn2, data):
    x = sn2.record.coordinates
    lengths = {f"{sn2.record.symbols[i]}{i + 1}-{sn2.record.symbols[j]}{j + 1}": (i, j) for i, j in sn2.bonds}
    group = data.group("SN2", "bond_length")
    assert group is not None
    assert set(group.labels) == set(lengths)
    for label, observed in zip(group.labels, group.observed, strict=True):
        i, j = lengths[label]
        assert observed == pytest.approx(np.linalg.norm(x[i] - x[j]), rel=1e-14)


def test_wavenumbers_are_those_that_psi4_printed(shared_data):
    data = ReferenceData.from_molecule(fluoromethane(shared_data), "frequency")
    printed = np.loadtxt(shared_data / "ch3f" / "ch3f-frequencies.txt")
    assert_allclose([entry.observed for entry in data], printed, atol=0.01)


def test_the_classic_diagonal_is_the_spectrum_of_the_cartesian_hessian_but_for_its_lowest_value(sn2):
    data = ReferenceData.from_molecules([sn2], weights="q2mm").select(categories="classic*")
    spectrum = np.linalg.eigvalsh(sn2.qm_hessian) / HARTREE_PER_BOHR2
    assert_allclose([entry.observed for entry in data], spectrum[1:], rtol=1e-10, atol=1e-12)


def test_inverting_the_curvature_adds_one_hartree_per_bohr2_in_place_of_the_negative_eigenvalue(sn2):
    plain, inverted = (
        ReferenceData.from_molecules([sn2], ["hessian_element"], invert_ts_curvature=invert) for invert in (False, True)
    )
    on_diagonal = [label for label in plain.groups[0].labels if len(set(label.split(", "))) == 1]
    traces = [sum(entry.observed for entry in data.select(labels=on_diagonal)) for data in (plain, inverted)]
    # Rigid motions are set apart first, so the eigenvalue is that of the Hessian to the accuracy of its invariance.
    lowest = np.linalg.eigvalsh(sn2.qm_hessian)[0]
    assert traces[1] - traces[0] == pytest.approx(HARTREE_PER_BOHR2 - lowest, rel=1e-3)
    assert inverted.transition_state == "C"
    assert contents(inverted) == contents(ReferenceData.from_molecules([sn2], "hessian_element", transition_state="C"))


def test_natural_curvature_keeps_the_reaction_coordinate(sn2):
    kept, natural = (
        len(ReferenceData.from_molecules([sn2], "eigenmatrix_diagonal", transition_state=method))
        for method in ("zero-weight", "D")
    )
    assert natural == kept + 1


@pytest.mark.parametrize("weights", KINDS)
def test_without_a_choice_the_kinds_and_tolerances_of_the_set_are_taken(weights, sn2):
    data = ReferenceData.from_molecules([sn2], weights=weights)
    assert data.categories == KINDS[weights]
    assert all(entry.tolerance == tolerances(weights)[entry.category] for entry in data)
    assert all(entry.unit == REFERENCES[entry.category].unit for entry in data)


def test_kinds_that_a_molecule_does_not_have_are_left_out(shared_data):
    molecules = [fluoromethane(shared_data), ethane(shared_data)]
    data = ReferenceData.from_molecules(molecules, {"torsion": 2.0, "bond_length": None})
    assert data.group("CH3F", "torsion") is None
    assert data.select(categories="torsion").molecules == ("ethane",)
    assert len(data.select(categories="torsion")) == 9
    with pytest.raises(SettingsError, match="nothing to fit"):
        ReferenceData.from_molecules(molecules[:1], "torsion")


def test_choices_that_cannot_be_are_errors(sn2):
    with pytest.raises(SettingsError, match="Did you mean 'frequency'"):
        ReferenceData.from_molecules([sn2], ["freqency"])
    with pytest.raises(SettingsError, match="'q2mm' has no tolerance for gradient"):
        ReferenceData.from_molecules([sn2], ["gradient"], weights="q2mm")
    with pytest.raises(SettingsError, match="both given"):
        ReferenceData.from_molecules([sn2], transition_state="D", invert_ts_curvature=True)
    with pytest.raises(SettingsError, match="method for transition states"):
        ReferenceData.from_molecules([sn2], transition_state="F")
    with pytest.raises(MoleculeError, match="name of its own"):
        ReferenceData.from_molecules([sn2, sn2])


@pytest.mark.parametrize(
    "chosen",
    [
        {"categories": "bond*"},
        {"labels": "*F2*"},
        {"categories": ["bond_angle", "frequency"], "labels": ["mode 1?", "F2-*"]},
        {"molecules": "SN*", "categories": "eigen*", "labels": "modes ?, ?"},
    ],
)
def test_what_is_selected_and_what_is_left_make_up_the_whole(chosen, data):
    chosen_data, rest = data.select(**chosen), data.without(**chosen)
    assert contents(chosen_data) | contents(rest) == contents(data)
    assert not contents(chosen_data) & contents(rest)
    assert len(chosen_data) + len(rest) == len(data)
    assert contents(chosen_data + rest) == contents(data)


def test_molecules_and_kinds_are_chosen_by_name(sn2, shared_data):
    data = ReferenceData.from_molecules([sn2, ethane(shared_data)], ["bond_length", "bond_angle"])
    assert data.molecules == ("SN2", "ethane")
    assert data.select(molecules="ethane").molecules == ("ethane",)
    assert data.without(molecules="SN2", categories="bond_angle").select(molecules="SN2").categories == ("bond_length",)
    # 7 bonds and 12 angles of ethane, 5 bonds of the complex, whose linear F-C-F is no angle among its 9.
    assert (len(data.select(molecules="ethane")), len(data.select(molecules="SN2"))) == (19, 14)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"molecules": "SN1"}, "Did you mean 'SN2'"),
        ({"categories": "bond_lenght"}, "Did you mean 'bond_length'"),
        ({"labels": "mode 99"}, "Did you mean 'mode 9'"),
        ({"categories": "bond_length", "labels": "mode 9"}, "C1-F2"),
        ({"categories": "torsion"}, "Known: bond_angle"),
    ],
)
def test_a_pattern_that_matches_nothing_names_what_there_is(chosen, message, data):
    for choose in (data.select, data.without):
        with pytest.raises(SettingsError, match=message):
            choose(**chosen)


def test_everything_cannot_be_left_out(data):
    with pytest.raises(SettingsError, match="No observation is left"):
        data.without()


def test_tolerances_change_where_they_are_told_to(data):
    changed = data.with_tolerance(0.5, categories="bond_length", labels="C1-F*")
    differing = contents(changed) - contents(data)
    assert {(entry.label, entry.tolerance) for entry in differing} == {("C1-F2", 0.5), ("C1-F3", 0.5)}
    weighted = data.with_weight(2.0, categories="bond_length", labels="C1-F*")
    assert contents(weighted) == contents(changed)


def test_one_tolerance_is_not_for_two_units(data):
    with pytest.raises(SettingsError, match="A and deg"):
        data.with_tolerance(1.0, categories="bond*")
    assert data.with_tolerance(30.0, categories=["frequency", "eigen*"]).group("SN2", "frequency").tolerances[0] == 30.0
    with pytest.raises(SettingsError, match="deviation that counts as one"):
        data.with_tolerance(0.0, categories="frequency")
    with pytest.raises(SettingsError, match="without"):
        data.with_weight(0.0, categories="frequency")


def test_normalized_kinds_have_the_weight_of_one_observation(sn2, shared_data):
    data = ReferenceData.from_molecules([sn2, ethane(shared_data)], normalize=True)
    for category in data.categories:
        squares = sum(entry.tolerance**-2 for entry in data.select(categories=category))
        assert squares == pytest.approx(tolerances()[category] ** -2, rel=1e-12)


def test_joining_refuses_what_is_there_twice_or_was_made_otherwise(sn2, data):
    with pytest.raises(SettingsError, match="observed twice"):
        data + data.select(labels="C1-F2")
    with pytest.raises(SettingsError, match="'zero-weight' and 'C'"):
        data + ReferenceData.from_molecules([sn2], transition_state="C")


def test_numbers_cannot_be_changed_in_place(data):
    with pytest.raises(ValueError, match="read-only"):
        data.groups[0].observed[0] = 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"category": "bond_lengths"}, "Did you mean 'bond_length'"),
        ({"observed": np.array([1.0])}, "one number per label"),
        ({"observed": np.array([1.0, np.nan])}, "'C1-H2' is nan"),
        ({"tolerances": np.array([1.0, -1.0])}, "is -1 A"),
        ({"labels": ("C1-H1", "C1-H1")}, "observed twice"),
    ],
)
def test_a_group_that_cannot_be_is_an_error(changes, message):
    fields = {
        "molecule": "methane",
        "category": "bond_length",
        "labels": ("C1-H1", "C1-H2"),
        "observed": np.array([1.09, 1.09]),
        "tolerances": np.array([0.01, 0.01]),
    }
    with pytest.raises(SettingsError, match=message):
        ReferenceGroup(**{**fields, **changes})


def test_tables_show_kinds_and_observations(data):
    assert "bond_length" in str(data)
    assert "zero-weight" in str(data)
    assert len(str(data.select(categories="bond*")).splitlines()) == 4
    assert len(data.table().splitlines()) == len(data) + 1
    assert "SN2" not in repr(data)
    assert str(len(data)) in repr(data)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_holds_everything_bit_by_bit(suffix, sn2, shared_data, tmp_path):
    needs_pyyaml(suffix)
    path = tmp_path / f"references{suffix}"
    data = ReferenceData.from_molecules([sn2, ethane(shared_data)], [*KINDS["default"], "torsion"], normalize=True)
    data = data.with_weight(7.0, labels="C1-F2")
    data.write(path)
    found = ReferenceData.read(path)
    assert list(found) == list(data)
    assert found.transition_state == data.transition_state
    found.write(tmp_path / f"again{suffix}")
    assert (tmp_path / f"again{suffix}").read_text() == path.read_text()


numbers = st.floats(allow_nan=False, allow_infinity=False)
# Surrogates are no text, and TOML has no control characters; YAML takes a few more as line breaks.
names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\x85\u2028\u2029\ufeff\ufffe\uffff"))


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(
    molecule=names,
    entries=st.dictionaries(names, st.tuples(numbers, numbers.filter(lambda x: x > 0.0)), min_size=1, max_size=5),
)
def test_any_number_and_name_survives_a_file(suffix, molecule, entries, tmp_path_factory):
    needs_pyyaml(suffix)
    observed, spread = (np.array(column) for column in zip(*entries.values(), strict=True))
    data = ReferenceData((ReferenceGroup(molecule, "bond_length", tuple(entries), observed, spread),))
    path = tmp_path_factory.mktemp("references") / f"data{suffix}"
    data.write(path)
    found = ReferenceData.read(path).groups[0]
    assert (found.molecule, found.labels) == (molecule, tuple(entries))
    assert found.observed.tobytes() == observed.tobytes()
    assert found.tolerances.tobytes() == spread.tobytes()


GOOD = """format = 1
[[groups]]
molecule = "HF"
category = "bond_length"
unit = "A"
observations = [["F1-H2", 0.917, 0.01]]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "format 2"),
        ("format = 1", "formt = 1", "Did you mean 'format'"),
        ("category", "catgory", "Did you mean 'category'"),
        ("bond_length", "bond_lenght", "Did you mean 'bond_length'"),
        ('"A"', '"nm"', "Convert the numbers"),
        ("0.917, 0.01", "0.917", "a label and two numbers"),
        ("0.917", '"0.917"', "a label and two numbers"),
        ("0.917", "true", "a label and two numbers"),
        ("0.01", "0.0", "deviation that counts as one"),
        ('molecule = "HF"', "", "no entry 'molecule'"),
        ("[[groups]]", "[[groups]", "no file of references"),
        ('"HF"', "1", "name of a molecule"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(old, new, message, tmp_path):
    path = tmp_path / "references.toml"
    path.write_text(GOOD)
    assert ReferenceData.read(path).group("HF", "bond_length").observed[0] == 0.917
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(FileFormatError, match=message):
        ReferenceData.read(path)


def test_yaml_that_is_none_or_holds_text_for_a_number_is_an_error(tmp_path):
    pytest.importorskip("yaml")
    path = tmp_path / "references.yml"
    for text, message in (
        ("format: [", "not YAML"),
        ("- 1", "holds list"),
        (
            "format: 1\ngroups:\n- {molecule: HF, category: bond_length, observations: [[F1-H2, 0.917, 1e-2]]}",
            "needs a point and a sign",
        ),
    ):
        path.write_text(text)
        with pytest.raises(FileFormatError, match=message):
            ReferenceData.read(path)


def test_files_that_cannot_be_read_or_written_are_errors(data, tmp_path, monkeypatch):
    with pytest.raises(FileFormatError, match="cannot be read"):
        ReferenceData.read(tmp_path / "missing.toml")
    with pytest.raises(FileFormatError, match="cannot be written"):
        data.write(tmp_path / "missing" / "data.toml")
    with pytest.raises(SettingsError, match=r"\.toml, \.yaml"):
        data.write(tmp_path / "data.json")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SettingsError, match="PyYAML"):
        data.write(tmp_path / "data.yaml")


def test_the_objective_fits_exactly_the_observations_that_are_listed(sn2):
    kinds = {"frequency": 10.0, "bond_length": None, "bond_angle": None}
    field = estimate_force_constants([sn2], build_force_field([sn2]))
    values = field.parameters.flat * 1.01
    data = ReferenceData.from_molecules([sn2], kinds)
    whole, same, part = (
        ForceFieldObjective(field, [sn2], references)
        for references in (kinds, data, data.select(labels=["C1-F3", "mode 5", "mode 7"]))
    )
    found, again, some = (
        objective.evaluate(values, objective.initial_state(), derivatives=True) for objective in (whole, same, part)
    )
    assert_array_equal(again.residuals, found.residuals)
    assert_array_equal(again.jacobian, found.jacobian)
    order = [(entry.category, entry.label) for entry in data]
    kept = [order.index(key) for key in (("frequency", "mode 5"), ("frequency", "mode 7"), ("bond_length", "C1-F3"))]
    assert_array_equal(some.residuals, found.residuals[kept])
    assert_array_equal(some.jacobian, found.jacobian[kept])


def test_a_measured_value_takes_the_place_of_the_computed_one(sn2):
    field = estimate_force_constants([sn2], build_force_field([sn2]))
    data = ReferenceData.from_molecules([sn2], ["bond_length"])
    group = data.groups[0]
    shifted = ReferenceGroup("SN2", "bond_length", group.labels, group.observed + 0.02, group.tolerances)
    before, after = (
        objective.evaluate(field.parameters.flat, objective.initial_state(), derivatives=False).residuals
        for objective in (ForceFieldObjective(field, [sn2], given) for given in (data, ReferenceData((shifted,))))
    )
    assert_allclose(before - after, 0.02 / group.tolerances, rtol=1e-9)


def test_observations_of_another_molecule_are_an_error(sn2, shared_data):
    data = ReferenceData.from_molecules([ethane(shared_data)], ["bond_length"])
    with pytest.raises(SettingsError, match="ethane"):
        ForceFieldObjective(build_force_field([sn2]), [sn2], data)


def test_a_stored_fit_is_scored_alike_after_its_references_were_written(sn2, tmp_path):
    field = estimate_force_constants([sn2], build_force_field([sn2]))
    data = ReferenceData.from_molecules([sn2], weights="q2mm", invert_ts_curvature=True)
    data.write(tmp_path / "references.toml")
    objectives = [
        ForceFieldObjective(field, [sn2], given) for given in (data, ReferenceData.read(tmp_path / "references.toml"))
    ]
    first, second = (
        objective.evaluate(field.parameters.flat, objective.initial_state(), derivatives=False)
        for objective in objectives
    )
    assert first.score == second.score
    assert objectives[1].transition_state == "C"
