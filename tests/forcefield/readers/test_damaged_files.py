"""Damaged files end in one clear error, whatever they make the parsing stumble over."""

import numpy as np
import pytest

from fieldfit.errors import FileFormatError, SettingsError
from fieldfit.forcefield import read


@pytest.fixture
def geometry(tmp_path):
    path = tmp_path / "hydrogen.xyz"
    path.write_text("2\n\nH 0 0 0\nH 0 0 0.74\n")
    return path


def test_a_truncated_archive_is_refused(geometry, tmp_path):
    path = tmp_path / "hessian.npz"
    np.savez(path, hessian=np.eye(6))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FileFormatError, match="not a readable NumPy file"):
        read(geometry, hessian=path)


def test_an_archive_with_a_damaged_array_is_refused(geometry, tmp_path):
    path = tmp_path / "hessian.npz"
    np.savez(path, hessian=np.eye(6))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(FileFormatError):
        read(geometry, hessian=path)


def test_a_unit_without_its_hessian_is_refused(geometry):
    with pytest.raises(SettingsError, match="hessian_unit"):
        read(geometry, hessian_unit="furlong")
