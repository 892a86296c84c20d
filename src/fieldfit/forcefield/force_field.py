"""A force field: rows of functional forms on atom types, with their values in the units a user sees.

A force field is never changed in place. `parameters` shows its values as named parameters with bounds and scales, and
`with_values` returns a copy with new ones.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fieldfit.errors import FileFormatError, ForceFieldError, InputError
from fieldfit.forcefield.forms import FORMS, Column
from fieldfit.forcefield.nonbonded import Nonbonded
from fieldfit.forcefield.row import KIND_ORDER, NONBONDED_KINDS, Row, canonical
from fieldfit.parameters import Parameter, Parameters
from fieldfit.registry import unknown_name
from fieldfit.typing import FilePath, Vector

FORMAT = 1
"""Version of the files that `ForceField.write` writes."""


@dataclass(frozen=True, eq=False)
class ForceField:
    """A force field.

    Args:
        name: Title in files and reports.
        rows: Rows, sorted by kind in the order of `KIND_ORDER`.
        elements: Atom type to element symbol.
        nonbonded: How pairs of atoms interact; None if the force field is valence-only.

    Raises:
        ForceFieldError: Two rows describe the same interaction, a row without a tag names a type without an element,
            or rows of pairs do not fit `nonbonded` or each other.

    Example:
        >>> from fieldfit.forcefield import ForceField, Row
        >>> row = Row("harmonic_bond", ("C", "H"), {"k": 340.0, "r0": 1.09})
        >>> field = ForceField("methane", (row,), {"C": "C", "H": "H"})
        >>> field.parameters.names
        ('bond.C-H.k', 'bond.C-H.r0')
    """

    name: str
    rows: tuple[Row, ...]
    elements: Mapping[str, str]
    nonbonded: Nonbonded | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(sorted(self.rows, key=_rank)))
        labels: set[str] = set()
        for row in self.rows:
            if row.label in labels:
                raise ForceFieldError(f"Two rows describe {row.label}. Keep one of them.")
            labels.add(row.label)
            missing = [name for name in row.types if name not in self.elements]
            if missing and not row.tag:
                raise ForceFieldError(f"Row {row.label} names the atom type {missing[0]!r}, which has no element.")
        self._check_nonbonded()

    def _check_nonbonded(self) -> None:
        pairs = [row for row in self.rows if row.kind in NONBONDED_KINDS]
        if pairs and self.nonbonded is None:
            raise ForceFieldError(
                f"Row {pairs[0].label} acts on pairs of atoms, but the force field {self.name!r} is valence-only. "
                "Say how pairs interact: nonbonded=Nonbonded(...)."
            )
        forms = {row.form for row in pairs if row.kind == "vdw"}
        if len(forms) > 1:
            raise ForceFieldError(
                f"The van der Waals rows of {self.name!r} are of the forms {' and '.join(sorted(forms))}, which cannot "
                "be combined. Use one."
            )

    @property
    def parameters(self) -> Parameters:
        """All values as named parameters with default bounds and scales, in the units of the columns.

        Default bounds are those of the columns, widened to the value where the force field already goes beyond them.
        """
        return Parameters(
            _parameter(name, row.values[column.name], column)
            for row in self.rows
            for name, column in zip(row.parameter_names, row.definition.columns, strict=True)
        )

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of all parameters, in order."""
        return tuple(name for row in self.rows for name in row.parameter_names)

    @property
    def internal_factors(self) -> Vector:
        """Factors from the units of `parameters` to internal ones, shape (parameters,)."""
        return np.array([column.internal for row in self.rows for column in row.definition.columns])

    @property
    def is_linear(self) -> np.ndarray:
        """Whether the energy is proportional to each parameter: the force constants, shape (parameters,)."""
        return np.array([column.is_linear for row in self.rows for column in row.definition.columns], dtype=bool)

    def with_values(self, values: Mapping[str, Any]) -> ForceField:
        """Return a copy with new values of some parameters, by parameter name, in the units of the columns.

        Raises:
            ForceFieldError: A name is not one of its parameters.
        """
        known = self.parameter_names
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ForceFieldError(
                f"The force field has no parameter {unknown[0]!r}. Known: {', '.join(sorted(known))}."
            )
        return replace(self, rows=tuple(_with_row_values(row, values) for row in self.rows))

    def find(self, kind: str, types: Iterable[str]) -> tuple[Row, ...]:
        """Return the rows of a kind for a tuple of atom types in any equivalent order; rows with a tag have none."""
        return self._by_types.get((kind, canonical(kind, types)), ())

    def row(self, label: str) -> Row:
        """Return the row of a label.

        Raises:
            ForceFieldError: There is none.
        """
        if label not in self._by_label:
            raise ForceFieldError(unknown_name(f"row of {self.name}", label, self._by_label))
        return self._by_label[label]

    @cached_property
    def _by_types(self) -> dict[tuple[str, tuple[str, ...]], tuple[Row, ...]]:
        found: dict[tuple[str, tuple[str, ...]], tuple[Row, ...]] = {}
        for row in self.rows:
            if not row.tag:
                key = (row.kind, row.types)
                found[key] = (*found.get(key, ()), row)
        return found

    @cached_property
    def _by_label(self) -> dict[str, Row]:
        return {row.label: row for row in self.rows}

    def write(self, path: FilePath) -> None:
        """Write everything to a TOML file that `ForceField.read` reads back bit by bit."""
        Path(path).write_text(self.to_toml(), encoding="utf-8")

    def to_toml(self) -> str:
        """Return the force field as TOML; floats are written so that they read back bit by bit."""
        lines = ["# fieldfit force field: kcal/mol, angstrom, degrees; E = k x^2 without a half", f"format = {FORMAT}"]
        lines += [f"name = {_quoted(self.name)}", "", "[elements]"]
        lines += [f"{_quoted(name)} = {_quoted(element)}" for name, element in self.elements.items()]
        if self.nonbonded is not None:
            lines += ["", "[nonbonded]"]
            lines += [f"{name} = {json.dumps(value)}" for name, value in asdict(self.nonbonded).items()]
        for row in self.rows:
            lines += ["", "[[rows]]", f"form = {_quoted(row.form)}"]
            lines.append(f"types = [{', '.join(map(_quoted, row.types))}]")
            lines += [f"tag = {_quoted(row.tag)}"] if row.tag else []
            lines += [f"{name} = {float(value)!r}" for name, value in ({**row.values, **row.constants}).items()]
        return "\n".join(lines) + "\n"

    @staticmethod
    def read(path: FilePath) -> ForceField:
        """Read a force field from its TOML file.

        Raises:
            FileFormatError: The file is missing, is not TOML, lacks something or holds something unknown.
        """
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise ForceFieldError(
                    f"it is of format {data['format']}, but this version of fieldfit reads format {FORMAT}"
                )
            elements = {str(key): str(value) for key, value in data["elements"].items()}
            pairs = None if "nonbonded" not in data else Nonbonded.from_table(data["nonbonded"])
            return ForceField(data["name"], tuple(_row_from_table(table) for table in data["rows"]), elements, pairs)
        except InputError as error:
            raise FileFormatError(f"The force field {path} cannot be used: {error}") from error
        except OSError as error:
            raise FileFormatError(
                f"The force field {path} cannot be read: {error.strerror}. Check the path."
            ) from error
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise FileFormatError(
                f"{path} is not a fieldfit force field: {type(error).__name__} {error}. "
                "Give a file that fieldfit wrote."
            ) from error


def _rank(row: Row) -> int:
    return KIND_ORDER.index(row.kind) if row.kind in KIND_ORDER else len(KIND_ORDER)


def _parameter(name: str, value: float, column: Column) -> Parameter:
    lower, upper = min(column.lower, value), max(column.upper, value)
    return Parameter(name, value, unit=column.unit, lower=lower, upper=upper, scale=column.scale)


def _with_row_values(row: Row, values: Mapping[str, Any]) -> Row:
    new = {
        column: float(values.get(name, value))
        for name, (column, value) in zip(row.parameter_names, row.values.items(), strict=True)
    }
    return replace(row, values=new)


def _row_from_table(table: Mapping[str, Any]) -> Row:
    form = FORMS[table["form"]]
    known = ("form", "types", "tag", *(column.name for column in form.columns), *form.constants)
    for key in table:
        if key not in known:
            raise ForceFieldError(unknown_name(f"entry of a {form.name} row", key, known))
    values = {column.name: float(table[column.name]) for column in form.columns}
    constants = {name: float(table[name]) for name in form.constants}
    return Row(table["form"], tuple(table["types"]), values, constants, table.get("tag", ""))


def _quoted(text: str) -> str:
    # A JSON string is a TOML string, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
