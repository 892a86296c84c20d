"""Numbers that the pages state in prose are those of the code."""

from pathlib import Path

import pytest

from fieldfit.diagnostics.identifiability import DETERMINED
from fieldfit.forcefield.constants import KCAL_PER_MDYN_A, WAVENUMBER
from fieldfit.forcefield.eigenmatrix import FLOOR
from fieldfit.forcefield.forms.mm3 import STRETCH_CUBIC
from fieldfit.forcefield.initial_guess.seminario import GAMMA, TYPICAL_ANGLE, TYPICAL_BOND
from fieldfit.forcefield.topology import BOND_TOLERANCE, LINEAR, PLANAR
from fieldfit.forcefield.vibrations import DEGENERACY

DOCS = Path(__file__).resolve().parents[2] / "docs"
POWER = {1e-5: "10⁻⁵"}[DETERMINED]

STATEMENTS = {
    "force_fields.md": [
        f"The default is {BOND_TOLERANCE:g}.",
        f"above {LINEAR:g}° has no useful derivative",
        f"sum to more than {PLANAR:g}°",
        f"{0.5 * KCAL_PER_MDYN_A:.2f} kcal/mol/Å² here",
        rf"C = {WAVENUMBER:.2f}\ \text{{cm}}^{{-1}}",
        f"Eigenvalues below that of {FLOOR:g} 1/cm",
        f"closer than {DEGENERACY:g} 1/cm",
        f"all angle constants times {GAMMA:g}",
        f"{2.0 * TYPICAL_BOND / KCAL_PER_MDYN_A:g} mdyn/Å for every bond",
        f"{2.0 * TYPICAL_ANGLE / KCAL_PER_MDYN_A:g} mdyn Å/rad² for every angle",
        f"determined above {POWER} of the largest singular value",
        rf"1 - {STRETCH_CUBIC:g}\,d",
    ],
    "fitting_functions.md": [f"undetermined below {POWER} of the largest singular value"],
}


@pytest.mark.parametrize(("page", "statement"), [(page, text) for page, texts in STATEMENTS.items() for text in texts])
def test_the_page_states_the_number_of_the_code(page, statement):
    text = " ".join((DOCS / page).read_text(encoding="utf-8").split())
    assert statement in text
