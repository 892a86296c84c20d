"""What a force field has to reproduce."""

from fieldfit.forcefield.references.model import MoleculeEvaluation, MoleculeModel, MoleculeState, QMTarget
from fieldfit.forcefield.references.reference import AbstractReference
from fieldfit.registry import Registry

REFERENCES = Registry(
    "reference",
    {
        "frequency": "fieldfit.forcefield.references.vibrational:Frequency",
        "eigenmatrix_diagonal": "fieldfit.forcefield.references.vibrational:EigenmatrixDiagonal",
        "eigenmatrix_off_diagonal": "fieldfit.forcefield.references.vibrational:EigenmatrixOffDiagonal",
        "newton_displacement": "fieldfit.forcefield.references.vibrational:NewtonDisplacement",
        "bond_length": "fieldfit.forcefield.references.geometric:BondLength",
        "bond_angle": "fieldfit.forcefield.references.geometric:BondAngle",
        "torsion": "fieldfit.forcefield.references.geometric:Torsion",
        "gradient": "fieldfit.forcefield.references.cartesian:Gradient",
        "hessian_element": "fieldfit.forcefield.references.cartesian:HessianElement",
        "classic_eigenmatrix_diagonal": "fieldfit.forcefield.references.cartesian:ClassicEigenmatrixDiagonal",
        "classic_eigenmatrix_off_diagonal": "fieldfit.forcefield.references.cartesian:ClassicEigenmatrixOffDiagonal",
    },
    group="fieldfit.references",
)

__all__ = ["REFERENCES", "AbstractReference", "MoleculeEvaluation", "MoleculeModel", "MoleculeState", "QMTarget"]
