"""Numbers of things, in words."""

import pytest

from mbjax import wording


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(0, "row", "0 rows"), (1, "repeated row", "1 repeated row"), (2000, "user", "2,000 users")],
)
def test_count(number, noun, text):
    assert wording.count(number, noun) == text
