"""How much is made at once, and what then changes."""

import pytest

from mbjax.features import extent
from mbjax.models import funnel_config


@pytest.mark.parametrize(
    ("left_out", "few", "many"), [("auto", True, False), ("fold", True, True), ("user", False, False)]
)
def test_a_fold_is_left_out_for_all_where_there_are_not_too_many(left_out, few, many):
    config = funnel_config.FunnelConfig(left_out=left_out, whole_users=100)
    assert (extent.leaves_fold_out(config, 100), extent.leaves_fold_out(config, 101)) == (few, many)
