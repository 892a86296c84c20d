"""Functions of scalars as expressions of Lepton, the language in which OpenMM takes custom energies.

A function is traced by JAX, which leaves a list of equations, each of one primitive operation, and each equation is
written as a Lepton definition:

    k (q - q0)^2   ->   t3; t3=a1*t2; t2=t1^(2); t1=q1-a2

Lepton resolves names from the right, so the last definition comes first. It differentiates the expression
symbolically, so the forces follow from the same text; hence operations whose derivative is not that of their value,
such as stopped gradients, are refused. Conditions are numbers, 0 or 1; `select` computes both of its branches and takes
one. Numbers are written with all their digits.

The operations of Lepton: https://docs.openmm.org/latest/userguide/theory/05_other_features.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from fieldfit.errors import ForceFieldError

TEMPLATES: Mapping[str, str] = {
    "add": "{0}+{1}",
    "sub": "{0}-{1}",
    "mul": "{0}*{1}",
    "div": "{0}/{1}",
    "neg": "-{0}",
    "integer_pow": "{0}^({y})",
    "square": "{0}^2",
    "pow": "{0}^{1}",
    "sqrt": "sqrt({0})",
    "rsqrt": "1/sqrt({0})",
    "exp": "exp({0})",
    "exp2": "2^{0}",
    # exp(x) - 1 without its cancellation at small x.
    "expm1": "2*exp(0.5*{0})*sinh(0.5*{0})",
    "log": "log({0})",
    "log1p": "log(1+{0})",
    "logistic": "1/(1+exp(-{0}))",
    "sin": "sin({0})",
    "cos": "cos({0})",
    "tan": "tan({0})",
    "asin": "asin({0})",
    "acos": "acos({0})",
    "atan": "atan({0})",
    "atan2": "atan2({0},{1})",
    "sinh": "sinh({0})",
    "cosh": "cosh({0})",
    "tanh": "tanh({0})",
    "erf": "erf({0})",
    "erfc": "erfc({0})",
    "abs": "abs({0})",
    "sign": "step({0})-step(-{0})",
    "max": "max({0},{1})",
    "min": "min({0},{1})",
    "clamp": "min(max({1},{0}),{2})",
    "floor": "floor({0})",
    "ceil": "ceil({0})",
    # The remainder has the sign of the dividend: the quotient is rounded towards zero.
    "rem": "{0}-{1}*select(step({0}/{1}),floor({0}/{1}),ceil({0}/{1}))",
    "lt": "1-step({0}-{1})",
    "le": "step({1}-{0})",
    "gt": "1-step({1}-{0})",
    "ge": "step({0}-{1})",
    "eq": "delta({0}-{1})",
    "ne": "1-delta({0}-{1})",
    "and": "{0}*{1}",
    "or": "max({0},{1})",
    "not": "1-{0}",
    "select_n": "select({0},{2},{1})",
}
"""Operations on numbers; {0}, {1} ... are the operands, other names are options of the primitive."""

MOVES: Mapping[str, Callable[[np.ndarray, Mapping[str, Any]], np.ndarray]] = {
    "copy": lambda x, options: x,
    "convert_element_type": lambda x, options: x,
    "squeeze": lambda x, options: np.squeeze(x, options["dimensions"]),
    "slice": lambda x, options: x[tuple(map(slice, options["start_indices"], options["limit_indices"]))],
}
"""Operations that only say where numbers go, which is what indexing and unpacking leave."""

NESTED: Mapping[str, str] = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}
"""Operations that are functions of their own, and where those stand."""


def lepton_expression(function: Callable[..., Any], names: Sequence[Sequence[str]], *, label: str) -> str:
    """Write a function of numbers as an expression of Lepton.

    Args:
        function: One number of sequences of numbers, traced by JAX.
        names: What the numbers of each argument are called in the expression; "t1", "t2" ... are taken.
        label: What the function is called in messages.

    Returns:
        The expression with its definitions.

    Raises:
        ForceFieldError: The function does something for which Lepton has no operation.

    Example:
        >>> lepton_expression(lambda q, p: p[0] * (q[0] - p[1]) ** 2, [["r"], ["k", "r0"]], label="bond")
        't3; t3=k*t2; t2=t1^(2); t1=r-r0'
    """
    with jax.enable_x64(True):
        traced = jax.make_jaxpr(function)(*(np.ones(len(group)) for group in names))
    definitions: dict[str, str] = {}
    (result,) = _translate(traced, [np.array(group, dtype=object) for group in names], definitions, label)
    written = [f"{name}={text}" for text, name in definitions.items()]
    return "; ".join([result.item(), *reversed(written)])


def _translate(
    traced: ClosedJaxpr, arguments: Sequence[np.ndarray], definitions: dict[str, str], label: str
) -> list[np.ndarray]:
    """Add the definitions of a traced function to a table of text to name, and return the names of its results."""
    known: dict[Any, np.ndarray] = dict(zip(traced.jaxpr.invars, arguments, strict=True))
    known |= {
        variable: _numbers(value, label) for variable, value in zip(traced.jaxpr.constvars, traced.consts, strict=True)
    }

    def look_up(entry: Any) -> np.ndarray:
        return _numbers(entry.val, label) if isinstance(entry, Literal) else known[entry]

    for equation in traced.jaxpr.eqns:
        name, operands = equation.primitive.name, [look_up(entry) for entry in equation.invars]
        if name in NESTED:
            results = _translate(equation.params[NESTED[name]], operands, definitions, label)
        elif not _is_expressible(equation):
            raise ForceFieldError(
                f"The form {label} uses the operation {name!r}, which OpenMM's expressions do not have. Write its "
                "energy with arithmetic, powers, elementary functions, where, minimum and maximum of single numbers, "
                "or take another engine, such as jax."
            )
        elif name in MOVES:
            results = [MOVES[name](operands[0], equation.params)]
        else:
            results = [_define(TEMPLATES[name], equation.params, operands, definitions)]
        known.update(zip(equation.outvars, results, strict=True))
    return [look_up(entry) for entry in traced.jaxpr.outvars]


def _is_expressible(equation: Any) -> bool:
    name = equation.primitive.name
    if name == "convert_element_type":
        return np.issubdtype(equation.params["new_dtype"], np.floating)
    if name == "select_n":
        return equation.invars[0].aval.dtype == bool
    return name in MOVES or name in TEMPLATES


def _define(
    template: str, options: Mapping[str, Any], operands: Sequence[np.ndarray], definitions: dict[str, str]
) -> np.ndarray:
    """Name what an operation yields, element by element; equal expressions get one name."""

    def name(*texts: str) -> str:
        return definitions.setdefault(template.format(*texts, **options), f"t{len(definitions) + 1}")

    return np.asarray(np.frompyfunc(name, len(operands), 1)(*operands), dtype=object)


def _numbers(value: Any, label: str) -> np.ndarray:
    """Write numbers so that they read back bit by bit."""
    array = np.asarray(value, dtype=float)
    if not np.all(np.isfinite(array)):
        raise ForceFieldError(
            f"The form {label} uses a number that is not finite, which OpenMM's expressions cannot hold. Write its "
            "energy without it (hypot, for instance, as the root of a sum of squares), or take another engine."
        )
    return np.asarray(np.frompyfunc(lambda number: f"({float(number)!r})", 1, 1)(array), dtype=object)
