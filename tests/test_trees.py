"""Structures come back as they were, in the user's own order."""

import collections
import copy
import dataclasses
import pickle
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfit import Parameters
from fieldfit.errors import ParameterError
from fieldfit.trees import flatten_with_names

equinox = pytest.importorskip("equinox")


class Point(NamedTuple):
    y: float
    x: float


@dataclasses.dataclass(frozen=True)
class Cell:
    tau: float
    name: str
    steps: int
    channels: dict
    table: np.ndarray
    flag: bool = True
    missing: None = None

    def __post_init__(self):
        # Checks like this fail on traced values.
        if self.tau < 0.0:
            raise ValueError("negative")


@dataclasses.dataclass
class Disc:
    radius: float
    area: float = dataclasses.field(init=False)
    power: float = dataclasses.field(default=2.0, metadata={"static": True})

    def __post_init__(self):
        self.area = np.pi * self.radius**self.power


@jax.tree_util.register_pytree_node_class
class Registered:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def tree_flatten(self):
        return (self.first, self.second), None

    @classmethod
    def tree_unflatten(cls, _, parts):
        return cls(*parts)


class Layer(equinox.Module):
    weight: jax.Array
    size: int = equinox.field(static=True)
    activation: object = jnp.tanh

    def __init__(self, size):
        self.size = size
        self.weight = jnp.ones(size)


numbers = st.floats(-1e6, 1e6)
keys = st.text("abcxyz", min_size=1, max_size=4)
trees = st.recursive(
    numbers,
    lambda part: st.one_of(
        st.dictionaries(keys, part, max_size=4),
        st.lists(part, max_size=3),
        st.tuples(part, part),
        st.builds(Point, part, part),
        st.dictionaries(keys, part, max_size=3).map(collections.OrderedDict),
    ),
    max_leaves=12,
)


def shown(tree):
    """Types, keys in order and leaves of a tree of Python's containers."""
    if isinstance(tree, dict):
        return type(tree), [(key, shown(part)) for key, part in tree.items()]
    if isinstance(tree, list | tuple):
        return type(tree), [shown(part) for part in tree]
    return tree


@given(trees)
def test_rebuild_undoes_flatten_with_types_and_key_order(tree):
    leaves, structure = flatten_with_names(tree)
    assert shown(structure.rebuild(leaves)) == shown(tree)
    assert len(leaves) == len(structure.names)
    assert shown(pickle.loads(pickle.dumps(structure)).rebuild(leaves)) == shown(tree)


def test_keys_keep_the_order_of_the_user_through_names_vector_and_result():
    parameters = Parameters.from_tree({"zeta": 1.0, "alpha": {"y": 2.0, "b": 3.0}})
    assert parameters.names == ("zeta", "alpha.y", "alpha.b")
    assert parameters.flat.tolist() == [1.0, 2.0, 3.0]
    rebuilt = jax.jit(lambda flat: parameters.tree(2.0 * flat)["alpha"]["b"])(parameters.flat)
    assert rebuilt == 6.0
    assert list(parameters.tree(parameters.flat)["alpha"]) == ["y", "b"]


def test_dictionaries_of_other_kinds_keep_their_kind():
    given = collections.defaultdict(list, {"b": 1.0, "a": 2.0})
    leaves, structure = flatten_with_names(given)
    rebuilt = structure.rebuild(leaves)
    assert type(rebuilt) is collections.defaultdict
    assert rebuilt.default_factory is list
    assert list(rebuilt.items()) == [("b", 1.0), ("a", 2.0)]


@pytest.mark.parametrize("lone", [1.5, 2, np.float64(3.0), np.ones((2, 2)), jnp.ones(3), np.arange(3)])
def test_a_lone_number_or_array_is_a_structure(lone):
    leaves, structure = flatten_with_names(lone)
    assert structure.names == ("x",)
    assert structure.rebuild(leaves) is lone


def cell():
    return Cell(5.0, "soma", 7, {"k": 2.0, "h": np.array([1.0, 2.0])}, np.arange(4))


def test_a_dataclass_gives_its_numbers_and_keeps_everything_else():
    leaves, structure = flatten_with_names(cell())
    assert structure.names == ("tau", "channels.k", "channels.h")
    changed = structure.rebuild([6.0, 3.0, np.zeros(2)])
    assert (changed.tau, changed.name, changed.steps, changed.flag, changed.missing) == (6.0, "soma", 7, True, None)
    assert changed.table.tolist() == [0, 1, 2, 3]
    assert changed.channels["k"] == 3.0
    assert leaves[0] == 5.0


def test_a_dataclass_is_rebuilt_with_traced_values_although_it_checks_its_own():
    parameters = Parameters.from_tree(cell())
    slope = jax.grad(lambda flat: parameters.tree(flat).tau ** 2)(parameters.flat)
    assert slope.tolist() == [10.0, 0.0, 0.0, 0.0]


def test_fields_that_a_dataclass_computes_follow():
    leaves, structure = flatten_with_names(Disc(1.0))
    assert structure.names == ("radius",)
    assert structure.rebuild([3.0]).area == pytest.approx(9.0 * np.pi)
    assert leaves == [1.0]


def test_classes_that_jax_knows_are_rebuilt_and_keep_what_is_no_number():
    tree = {"second": Registered(Registered("name", 1.0), {"z": 2.0, "a": None}), "first": 3.0}
    leaves, structure = flatten_with_names(tree)
    assert leaves == [1.0, 2.0, 3.0]
    assert structure.names == ("second.0.1", "second.1.z", "first")
    for copied in (structure, pickle.loads(pickle.dumps(structure)), copy.deepcopy(structure)):
        rebuilt = copied.rebuild([4.0, 5.0, 6.0])
        assert rebuilt["second"].first.first == "name"
        assert (rebuilt["second"].first.second, rebuilt["first"]) == (4.0, 6.0)
        assert list(rebuilt["second"].second.items()) == [("z", 5.0), ("a", None)]


def test_a_module_of_equinox_gives_its_arrays_and_keeps_static_fields_and_functions():
    network = equinox.nn.MLP(2, 1, 3, 1, key=jax.random.key(0))
    leaves, structure = flatten_with_names(network)
    assert [np.shape(leaf) for leaf in leaves] == [(3, 2), (3,), (1, 3), (1,)]
    rebuilt = structure.rebuild([np.zeros_like(leaf) for leaf in leaves])
    assert rebuilt(jnp.ones(2)).tolist() == [0.0]
    names = flatten_with_names([Layer(3)])[1].names
    assert names == ("0.weight",)


def test_a_module_can_be_fitted():
    import fieldfit

    x = np.linspace(-1.0, 1.0, 9)
    line = equinox.nn.Linear(1, 1, key=jax.random.key(1))
    objective = fieldfit.FunctionObjective(lambda net: jax.vmap(net)(x[:, None])[:, 0] - (2.0 * x + 1.0), line)
    result = fieldfit.LeastSquaresOptimizer().optimize(objective)
    assert isinstance(result.x, equinox.nn.Linear)
    assert float(result.x.weight[0, 0]) == pytest.approx(2.0)
    assert float(result.x.bias[0]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ("one", "'one'"),
        (True, "True"),
        (None, "None"),
        (1j, "1j"),
        (np.array([1.0 + 1j]), "array"),
        (np.array([True]), "array"),
        (np.array(["a"]), "array"),
        (len, "built-in"),
        (jax.random.key(0), "Array"),
        ({1, 2}, "{1, 2}"),
    ],
)
def test_what_is_no_number_is_refused_in_plain_containers(entry, shown):
    with pytest.raises(ParameterError, match=r"Entry 'a.b' is .*not a real number") as caught:
        flatten_with_names({"a": {"b": entry}})
    assert shown in str(caught.value)
