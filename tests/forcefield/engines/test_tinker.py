"""Running Tinker: programs that are absent, fail, hang or talk nonsense, and, where Tinker is installed, its numbers.

The scripts that stand for programs only fail. Numbers are compared with the JAX engine where the programs are found.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tinker_cases import CASES, perturbed, tinker_case

from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.forcefield.engines.engine import AbstractEngine
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.engines.tinker import TinkerEngine, TinkerSystem
from molecules import internal_parameters

BANNER = (
    "echo ' ###  Tinker  ---  Software Tools for Molecular Design  ###'; echo ' ##  Version 25.1   February 2025 ##'"
)
PROGRAMS = ("analyze", "testgrad", "testhess", "vibrate", "minimize", "newton")


def installed() -> bool:
    """Whether the programs are on PATH, under one of their names."""
    try:
        return all(TinkerEngine().program(name) for name in PROGRAMS)
    except SettingsError:
        return False


needs_tinker = pytest.mark.skipif(not installed(), reason="the Tinker programs are not on PATH")
needs_shell = pytest.mark.skipif(os.name != "posix", reason="the programs are shell scripts")


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch) -> Path:
    """Return the folder in which scratch folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def engine_with(tmp_path) -> Callable[..., TinkerEngine]:
    """Return a function that makes an engine whose programs run a shell script."""

    def make(script: str, *, names: tuple[str, ...] = PROGRAMS, **options) -> TinkerEngine:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in names:
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        return TinkerEngine(directory=folder, **options)

    return make


def system_of(engine: TinkerEngine) -> tuple[TinkerSystem, np.ndarray, np.ndarray]:
    molecule, field = tinker_case("linear")
    return engine.system(molecule, field), molecule.record.coordinates, internal_parameters(field)


def test_the_engine_declares_exact_hessians_and_no_parameter_derivatives() -> None:
    engine = TinkerEngine()
    assert isinstance(engine, AbstractEngine)
    assert engine.traits.exact_order == 2
    assert not engine.traits.has_parameter_derivatives
    assert "Tinker" in engine.traits.needs


def test_a_timeout_has_to_be_positive() -> None:
    with pytest.raises(SettingsError, match=r"timeout of Tinker is 0\.0 s"):
        TinkerEngine(timeout=0.0)


def test_an_absent_program_is_an_error_that_says_where_it_was_looked_for(tmp_path, monkeypatch, scratch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    system, x, p = system_of(TinkerEngine())
    with pytest.raises(SettingsError, match=r"analyze was not found on PATH.*analyze, analyze.x, analyze8.*directory="):
        system.energy(x, p)
    with pytest.raises(SettingsError, match=f"in the folder {tmp_path}"):
        TinkerEngine(directory=tmp_path).program("testhess")
    assert not list(scratch.iterdir())


@needs_shell
@pytest.mark.parametrize("name", ["analyze", "analyze.x", "analyze8"])
def test_programs_are_found_under_their_usual_names(engine_with, name) -> None:
    engine = engine_with("exit 1", names=(name,))
    assert engine.program("analyze").name == name
    with pytest.raises(SettingsError, match="testgrad was not found"):
        engine.program("testgrad")


@needs_shell
def test_a_relative_folder_is_found_from_the_scratch_folder(engine_with, monkeypatch, tmp_path) -> None:
    engine_with("exit 3")
    monkeypatch.chdir(tmp_path)
    system, x, p = system_of(TinkerEngine(directory="bin"))
    with pytest.raises(EvaluationError, match="ended with status 3"):
        system.energy(x, p)


@needs_shell
class TestFailing:
    """Errors carry the command and the end of the print-out, and nothing is left behind."""

    @pytest.fixture(autouse=True)
    def nothing_left(self, scratch):
        yield
        assert not list(scratch.iterdir())

    def test_a_program_that_fails(self, engine_with) -> None:
        script = f"{BANNER}; for n in $(seq 30); do echo line $n; done; echo no room >&2; exit 7"
        system, x, p = system_of(engine_with(script))
        with pytest.raises(EvaluationError) as caught:
            system.gradient(x, p)
        message = str(caught.value)
        assert "testgrad molecule.xyz Y N N' ended with status 7" in message
        assert message.endswith("line 30\nno room")
        assert "line 15\n" not in message

    def test_a_program_that_gives_up_with_status_zero(self, engine_with) -> None:
        script = f"{BANNER}; echo ' Undefined Angle Bending Parameters :'; echo ' Tinker is Unable to Continue; Term'"
        system, x, p = system_of(engine_with(script))
        with pytest.raises(EvaluationError, match=r"(?s)molecule.xyz Y N' gave up.*Undefined Angle Bending"):
            system.hessian(x, p)

    def test_a_program_that_is_not_of_tinker(self, engine_with) -> None:
        system, x, p = system_of(engine_with("echo I analyze music"))
        with pytest.raises(EvaluationError, match=r"(?s)did not print the banner of Tinker.*I analyze music"):
            system.energy(x, p)

    def test_a_program_that_prints_nothing(self, engine_with) -> None:
        system, x, p = system_of(engine_with("exit 0"))
        with pytest.raises(EvaluationError, match="It printed nothing"):
            system.frequencies(x, p)

    def test_a_program_that_is_too_old(self, engine_with) -> None:
        system, x, p = system_of(engine_with("echo TINKER; echo Version 6.3   February 2014"))
        with pytest.raises(SettingsError, match=r"is of Tinker 6.3, .* version 8 and later"):
            system.energy(x, p)

    @pytest.mark.parametrize(
        ("ask", "reason"),
        [
            ("energy", "no section 'Total Potential Energy :'"),
            ("components", "no section 'Energy Component Breakdown :'"),
            ("gradient", "no section 'Total Potential Energy :'"),
            ("hessian", "no file molecule.hes"),
            ("frequencies", "no section 'Vibrational Frequencies"),
            ("relax", "no section 'Final Function Value :'"),
        ],
    )
    def test_a_print_out_that_cannot_be_read(self, engine_with, ask, reason) -> None:
        system, x, p = system_of(engine_with(f"{BANNER}; echo Lorem ipsum"))
        with pytest.raises(EvaluationError, match=rf"(?s)propyne: what Tinker's .*{reason}.*Lorem ipsum"):
            getattr(system, ask)(x, p)

    def test_a_program_that_hangs_ends_with_everything_it_started(self, engine_with) -> None:
        system, x, p = system_of(engine_with(f"{BANNER}; sleep 60; echo never", timeout=0.5))
        start = time.monotonic()
        with pytest.raises(EvaluationError, match=r"(?s)did not end within 0.5 s.*Version 25.1"):
            system.energy(x, p)
        assert time.monotonic() - start < 20.0

    def test_a_program_for_another_machine(self, engine_with, tmp_path) -> None:
        engine = engine_with("exit 0")
        (tmp_path / "bin" / "analyze").write_bytes(b"\x7fNOT an executable\x00\x01")
        system, x, p = system_of(engine)
        with pytest.raises(SettingsError, match=r"analyze cannot be started: .*made for this machine"):
            system.energy(x, p)

    @pytest.mark.parametrize("executor", [None, "threads:2"])
    def test_one_of_several_evaluations_that_fails(self, engine_with, executor) -> None:
        engine = engine_with(f"{BANNER}; exit 5", executor=executor)
        system, x, p = system_of(engine)
        with pytest.raises(EvaluationError, match="ended with status 5"):
            engine.locals([system, system, system], [x, x + 0.1, x - 0.1], p)

    def test_a_relaxation_by_an_unknown_program_or_to_a_negative_gradient(self, engine_with) -> None:
        system, x, p = system_of(engine_with("exit 0"))
        with pytest.raises(SettingsError, match="No Tinker program for relaxation is called 'newtn'"):
            system.relax(x, p, program="newtn")
        with pytest.raises(SettingsError, match="gradient tolerance of a relaxation is -1"):
            system.relax(x, p, gradient_tolerance=-1.0)


@needs_shell
def test_input_and_output_are_kept_where_they_are_asked_for(engine_with, scratch) -> None:
    system, x, p = system_of(engine_with(f"{BANNER}; ls > listed", keep_scratch=True))
    with pytest.raises(EvaluationError):
        system.energy(x, p)
    (folder,) = scratch.iterdir()
    assert (folder / "listed").read_text().split() == ["listed", "molecule.key", "molecule.xyz"]


@needs_shell
def test_systems_travel_to_other_processes_though_executors_do_not(engine_with) -> None:
    engine = engine_with(f"{BANNER}; exit 5", executor="processes:1")
    system, x, p = system_of(engine)
    with pytest.raises(EvaluationError, match="ended with status 5"):
        engine.locals([system], [x], p)


@needs_tinker
@pytest.mark.parametrize("name", CASES)
class TestNumbers:
    """What installed programs compute is what the JAX engine computes, for every form that is claimed."""

    def test_energy_gradient_and_hessian(self, name) -> None:
        molecule, field = tinker_case(name)
        p = internal_parameters(field)
        engine = TinkerEngine(executor="threads")
        system, reference = engine.system(molecule, field), JaxEngine().system(molecule, field)
        geometries = perturbed(molecule, 3)
        for x, found in zip(geometries, engine.locals([system] * 3, geometries, p), strict=True):
            expected = reference.local(x, p)
            # Eight decimals are printed, twelve digits of the parameters written.
            assert_allclose(found.energy, expected.energy, atol=1e-7)
            assert_allclose(found.gradient, expected.gradient, atol=1e-6)
            assert_allclose(found.hessian, expected.hessian, atol=1e-4)
            assert_allclose(system.energy(x, p), found.energy, atol=1e-7)
            assert_allclose(sum(part.energy for part in system.components(x, p)), found.energy, atol=1e-6)

    def test_relaxation_and_wavenumbers(self, name) -> None:
        molecule, field = tinker_case(name)
        p = internal_parameters(field)
        system, reference = TinkerEngine().system(molecule, field), JaxEngine().system(molecule, field)
        found = system.relax(molecule.record.coordinates, p, program="newton")
        assert found.is_converged
        local = reference.local(found.x, p)
        assert_allclose(local.energy, found.energy, atol=1e-6)
        assert np.linalg.norm(local.gradient) / np.sqrt(molecule.n_atoms) < 2e-4
        scale = np.repeat(molecule.record.masses, 3) ** -0.5
        squares = np.linalg.eigvalsh(scale[:, None] * local.hessian * scale)
        expected = 108.5914 * np.sign(squares) * np.sqrt(np.abs(squares))
        assert_allclose(system.frequencies(found.x, p)[6:], expected[6:], atol=0.1)
