"""The question an optimizer gets, and the answer it gives."""

from fieldfit.problem.checkpoint import Checkpoint, SavedRun, read_checkpoint
from fieldfit.problem.constrained_verdict import judge_constrained
from fieldfit.problem.constraint_report import ConstraintOutcome
from fieldfit.problem.derivatives import DerivativeOptions
from fieldfit.problem.interface import AbstractVectorProblem
from fieldfit.problem.observers import Budget, Observer, Step
from fieldfit.problem.optimizer import AbstractOptimizer, Outcome, Traits
from fieldfit.problem.problem import Problem
from fieldfit.problem.recorder import HistoryEntry, Record, Recorder, Run, run_part
from fieldfit.problem.result import ConvergenceRow, OptimizationResult
from fieldfit.problem.state_files import register_state
from fieldfit.problem.stepping import AbstractSteppedOptimizer, step_through
from fieldfit.problem.subproblem import Subproblem
from fieldfit.problem.vector import VectorProblem
from fieldfit.problem.vector_constraints import VectorConstraints
from fieldfit.problem.verdict import Verdict

__all__ = [
    "AbstractOptimizer",
    "AbstractSteppedOptimizer",
    "AbstractVectorProblem",
    "Budget",
    "Checkpoint",
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
    "SavedRun",
    "Step",
    "Subproblem",
    "Traits",
    "VectorConstraints",
    "VectorProblem",
    "Verdict",
    "judge_constrained",
    "read_checkpoint",
    "register_state",
    "run_part",
    "step_through",
]
