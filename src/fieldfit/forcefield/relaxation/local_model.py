"""What a relaxation asks of a model of a molecule: energy, gradient and Hessian at one geometry."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from fieldfit.typing import Matrix, Vector


@runtime_checkable
class LocalModel(Protocol):
    """Energy, gradient, shape (3 atoms,), and Hessian, shape (3 atoms, 3 atoms), at one geometry."""

    @property
    def energy(self) -> float:
        """Energy [kcal/mol]."""
        ...

    @property
    def gradient(self) -> Vector:
        """Gradient [kcal/mol/A]."""
        ...

    @property
    def hessian(self) -> Matrix:
        """Hessian [kcal/mol/A^2]."""
        ...


class Quadratic(NamedTuple):
    """A local model, written down: see `LocalModel`."""

    energy: float
    gradient: Vector
    hessian: Matrix
