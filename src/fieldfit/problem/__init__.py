"""The question an optimizer gets, and the answer it gives."""

from fieldfit.problem.observers import Observer, Step
from fieldfit.problem.optimizer import AbstractOptimizer, Outcome, Recorder, Traits
from fieldfit.problem.problem import Problem
from fieldfit.problem.result import HistoryEntry, OptimizationResult
from fieldfit.problem.vector import VectorProblem

__all__ = [
    "AbstractOptimizer",
    "HistoryEntry",
    "Observer",
    "OptimizationResult",
    "Outcome",
    "Problem",
    "Recorder",
    "Step",
    "Traits",
    "VectorProblem",
]
