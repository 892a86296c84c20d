"""The Tinker engine: energies and derivatives by the programs of the Tinker package, which the user installs.

For every evaluation the coordinates and the keyword file (see `tinker_key`) are written to a scratch folder, a program
runs there, and what it printed is read (see `tinker_files`)::

    energy, components     analyze molecule.xyz E
    gradient               testgrad molecule.xyz Y N N       analytic, not numerical, no list of components
    Hessian                testhess molecule.xyz Y N         analytic, not numerical: written to a file
    frequencies            vibrate molecule.xyz 0            no mode to be written
    relaxation             minimize molecule.xyz 0.0001      limited-memory BFGS down to a root mean square gradient
                           newton molecule.xyz A A 0.0001    truncated Newton; method and preconditioner automatic

What the forms become, and which ones Tinker cannot compute, is told in `tinker_key`. Energies, gradients and Hessians
are printed with eight decimals. Every evaluation starts programs anew; several geometries at once go over an executor.

The conventions come from the documentation and the sources of Tinker (https://dasher.wustl.edu/tinker/,
https://github.com/TinkerTools/tinker), and the keyword files are checked against OpenMM, which reads them too. No
number of a Tinker program itself has been compared so far: the tests that do so, for every form and quantity, run only
where the programs are on PATH.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np

from fieldfit.errors import EvaluationError, FileFormatError, SettingsError
from fieldfit.execution import ExecutorChoice, open_executor, ordered_map
from fieldfit.forcefield.assignment import Terms, assign
from fieldfit.forcefield.engines import tinker_files as files
from fieldfit.forcefield.engines.engine import AbstractEngine, AbstractSystem, EngineTraits, Local, check_forms
from fieldfit.forcefield.engines.tinker_key import COMPUTED, check_contacts, write_key
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.nonbonded import Nonbonded
from fieldfit.registry import unknown_name
from fieldfit.typing import FilePath, Matrix, Vector

SUFFIXES = ("", ".x", "8")
"""Endings under which the programs are installed."""

OLDEST_VERSION = 8
"""First version whose keywords are those written here: older ones give STRTORS three constants instead of nine."""

RELAXATIONS = {"minimize": (), "newton": ("A", "A")}
"""Programs that relax a geometry, with their arguments before the tolerance."""

GRADIENT_TOLERANCE = 1e-4
"""Root mean square gradient per atom at the end of a relaxation [kcal/mol/A]."""

QUOTED_LINES = 12
"""Last lines of a print-out that an error message shows."""

FAILURE = "unable to continue"
"""What a program prints when it gives up; it ends with status 0 all the same."""

BASE = "molecule"

T = TypeVar("T")
logger = logging.getLogger(__name__)


class TinkerMinimum(NamedTuple):
    """Where a relaxation ended.

    Attributes:
        x: Coordinates [A], shape (atoms, 3).
        energy: Energy there [kcal/mol].
        gradient: Root mean square gradient per atom there [kcal/mol/A].
        is_converged: Whether the gradient is below the tolerance.
    """

    x: Matrix
    energy: float
    gradient: float
    is_converged: bool


@dataclass(frozen=True)
class TinkerEngine(AbstractEngine["TinkerSystem"]):
    """Makes systems whose energies and derivatives the Tinker programs compute.

    Args:
        directory: Folder of the programs; None: they are found on PATH.
        executor: Where `locals` runs its evaluations; see `fieldfit.execution.ExecutorChoice`. Threads are enough.
        timeout: Seconds that one run of a program may take.
        keep_scratch: Whether to keep the folders with input and output; their paths are logged.

    Raises:
        SettingsError: The timeout is not positive.

    Example:
        >>> from fieldfit.forcefield.engines.tinker import TinkerEngine
        >>> engine = TinkerEngine(directory="/opt/tinker/bin", executor="threads:4")
        >>> "mm3_bond" in engine.traits.forms
        True
    """

    directory: FilePath | None = None
    executor: ExecutorChoice = None
    timeout: float = 600.0
    keep_scratch: bool = False

    traits: ClassVar[EngineTraits] = EngineTraits(
        forms=COMPUTED,
        exact_order=2,
        has_parameter_derivatives=False,
        needs="the Tinker programs, version 8 or later (https://dasher.wustl.edu/tinker/)",
    )

    def __post_init__(self) -> None:
        if not self.timeout > 0.0:
            raise SettingsError(f"The timeout of Tinker is {self.timeout} s, but has to be positive.")

    def systems(self, molecules: Sequence[Molecule], force_field: ForceField) -> tuple[TinkerSystem, ...]:
        """Prepare molecules with the rows of a force field, one system each.

        Raises:
            ForceFieldError: Tinker does not compute a form of the force field, cannot express a term exactly, or an
                interaction has no row.
        """
        check_forms("tinker", self.traits, force_field)
        values = [value for row in force_field.rows for value in row.values.values()]
        p = np.array(values) * force_field.internal_factors
        # Systems travel to other processes, and executors do not.
        alone = replace(self, executor=None)
        systems = []
        for molecule in molecules:
            terms = assign(molecule, force_field)
            write_key(molecule, terms, force_field.nonbonded, p)
            systems.append(TinkerSystem(molecule, terms, force_field.nonbonded, alone))
        return tuple(systems)

    def locals(self, systems: Sequence[TinkerSystem], coordinates: Sequence[Matrix], p: Vector) -> tuple[Local, ...]:
        """Return energy, gradient and Hessian of several systems over the executor.

        Args:
            systems: One system per geometry; a system may occur more than once.
            coordinates: Geometries [A], each of shape (atoms, 3).
            p: Parameters in internal units.

        Raises:
            EvaluationError: An evaluation failed.
        """
        tasks = [(system, x, p) for system, x in zip(systems, coordinates, strict=True)]
        with open_executor(self.executor) as executor:
            completed = ordered_map(_local, tasks, executor)
        for entry in completed:
            if entry.failure is not None:
                raise EvaluationError(entry.failure)
        return tuple(entry.value for entry in completed)

    def program(self, name: str) -> Path:
        """Return the path of a program, such as "analyze".

        Raises:
            SettingsError: It is not there.
        """
        names = [name + suffix for suffix in SUFFIXES]
        folder = None if self.directory is None else str(self.directory)
        for candidate in names:
            found = shutil.which(candidate, path=folder)
            if found is not None:
                return Path(found).absolute()
        where = "on PATH" if folder is None else f"in the folder {folder}"
        raise SettingsError(
            f"The Tinker program {name} was not found {where}, under none of the names {', '.join(names)}. Install "
            "Tinker (https://dasher.wustl.edu/tinker/), and put its programs on PATH or give their folder as "
            'TinkerEngine(directory="...").'
        )

    def run(self, name: str, arguments: Sequence[str], folder: Path) -> str:
        """Run a program in a folder and return what it printed.

        Args:
            name: Name of the program.
            arguments: Its arguments.
            folder: Folder with its input.

        Raises:
            SettingsError: The program is not there, cannot be started, or is too old.
            EvaluationError: It failed, took too long, or is not a Tinker program.
        """
        command = [str(self.program(name)), *arguments]
        status, output = _output(command, folder, self.timeout)
        version = files.read_version(output)
        if version is not None and version[0] < OLDEST_VERSION:
            raise SettingsError(
                f"{command[0]} is of Tinker {version[0]}.{version[1]}, but its keyword files are written for version "
                f"{OLDEST_VERSION} and later. Install a newer one."
            )
        if status != 0:
            raise EvaluationError(f"{_quoted(command)} ended with status {status}. {_tail(output)}")
        if version is None:
            raise EvaluationError(f"{_quoted(command)} did not print the banner of Tinker. {_tail(output)}")
        if FAILURE in output.lower():
            raise EvaluationError(f"{_quoted(command)} gave up. {_tail(output)}")
        return output

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a folder that is removed at the end, whatever happens, unless it is to be kept."""
        folder = Path(tempfile.mkdtemp(prefix="fieldfit-tinker-"))
        try:
            yield folder
        finally:
            if self.keep_scratch:
                logger.info("The files of a Tinker run are kept in %s", folder)
            else:
                shutil.rmtree(folder, ignore_errors=True)


class TinkerSystem(AbstractSystem):
    """One molecule with its terms, evaluated by Tinker.

    Args:
        molecule: The molecule.
        terms: Its terms.
        nonbonded: Factors and constants of its pair interactions.
        engine: Where the programs are and how to run them.
    """

    def __init__(
        self, molecule: Molecule, terms: tuple[Terms, ...], nonbonded: Nonbonded | None, engine: TinkerEngine
    ) -> None:
        self.n_atoms = molecule.n_atoms
        self._molecule, self._terms, self._nonbonded, self._engine = molecule, terms, nonbonded, engine

    def energy(self, x: Matrix, p: Vector) -> float:
        return self._read(x, p, "analyze", ("E",), lambda output, _: files.read_energy(output))

    def components(self, x: Matrix, p: Vector) -> tuple[files.Component, ...]:
        """Return the energies by kind of interaction, such as "Bond Stretching" or "Torsional Angle"."""
        return self._read(x, p, "analyze", ("E",), lambda output, _: files.read_components(output))

    def gradient(self, x: Matrix, p: Vector) -> Vector:
        return self._energy_and_gradient(x, p)[1]

    def local(self, x: Matrix, p: Vector) -> Local:
        energy, gradient = self._energy_and_gradient(x, p)
        return Local(energy, gradient, self.hessian(x, p))

    def hessian(self, x: Matrix, p: Vector) -> Matrix:
        """Return the Hessian [kcal/mol/A^2], shape (3 atoms, 3 atoms)."""

        def read(_: str, folder: Path) -> Matrix:
            return files.read_hessian(_written(folder, f"{BASE}.hes"), self.n_atoms)

        return self._read(x, p, "testhess", ("Y", "N"), read)

    def frequencies(self, x: Matrix, p: Vector) -> Vector:
        """Return the wavenumbers [1/cm] of all 3 n motions, shape (3 atoms,), imaginary ones negative.

        Tinker does not project translations and rotations out: six of them are small where the gradient vanishes, and
        only there.
        """
        return self._read(x, p, "vibrate", ("0",), lambda output, _: files.read_frequencies(output, self.n_atoms))

    def relax(
        self, x: Matrix, p: Vector, *, program: str = "minimize", gradient_tolerance: float = GRADIENT_TOLERANCE
    ) -> TinkerMinimum:
        """Relax a geometry.

        Args:
            x: Where to start [A], shape (atoms, 3).
            p: Parameters.
            program: "minimize" or "newton".
            gradient_tolerance: Root mean square gradient per atom at which to stop [kcal/mol/A].

        Raises:
            SettingsError: An unknown program, or a tolerance that is not positive.
            EvaluationError: The program failed.
        """
        if program not in RELAXATIONS:
            raise SettingsError(unknown_name("Tinker program for relaxation", program, RELAXATIONS))
        if not gradient_tolerance > 0.0:
            raise SettingsError(
                f"The gradient tolerance of a relaxation is {gradient_tolerance}, but has to be positive."
            )

        def read(output: str, folder: Path) -> TinkerMinimum:
            energy, gradient = files.read_minimum(output)
            relaxed = files.read_coordinates(_written(folder, f"{BASE}.xyz_2"), self.n_atoms)
            return TinkerMinimum(relaxed, energy, gradient, gradient <= gradient_tolerance)

        found = self._read(x, p, program, (*RELAXATIONS[program], f"{gradient_tolerance:.10f}"), read)
        check_contacts(self._terms, p, found.x)
        return found

    def _energy_and_gradient(self, x: Matrix, p: Vector) -> tuple[float, Vector]:
        def read(output: str, _: Path) -> tuple[float, Vector]:
            return files.read_energy(output), files.read_gradient(output, self.n_atoms)

        return self._read(x, p, "testgrad", ("Y", "N", "N"), read)

    def _read(
        self, x: Matrix, p: Vector, program: str, arguments: tuple[str, ...], read: Callable[[str, Path], T]
    ) -> T:
        """Write the input, run a program and read its result from its print-out or the files in its folder."""
        check_contacts(self._terms, p, x)
        with self._engine.scratch() as folder:
            (folder / f"{BASE}.xyz").write_text(files.write_xyz(self._molecule, x), encoding="ascii")
            key = write_key(self._molecule, self._terms, self._nonbonded, p)
            (folder / f"{BASE}.key").write_text(key, encoding="ascii")
            output = self._engine.run(program, (f"{BASE}.xyz", *arguments), folder)
            try:
                return read(output, folder)
            except FileFormatError as error:
                raise EvaluationError(
                    f"{self._molecule.name}: what Tinker's {program} wrote cannot be read: {error} {_tail(output)}"
                ) from error


def _local(system: TinkerSystem, x: Matrix, p: Vector) -> Local:
    return system.local(x, p)


def _written(folder: Path, name: str) -> str:
    """Return the text of a file that a program wrote.

    Raises:
        FileFormatError: It wrote none.
    """
    try:
        return (folder / name).read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise FileFormatError(f"There is no file {name}.") from error


def _output(command: list[str], folder: Path, timeout: float) -> tuple[int, str]:
    """Run a command and return its status and what it printed, standard error included."""
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # A group of its own, so that programs started by a wrapper script end with it.
            start_new_session=True,
        )
    except OSError as error:
        raise SettingsError(
            f"The Tinker program {command[0]} cannot be started: {error.strerror}. Check that it is made for this "
            "machine."
        ) from error
    with process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            _kill(process)
            output, _ = process.communicate()
            raise EvaluationError(
                f"{_quoted(command)} did not end within {timeout:g} s. Give a larger timeout. {_tail(output)}"
            ) from error
        finally:
            if process.poll() is None:
                _kill(process)
    return process.returncode, output


def _kill(process: subprocess.Popen) -> None:
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _quoted(command: Sequence[str]) -> str:
    return f"The command {' '.join(command)!r}"


def _tail(output: str) -> str:
    lines = [line.rstrip() for line in output.splitlines() if line.strip()][-QUOTED_LINES:]
    return "It printed nothing." if not lines else "The end of its print-out:\n" + "\n".join(lines)
