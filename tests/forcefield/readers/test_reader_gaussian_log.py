"""Gaussian output files."""

from pathlib import Path

import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.vibrations import normal_modes


def replace(path: Path, old: str, new: str) -> Path:
    """Replace something in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_the_last_entry_with_a_hessian_counts(log_file: Path, water) -> None:
    # The entries before and after it are of steps without one.
    record = read(log_file)
    assert record.source["imaginary frequencies"] == "0"
    assert record.source["version"] == "ES64L-G16RevC.01"
    assert_allclose(record.hessian, water.hessian, atol=2e-5)


def test_frequencies_repeated_with_high_precision_are_not_read_twice(log_file: Path, water) -> None:
    assert_allclose(read(log_file).frequencies, water.frequencies, atol=5e-5)


def test_printed_masses_are_completed_to_all_digits_or_kept(log_file: Path, water) -> None:
    assert_allclose(read(log_file).masses, water.masses, rtol=1e-12)
    replace(
        log_file, "Atom  3 has atomic number  1 and mass    1.00783", "Atom  3 has atomic number  1 and mass    2.01410"
    )
    assert_allclose(read(log_file).masses, [*water.masses[:2], 2.01410], rtol=1e-12)


def test_a_job_without_a_hessian_is_a_geometry(log_file: Path) -> None:
    text = log_file.read_text()
    log_file.write_text(text[: text.index(" Harmonic")])
    record = read(log_file)
    assert (record.hessian, record.gradient, record.frequencies) == (None, None, None)
    assert record.n_atoms == 3


@pytest.mark.parametrize("lines", [7, 9, 12])
def test_a_truncated_hessian_is_refused_with_the_numbers_found(log_file: Path, lines: int) -> None:
    text = log_file.read_text()
    start = text.index(" 1", text.index(" Atom  3"))
    log_file.write_text("\n".join(text[start:].split("\n")[:lines]))
    with pytest.raises(FileFormatError, match=r"does not end with .@ and holds \d+ of the 45 numbers of its Hessian"):
        read(log_file)


def test_an_output_without_an_archive_entry_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dead.log").write_text(" Entering Gaussian System, Link 0=g16\n Error termination\n")
    with pytest.raises(FileFormatError, match="there is no archive entry"):
        read(tmp_path / "dead.log")


def entry(tmp_path: Path, molecule: str, results: str = "HF=-1.0") -> Path:
    """Write an output with one archive entry in one line."""
    path = tmp_path / "job.log"
    header = "1|1|GINC|SP|RHF|STO-3G|H2|U|01-Jan-1996|0||# RHF||a title||".replace("|", "\\")
    path.write_text(f" {header}{molecule}\\\\Version=G94\\{results}\\\\@\n")
    return path


def test_labels_of_fragments_residues_and_layers_are_understood(tmp_path: Path) -> None:
    path = entry(tmp_path, "-1,2\\C(Fragment=1,ResName=ALA),0,0.,0.,0.\\H-HC-0.1,-1,0.,0.,1.09\\O,0.,0.,-1.2")
    record = read(path)
    assert record.symbols == ("C", "H", "O")
    assert (record.charge, record.multiplicity) == (-1, 2)
    assert_allclose(record.coordinates[:, 2], [0.0, 1.09, -1.2])


def test_a_z_matrix_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"is a Z-matrix.*fchk"):
        read(entry(tmp_path, "0,1\\H\\H,1,r\\\\r=0.74"))


def test_the_energy_is_that_of_the_highest_level(tmp_path: Path) -> None:
    record = read(entry(tmp_path, "0,1\\H,0.,0.,0.\\H,0.,0.,0.74", "HF=-1.1\\MP2=-1.2\\RMSD=1.e-9"))
    assert record.energy == pytest.approx(-1.2 * 627.509474, rel=1e-9)


@pytest.mark.parametrize("name", ["ethane/GS", "ethane/TS", "benzene/lig"])
def test_log_and_checkpoint_have_the_frequencies_that_gaussian_printed(shared_data: Path, name: str) -> None:
    log, checkpoint = read(shared_data / f"{name}.log"), read(shared_data / f"{name}.fchk")
    assert log.symbols == checkpoint.symbols
    for record in (log, checkpoint):
        frequencies = normal_modes(record.hessian, record.coordinates, record.masses).frequencies
        # Four decimals printed from a Hessian of eight decimals.
        assert_allclose(frequencies, log.frequencies, atol=1e-3)
    assert log.energy == pytest.approx(checkpoint.energy, abs=1e-4)


@pytest.mark.parametrize("name", ["ethane/GS", "ethane/TS", "benzene/lig"])
def test_log_and_checkpoint_agree_in_size_and_sign_of_the_gradient(shared_data: Path, name: str) -> None:
    # In the printed table "Forces (Hartrees/Bohr)" of the frequency job the first number has the opposite sign.
    log = read(shared_data / f"{name}.log")
    table = (
        (shared_data / f"{name}.log").read_text().split("Forces (Hartrees/Bohr)")[-1].split("\n")[3 : 3 + log.n_atoms]
    )
    forces = [[float(field) for field in line.split()[2:5]] for line in table]
    # Nine decimals against the eight of the archive, in hartree/bohr.
    assert_allclose(-log.gradient / 1185.8212, forces, atol=6e-9)


def test_old_checkpoints_call_the_gradient_forces(shared_data: Path) -> None:
    # Symmetry was off in this job, so that log and checkpoint are in one frame.
    log, checkpoint = (read(shared_data / "ethane" / f"GS.{ending}") for ending in ("log", "fchk"))
    assert_allclose(checkpoint.gradient, log.gradient, atol=6e-6)  # 5e-9 hartree/bohr


def test_the_transition_state_of_ethane_has_one_imaginary_frequency(shared_data: Path) -> None:
    record = read(shared_data / "ethane" / "TS.log")
    assert record.source["imaginary frequencies"] == "1"
    assert (record.frequencies < 0.0).sum() == 1
