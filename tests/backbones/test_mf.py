"""MF: the tables."""

import numpy as np


def test_every_behavior_has_the_tables(tiny):
    base = np.arange(8.0).reshape(4, 2)
    source = tiny([[1, 0], [0, 1]], [[1, 1], [0, 0]], [[0, 0], [0, 0]])
    module, graphs = source.module(name="mf")
    assert graphs == {} and module.penalty() == 0
    made = source.encode(base, name="mf")
    assert len(made) == 3
    for table in made:
        np.testing.assert_array_equal(table, base)
