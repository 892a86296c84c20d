"""What a reader of quantum-chemistry results is, and how readers open files.

A reader turns one file into one `QMRecord`: it converts to internal units, symmetrises the Hessian, takes the masses
the program used where the file states them, and refuses what is truncated or contradicts itself.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.elements import isotope_mass
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.typing import FilePath

HEAD_LENGTH = 20_000
"""How many characters of a file a reader sees when it is asked whether the file is its own."""


class AbstractReader(ABC):
    """A format of quantum-chemistry results.

    A reader is a frozen dataclass; its fields are what the user may state about a file.
    """

    @abstractmethod
    def sniff(self, path: Path, head: str) -> bool:
        """Tell whether a file is of this format.

        Args:
            path: Where the file is.
            head: Its first characters, at most `HEAD_LENGTH`.

        Returns:
            True for files of this format; no other reader says so of the same file.
        """

    @abstractmethod
    def read(self, path: FilePath) -> QMRecord:
        """Read a file.

        Args:
            path: Where the file is.

        Returns:
            The result in internal units, named after the file. What the file does not hold is None.

        Raises:
            FileFormatError: The file is missing, truncated or contradicts itself.
            MoleculeError: It names an element that does not exist, or its numbers are not finite.
        """


def read_text(path: FilePath) -> str:
    """Read a text file; bytes that are not UTF-8, as old programs print in titles, are replaced.

    Args:
        path: Where the file is.

    Returns:
        Its text; lines end with a line feed, on whatever system they were written.

    Raises:
        FileFormatError: There is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"There is no file {str(path)!r}. Check the name and the working directory.")
    return path.read_text(encoding="utf-8", errors="replace")


def parse_numbers(fields: Iterable[str], *, what: str) -> Float[np.ndarray, " n"]:
    """Turn printed numbers into an array.

    Args:
        fields: Printed numbers; Fortran's D exponents and exponents without a letter (1.0-100) are understood.
        what: File and quantity, for messages: "lig.fchk: the Hessian".

    Returns:
        The numbers, shape (n,).

    Raises:
        FileFormatError: A field is not a number.
    """
    return np.array([_parse_number(field, what) for field in fields])


def isotope_masses(symbols: Iterable[str]) -> Float[np.ndarray, " atoms"]:
    """List the masses of the most abundant isotopes.

    Args:
        symbols: Element symbols.

    Returns:
        Masses [u], shape (atoms,).
    """
    return np.array([isotope_mass(symbol) for symbol in symbols])


def _parse_number(field: str, what: str) -> float:
    # Fortran writes 1.0D-05, and drops the letter when the exponent has three digits: 1.0-100.
    text = re.sub(r"(?<=[0-9.])([+-])", r"E\1", field.strip().upper().replace("D", "E"))
    try:
        return float(text)
    except ValueError:
        raise FileFormatError(
            f"{what} holds {field.strip()!r} where a number is expected. "
            "The file is damaged, or a number was too large for its field: write it again."
        ) from None
