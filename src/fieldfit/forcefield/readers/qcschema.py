"""QCSchema results in JSON: an `AtomicResult` of version 1 or 2, as QCEngine and Psi4 write it.

Both versions hold `molecule` (symbols, geometry [bohr], masses [u], charge, multiplicity), `return_result`, whose
meaning is that of the driver, `properties` and `provenance`. Version 1 has driver and model at the top, version 2 in
`input_data.specification`. All numbers are in atomic units; arrays are flat or nested. Wavenumbers [1/cm] have no
place of their own in the schema and are taken from `extras.frequencies`.

References:
    https://molssi.github.io/QCSchema
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.constants import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2
from fieldfit.forcefield.elements import atomic_number, isotope_mass, symbol
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.readers.hessian import check_count, symmetrise
from fieldfit.forcefield.readers.reader import AbstractReader, isotope_masses, read_text
from fieldfit.typing import FilePath

# What a driver returns is also listed, or listed instead, among the properties.
_PROPERTIES = {"energy": "return_energy", "gradient": "return_gradient", "hessian": "return_hessian"}


@dataclass(frozen=True)
class QCSchemaReader(AbstractReader):
    """A QCSchema AtomicResult."""

    def sniff(self, path: Path, head: str) -> bool:
        return head.lstrip().startswith("{")

    def read(self, path: FilePath) -> QMRecord:
        result = _load(path)
        molecule = result["molecule"]
        symbols = tuple(symbol(atomic_number(label)) for label in molecule["symbols"])
        atoms = len(symbols)
        geometry = _numbers(molecule["geometry"], 3 * atoms, f"{path}: the geometry of {atoms} atoms")
        energy = _returned(result, "energy", 1, path)
        gradient = _returned(result, "gradient", 3 * atoms, path)
        hessian = _returned(result, "hessian", 9 * atoms**2, path)
        return QMRecord(
            name=Path(path).stem,
            symbols=symbols,
            coordinates=BOHR * geometry.reshape(atoms, 3),
            masses=_masses(molecule, symbols, path),
            hessian=None if hessian is None else HARTREE_PER_BOHR2 * _square(hessian, atoms, path),
            gradient=None if gradient is None else HARTREE_PER_BOHR * gradient.reshape(atoms, 3),
            energy=None if energy is None else HARTREE * energy.item(),
            charge=round(molecule.get("molecular_charge", 0)),
            multiplicity=round(molecule.get("molecular_multiplicity", 1)),
            frequencies=_frequencies(result, path),
            source=_source(result, path),
        )


def _load(path: FilePath) -> Mapping[str, Any]:
    try:
        result = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise FileFormatError(f"{path}: not valid JSON ({error}). The file is truncated or damaged.") from error
    if result.get("success") is False:
        reason = (result.get("error") or {}).get("error_message", "no reason given")
        raise FileFormatError(f"{path}: the calculation failed: {reason} Repeat it.")
    molecule = result.get("molecule")
    if not isinstance(molecule, dict) or "symbols" not in molecule or "geometry" not in molecule:
        raise FileFormatError(
            f"{path}: no molecule with symbols and geometry, so it is not a QCSchema AtomicResult. "
            f"It holds: {', '.join(result)}."
        )
    if not all(molecule.get("real") or [True]):
        raise FileFormatError(f"{path}: the molecule has ghost atoms, which do not vibrate. Repeat it without them.")
    return result


def _specification(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find driver and model: in the result itself in version 1, in its input data in version 2."""
    return result.get("input_data", {}).get("specification", result)


def _returned(result: Mapping[str, Any], quantity: str, count: int, path: FilePath) -> Float[np.ndarray, " _"] | None:
    """Find energy, gradient or Hessian in atomic units, flat."""
    if _specification(result).get("driver") == quantity:
        value = result.get("return_result")
    else:
        value = result.get("properties", {}).get(_PROPERTIES[quantity])
    return None if value is None else _numbers(value, count, f"{path}: the {quantity}")


def _numbers(value: Any, count: int | None, what: str) -> Float[np.ndarray, " _"]:
    try:
        numbers = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{what} is not a list of numbers ({error}). Write plain JSON.") from error
    check_count(numbers, len(numbers) if count is None else count, what=what)
    return numbers


def _square(hessian: Float[np.ndarray, " _"], atoms: int, path: FilePath) -> Float[np.ndarray, "dof dof"]:
    return symmetrise(hessian.reshape(3 * atoms, 3 * atoms), origin=str(path))


def _masses(molecule: Mapping[str, Any], symbols: tuple[str, ...], path: FilePath) -> Float[np.ndarray, " atoms"]:
    if molecule.get("masses") is not None:
        return _numbers(molecule["masses"], len(symbols), f"{path}: the list of masses of {len(symbols)} atoms")
    for label, isotope in zip(symbols, molecule.get("mass_numbers") or [], strict=False):
        if isotope not in (-1, round(isotope_mass(label))):  # -1: not stated
            raise FileFormatError(
                f"{path}: an atom is the isotope {isotope} of {label}, but its mass is not stated. "
                "Add the masses [u] of all atoms to the molecule."
            )
    return isotope_masses(symbols)


def _frequencies(result: Mapping[str, Any], path: FilePath) -> Float[np.ndarray, " modes"] | None:
    wavenumbers = (result.get("extras") or {}).get("frequencies")
    return None if wavenumbers is None else _numbers(wavenumbers, None, f"{path}: extras.frequencies")


def _source(result: Mapping[str, Any], path: FilePath) -> dict[str, str]:
    provenance = result.get("provenance", {})
    model = _specification(result).get("model", {})
    return {
        "file": str(path),
        "format": "qcschema",
        "program": str(provenance.get("creator", "unknown")),
        "version": str(provenance.get("version", "unknown")),
        "method": "/".join(str(model[key]) for key in ("method", "basis") if model.get(key)),
    }
