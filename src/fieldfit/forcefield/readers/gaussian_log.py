r"""Gaussian output files (.log, .out), Gaussian 94 to 16.

Every job step ends with an archive entry, wrapped at column 70 and begun by `1\1\` (`1|1|` on Windows). Its sections
are separated by two backslashes; backslashes separate the items of a section:

    1\1\site\job type\method\basis\ ... \\route\\title\\charge,multiplicity\C,x,y,z\ ... \\Version=...\HF=...\NImag=0\\
    lower triangle of the Hessian [hartree/bohr^2]\\gradient [hartree/bohr]\\\@

Geometry [A], Hessian and gradient of an entry are in one frame, the input orientation, which is not that of most
tables in the output; therefore all three are taken from the last entry that has a Hessian. The printed normal modes
have too few digits to rebuild it. The printed frequencies and masses are those of the step that wrote the entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.constants import HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2
from fieldfit.forcefield.elements import atomic_number, symbol
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.readers.hessian import check_count, unpack_triangle
from fieldfit.forcefield.readers.reader import AbstractReader, isotope_masses, parse_numbers, read_text
from fieldfit.typing import FilePath

_BANNER = "Entering Gaussian System"
_ARCHIVE_START = re.compile(r"^ ?1([\\|])1\1", re.MULTILINE)
_CHARGE = re.compile(r"-?\d+,\d+$")
_FREQUENCIES = re.compile(r"^ *Frequencies -- (.*)$", re.MULTILINE)
_MASSES = re.compile(r"^ *Atom +\d+ has atomic number +\d+ and mass +(\S+) *$", re.MULTILINE)
_PRINTED_MASS_ERROR = 5.1e-6  # five decimals

# The best energy an entry lists; a double hybrid lists its total as MP2.
_ENERGIES = ("CCSD(T)", "QCISD(T)", "CCSD", "QCISD", "MP4SDTQ", "MP4SDQ", "MP4DQ", "MP3", "MP2", "HF")


@dataclass(frozen=True)
class GaussianLogReader(AbstractReader):
    """A Gaussian output file."""

    def sniff(self, path: Path, head: str) -> bool:
        return _BANNER in head or _ARCHIVE_START.search(head) is not None

    def read(self, path: FilePath) -> QMRecord:
        entries = list(_archive_entries(read_text(path), path))
        if not entries:
            raise FileFormatError(
                f"{path}: there is no archive entry (1\\1\\ ... \\@). The job did not end normally, or the end of the "
                "file is missing: repeat the frequency job."
            )
        entry = next((entry for entry in reversed(entries) if entry.hessian_fields is not None), entries[-1])
        symbols, coordinates = entry.geometry()
        charge, multiplicity = entry.molecule[0].split(",")
        return QMRecord(
            name=Path(path).stem,
            symbols=symbols,
            coordinates=coordinates,
            masses=_masses(entry.output, symbols, path),
            hessian=entry.hessian(len(symbols)),
            gradient=entry.gradient(len(symbols)),
            energy=entry.energy(),
            charge=int(charge),
            multiplicity=int(multiplicity),
            frequencies=_frequencies(entry.output, path),
            source=entry.source(),
        )


@dataclass(frozen=True)
class _Entry:
    """One archive entry.

    Args:
        path: File, for messages.
        output: What the job step printed before the entry.
        header: Items of the first section: site, job type, method, basis ...
        molecule: Charge and multiplicity, then one item per atom.
        results: What follows by name: Version, HF, NImag ...
        hessian_fields: Printed numbers of the Hessian.
        gradient_fields: Printed numbers of the gradient.
    """

    path: FilePath
    output: str
    header: Sequence[str]
    molecule: Sequence[str]
    results: dict[str, str]
    hessian_fields: Sequence[str] | None
    gradient_fields: Sequence[str] | None

    def geometry(self) -> tuple[tuple[str, ...], Float[np.ndarray, "atoms 3"]]:
        """Symbols and coordinates [A], shape (atoms, 3)."""
        # Fragment and residue labels hold commas: C(Fragment=1),0,x,y,z. The integer says which layer moves.
        rows = [re.sub(r"\([^)]*\)", "", item).split(",") for item in self.molecule[1:]]
        if any(len(row) not in (4, 5) or "." not in row[-1] for row in rows):
            raise FileFormatError(
                f"{self.path}: the geometry of the archive entry is a Z-matrix, not Cartesian coordinates. "
                "Read the formatted checkpoint file (.fchk) of the job instead."
            )
        fields = [field for row in rows for field in row[-3:]]
        coordinates = parse_numbers(fields, what=f"{self.path}: the geometry of the archive entry").reshape(-1, 3)
        # In a QM/MM job the symbol is followed by an atom type and a charge: C-CT--0.18.
        return tuple(symbol(atomic_number(row[0].split("-")[0])) for row in rows), coordinates

    def hessian(self, atoms: int) -> Float[np.ndarray, "dof dof"] | None:
        """Hessian [kcal/mol/A^2], shape (3 atoms, 3 atoms)."""
        if self.hessian_fields is None:
            return None
        triangle = parse_numbers(self.hessian_fields, what=f"{self.path}: the Hessian of the archive entry")
        return HARTREE_PER_BOHR2 * unpack_triangle(triangle, atoms, origin=str(self.path))

    def gradient(self, atoms: int) -> Float[np.ndarray, "atoms 3"] | None:
        """Gradient [kcal/mol/A], shape (atoms, 3)."""
        if self.gradient_fields is None:
            return None
        what = f"{self.path}: the gradient of the archive entry"
        values = parse_numbers(self.gradient_fields, what=what)
        check_count(values, 3 * atoms, what=f"{what} of {atoms} atoms")
        return HARTREE_PER_BOHR * values.reshape(atoms, 3)

    def energy(self) -> float | None:
        """Total energy of the highest level the entry lists [kcal/mol]."""
        level = next((level for level in _ENERGIES if level in self.results), None)
        if level is None:
            return None
        return HARTREE * float(parse_numbers([self.results[level]], what=f"{self.path}: {level}")[0])

    def source(self) -> dict[str, str]:
        """Where the record comes from."""
        source = {"file": str(self.path), "format": "gaussian-log", "program": "Gaussian"}
        source["version"] = self.results.get("Version", "unknown")
        source["method"] = "/".join(self.header[4:6])
        if "NImag" in self.results:
            source["imaginary frequencies"] = self.results["NImag"]
        return source


def _archive_entries(text: str, path: FilePath) -> Iterator[_Entry]:
    """Find the archive entries and what was printed before each."""
    printed_from = 0
    for start in _ARCHIVE_START.finditer(text):
        entry, end = _unwrap(text[start.start() :], start[1], path)
        yield _parse_entry(entry, text[printed_from : start.start()], start[1], path)
        printed_from = start.start() + end


def _unwrap(text: str, separator: str, path: FilePath) -> tuple[str, int]:
    """Join the lines of the entry at the beginning of a text; tell where it ends."""
    entry = ""
    lines: list[str] = []
    end = 0
    for line in text.split("\n"):
        lines.append(line.removeprefix(" "))
        end += len(line) + 1
        if line.endswith("@"):
            entry = "".join(lines)
            if entry.endswith(separator + "@"):
                return entry, end
        if not line.strip():
            break
    raise FileFormatError(
        f"{path}: an archive entry does not end with {separator}@{_progress(''.join(lines), separator)}. The file is "
        "truncated: copy it again, or repeat the frequency job."
    )


def _progress(entry: str, separator: str) -> str:
    """Tell how much of the Hessian a truncated entry holds."""
    sections = _split(entry, separator)
    molecule, hessian = _find_molecule(sections), _find_hessian(sections)
    if molecule is None or hessian is None:
        return ""
    dof = 3 * (len(sections[molecule]) - 1)
    found = sections[hessian][0].count(",") + 1 if hessian < len(sections) else 0
    return f" and holds {found} of the {dof * (dof + 1) // 2} numbers of its Hessian"


def _parse_entry(entry: str, output: str, separator: str, path: FilePath) -> _Entry:
    sections = _split(entry, separator)
    molecule, hessian = _find_molecule(sections), _find_hessian(sections)
    if molecule is None:
        raise FileFormatError(
            f"{path}: an archive entry has no charge, multiplicity and geometry. The file is damaged."
        )
    items = [item for section in sections[molecule + 1 :] for item in section]
    derivatives = [] if hessian is None else [part[0].split(",") for part in sections[hessian : hessian + 2] if part[0]]
    return _Entry(
        path=path,
        output=output,
        header=sections[0],
        molecule=sections[molecule],
        results=dict(item.split("=", 1) for item in items if "=" in item),
        hessian_fields=derivatives[0] if derivatives else None,
        gradient_fields=derivatives[1] if len(derivatives) > 1 else None,
    )


def _split(entry: str, separator: str) -> list[list[str]]:
    """Split an entry into sections, and these into items."""
    return [section.split(separator) for section in entry.removesuffix("@").split(2 * separator)]


# A title may hold separators too: sections are told by what they hold, not by their number.
def _find_molecule(sections: Sequence[Sequence[str]]) -> int | None:
    return next((n for n, items in enumerate(sections) if _CHARGE.match(items[0]) and items[1:]), None)


def _find_hessian(sections: Sequence[Sequence[str]]) -> int | None:
    return next((n + 1 for n, items in enumerate(sections) if items[-1].startswith("NImag=")), None)


def _frequencies(output: str, path: FilePath) -> Float[np.ndarray, " modes"] | None:
    # An anharmonic job prints several sets: the last one belongs to the entry. High-precision modes repeat every
    # frequency after three hyphens.
    last = output[max(output.rfind("Harmonic frequencies (cm**-1)"), 0) :]
    fields = [field for line in _FREQUENCIES.findall(last) for field in line.split()]
    return parse_numbers(fields, what=f"{path}: 'Frequencies --'") if fields else None


def _masses(output: str, symbols: tuple[str, ...], path: FilePath) -> Float[np.ndarray, " atoms"]:
    """Masses the step used [u]: the printed ones, with all digits where they are the most abundant isotope's."""
    isotopes = isotope_masses(symbols)
    printed = parse_numbers(_MASSES.findall(output)[-len(symbols) :], what=f"{path}: the masses")
    if len(printed) == 0:
        return isotopes
    check_count(printed, len(symbols), what=f"{path}: the list of masses of {len(symbols)} atoms")
    return np.where(np.abs(printed - isotopes) < _PRINTED_MASS_ERROR, isotopes, printed)
