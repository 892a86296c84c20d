"""Equilibria in files: NumPy archives of named arrays, exact to the last bit.

The keys are the names of the parameter arrays, "p_l.powers" and "i_l.powers", "resolution" with (L, M), "name",
"format" with the version of this layout, and "R_lmn.lower" and the like where there are bounds.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fieldfit.equilibrium.equilibrium import UNITS, Equilibrium
from fieldfit.equilibrium.modes import Resolution
from fieldfit.equilibrium.profiles import PowerSeries
from fieldfit.errors import FileFormatError
from fieldfit.typing import FilePath

FORMAT = 1
ENDS = ("lower", "upper")


def save(equilibrium: Equilibrium, path: FilePath) -> None:
    """Write an equilibrium to a file.

    Args:
        equilibrium: Solved or not.
        path: The file, conventionally with the suffix .npz; it is replaced.
    """
    entries: dict[str, Any] = equilibrium.params_dict
    entries |= {"p_l.powers": equilibrium.pressure.powers, "i_l.powers": equilibrium.iota.powers}
    resolution = equilibrium.resolution
    entries |= {"resolution": (resolution.radial, resolution.poloidal), "name": equilibrium.name, "format": FORMAT}
    for name, pair in equilibrium.bounds.items():
        missing = dict(zip(ENDS, (-np.inf, np.inf), strict=True))
        for end, given in zip(ENDS, pair, strict=True):
            entries[f"{name}.{end}"] = missing[end] if given is None else given
    # An open file keeps its name; NumPy adds a suffix to a path that has none.
    with Path(path).open("wb") as stream:
        np.savez(stream, **entries)


def load(path: FilePath) -> Equilibrium:
    """Read an equilibrium from a file that `save` wrote.

    Args:
        path: The file.

    Raises:
        FileFormatError: It is missing, or not such a file.
        ParameterError: What it holds does not fit together.
    """
    entries = _read(path)
    profiles = {name: PowerSeries(entries[name], entries[f"{name}.powers"].tolist()) for name in ("p_l", "i_l")}
    arrays = {name: entries[name] for name in UNITS if name not in (*profiles, "Psi")}
    bounded = [name for name in UNITS if f"{name}.lower" in entries]
    return Equilibrium(
        Resolution(*entries["resolution"].tolist()),
        **arrays,
        Psi=float(entries["Psi"]),
        pressure=profiles["p_l"],
        iota=profiles["i_l"],
        bounds={name: (entries[f"{name}.lower"], entries[f"{name}.upper"]) for name in bounded},
        name=str(entries["name"]),
    )


def _read(path: FilePath) -> dict[str, np.ndarray]:
    if not Path(path).is_file():
        raise FileFormatError(f"There is no file {str(path)!r}. Give the path of a file that `save` wrote.")
    try:
        # What is no archive may still be an array, which NumPy would read as such.
        zipfile.ZipFile(path).close()
        with np.load(path, allow_pickle=False) as archive:
            entries = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FileFormatError(
            f"The file {str(path)!r} is not a NumPy archive: {error}. Give a file that `save` wrote."
        ) from error
    missing = [
        name for name in (*UNITS, "p_l.powers", "i_l.powers", "resolution", "name", "format") if name not in entries
    ]
    if missing:
        raise FileFormatError(
            f"The file {str(path)!r} lacks {', '.join(missing)}, so it is no equilibrium. Give one that `save` wrote."
        )
    if int(entries["format"]) != FORMAT:
        raise FileFormatError(
            f"The file {str(path)!r} has the layout {int(entries['format'])}, but this version reads {FORMAT}. Read it "
            "with the version of fieldfit that wrote it."
        )
    return entries
