"""The question an optimizer gets, and the answer it gives."""

from fieldfit.problem.constrained_verdict import judge_constrained
from fieldfit.problem.constraint_report import ConstraintOutcome
from fieldfit.problem.derivatives import DerivativeOptions
from fieldfit.problem.interface import AbstractVectorProblem
from fieldfit.problem.observers import Budget, Observer, Step
from fieldfit.problem.optimizer import AbstractOptimizer, Outcome, Traits
from fieldfit.problem.problem import Problem
from fieldfit.problem.recorder import HistoryEntry, Record, Recorder, Run, run_part
from fieldfit.problem.result import ConvergenceRow, OptimizationResult
from fieldfit.problem.subproblem import Subproblem
from fieldfit.problem.vector import VectorProblem
from fieldfit.problem.vector_constraints import VectorConstraints
from fieldfit.problem.verdict import Verdict

__all__ = [
    "AbstractOptimizer",
    "AbstractVectorProblem",
    "Budget",
    "ConstraintOutcome",
    "ConvergenceRow",
    "DerivativeOptions",
    "HistoryEntry",
    "Observer",
    "OptimizationResult",
    "Outcome",
    "Problem",
    "Record",
    "Recorder",
    "Run",
    "Step",
    "Subproblem",
    "Traits",
    "VectorConstraints",
    "VectorProblem",
    "Verdict",
    "judge_constrained",
    "run_part",
]
