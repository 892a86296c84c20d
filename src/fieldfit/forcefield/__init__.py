"""Force fields: from quantum-mechanical results to fitted parameters in a program's format.

Names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fieldfit.forcefield.building import build_force_field
    from fieldfit.forcefield.ensemble import Ensemble
    from fieldfit.forcefield.fitting import ForceFieldObjective
    from fieldfit.forcefield.force_field import ForceField
    from fieldfit.forcefield.formats import write
    from fieldfit.forcefield.formats.mm3_fld import read_fld
    from fieldfit.forcefield.initial_guess import estimate_force_constants
    from fieldfit.forcefield.macromodel import (
        fld_parameters,
        force_field_from_print_outs,
        with_charges,
        with_fld_values,
        with_record,
        write_fld,
    )
    from fieldfit.forcefield.molecule import Molecule, QMRecord
    from fieldfit.forcefield.nonbonded import Nonbonded
    from fieldfit.forcefield.readers import read
    from fieldfit.forcefield.readers.combine import combine
    from fieldfit.forcefield.readers.ensemble_xyz import read_ensemble
    from fieldfit.forcefield.readers.macromodel_mmo import read_mmo
    from fieldfit.forcefield.readers.mae import read_mae
    from fieldfit.forcefield.readers.mol2 import read_mol2
    from fieldfit.forcefield.readers.structure import Structure, molecule_from_structure
    from fieldfit.forcefield.reference_data import ReferenceData
    from fieldfit.forcefield.report import FitReport, report_fit
    from fieldfit.forcefield.row import Row
    from fieldfit.forcefield.staged_fit import StagedFit, fit_force_field
    from fieldfit.forcefield.surrogate import surrogate_objective
    from fieldfit.forcefield.topology import perceive, share_types
    from fieldfit.forcefield.transition_states import StationaryPoint, invert_curvature, stationary_point

_HOMES = {
    "Ensemble": "fieldfit.forcefield.ensemble",
    "FitReport": "fieldfit.forcefield.report",
    "ForceField": "fieldfit.forcefield.force_field",
    "ForceFieldObjective": "fieldfit.forcefield.fitting",
    "Molecule": "fieldfit.forcefield.molecule",
    "Nonbonded": "fieldfit.forcefield.nonbonded",
    "QMRecord": "fieldfit.forcefield.molecule",
    "ReferenceData": "fieldfit.forcefield.reference_data",
    "Row": "fieldfit.forcefield.row",
    "StagedFit": "fieldfit.forcefield.staged_fit",
    "StationaryPoint": "fieldfit.forcefield.transition_states",
    "Structure": "fieldfit.forcefield.readers.structure",
    "build_force_field": "fieldfit.forcefield.building",
    "combine": "fieldfit.forcefield.readers.combine",
    "estimate_force_constants": "fieldfit.forcefield.initial_guess",
    "fit_force_field": "fieldfit.forcefield.staged_fit",
    "fld_parameters": "fieldfit.forcefield.macromodel",
    "force_field_from_print_outs": "fieldfit.forcefield.macromodel",
    "invert_curvature": "fieldfit.forcefield.transition_states",
    "molecule_from_structure": "fieldfit.forcefield.readers.structure",
    "perceive": "fieldfit.forcefield.topology",
    "read": "fieldfit.forcefield.readers",
    "read_ensemble": "fieldfit.forcefield.readers.ensemble_xyz",
    "read_fld": "fieldfit.forcefield.formats.mm3_fld",
    "read_mae": "fieldfit.forcefield.readers.mae",
    "read_mmo": "fieldfit.forcefield.readers.macromodel_mmo",
    "read_mol2": "fieldfit.forcefield.readers.mol2",
    "report_fit": "fieldfit.forcefield.report",
    "share_types": "fieldfit.forcefield.topology",
    "stationary_point": "fieldfit.forcefield.transition_states",
    "surrogate_objective": "fieldfit.forcefield.surrogate",
    "with_charges": "fieldfit.forcefield.macromodel",
    "with_fld_values": "fieldfit.forcefield.macromodel",
    "with_record": "fieldfit.forcefield.macromodel",
    "write": "fieldfit.forcefield.formats",
    "write_fld": "fieldfit.forcefield.macromodel",
}

__all__ = [
    "Ensemble",
    "FitReport",
    "ForceField",
    "ForceFieldObjective",
    "Molecule",
    "Nonbonded",
    "QMRecord",
    "ReferenceData",
    "Row",
    "StagedFit",
    "StationaryPoint",
    "Structure",
    "build_force_field",
    "combine",
    "estimate_force_constants",
    "fit_force_field",
    "fld_parameters",
    "force_field_from_print_outs",
    "invert_curvature",
    "molecule_from_structure",
    "perceive",
    "read",
    "read_ensemble",
    "read_fld",
    "read_mae",
    "read_mmo",
    "read_mol2",
    "report_fit",
    "share_types",
    "stationary_point",
    "surrogate_objective",
    "with_charges",
    "with_fld_values",
    "with_record",
    "write",
    "write_fld",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fieldfit.forcefield' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
