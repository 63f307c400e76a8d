"""Seeds become one group with a name that tells it apart; what does not compare is refused."""

import pytest

from mbjax import errors
from mbjax.reporting.compare import groups, sources


@pytest.fixture
def make_run(make_record):
    def make(source="a", values=None, selection="valid", **changes):
        record = make_record(selection=selection, **changes)
        return sources.Run(source, record, selection, record["selection"][selection], None, "a reason", values)

    return make


def labels(*runs):
    return [group.label for group in groups.group(runs)[0]]


def test_seeds_are_one_group_in_ascending_order(make_run):
    found, notes = groups.group([make_run(seed=2), make_run(seed=0), make_run(ablation="wo_tff"), make_run(seed=1)])
    assert [[run.record["seed"] for run in group.runs] for group in found] == [[0, 1, 2], [0]]
    assert [group.label for group in found] == ["bvae", "bvae wo_tff"]
    assert notes == []


def test_a_default_that_was_typed_is_no_setting_of_its_own(make_run):
    """Of run folders, whose configurations are whole; of results files the default may have been another one."""
    typed, whole = {"model.sdwl": True, "train.epochs": 7}, {"train.epochs": 7}
    found, _ = groups.group([make_run(values={}, overrides=typed), make_run(seed=1, values={}, overrides=whole)])
    assert [[run.record["seed"] for run in group.runs] for group in found] == [[0, 1]]
    assert found[0].settings == whole
    assert len(groups.group([make_run(overrides=typed), make_run(seed=1, overrides=whole)])[0]) == 2


def test_a_repeated_seed_is_counted_once(make_run):
    found, notes = groups.group([make_run("file"), make_run("other"), make_run(seed=1)])
    assert [run.source for run in found[0].runs] == ["file", "a"]
    assert notes == ["other is left out: it repeats seed 0 of file."]


def test_labels_leave_out_what_all_trained_runs_share_and_what_decides_little(make_run, anchor):
    both = {"train.epochs": 60}
    runs = [
        make_run(overrides=both | {"evaluate.batch_size": 7}),
        make_run(overrides=both | {"model.embedding_size": 50}, ablation="wo_base"),
        make_run(overrides=both | {"train.patience": 3, "data.behaviors": ["click", "purchase"]}),
        make_run(**anchor, overrides=both | {"train.batch_size": 3}),  # trains nothing
    ]
    assert labels(*runs) == ["bvae", "bvae wo_base embedding_size=50", "bvae behaviors=click,purchase", "popularity"]
    assert groups.shared(groups.group(runs)[0]) == ["train.epochs=60"]


def test_labels_say_more_where_they_would_be_the_same(make_run, make_record):
    assert labels(make_run(), make_run(overrides={"train.patience": 3})) == ["bvae", "bvae patience=3"]
    other = make_record()["protocol"] | {"valid": "random_one"}
    assert labels(make_run(overrides={"train.epochs": 5}), make_run(overrides={"train.epochs": 5}, protocol=other)) == [
        "bvae train.epochs=5 (honest) valid=file mask_valid=False valid",
        "bvae train.epochs=5 (honest) valid=random_one mask_valid=False valid",
    ]


def test_protocols_are_named_where_they_differ(make_run, anchor):
    runs = [make_run(), make_run(protocol="paper", selection="last"), make_run(**anchor)]
    assert labels(*runs) == ["bvae (honest)", "bvae (paper)", "popularity"]
    # An anchor that has counted validation pairs says so beside runs that have not.
    assert labels(make_run(), make_run(**anchor, protocol="paper")) == ["bvae", "popularity (paper)"]
    assert labels(make_run(**anchor, protocol="paper")) == ["popularity"]


def test_defaults_that_changed_between_run_folders_divide_a_group(make_run):
    runs = [
        make_run(seed=0, values={"model.size": 4, "train.chunk_steps": 1}),
        make_run(seed=1, values={"model.size": 4, "train.chunk_steps": 2}),
        make_run(seed=2, values={"model.size": 8}),
    ]
    found, _ = groups.group(runs)
    assert [[run.record["seed"] for run in group.runs] for group in found] == [[0, 1], [2]]
    assert [group.label for group in found] == ["bvae size=4", "bvae size=8"]


def with_protocol(make_record, source, **changes):
    record = make_record()
    record["protocol"] |= {k: v for k, v in changes.items() if k in record["protocol"]}
    record |= {k: v for k, v in changes.items() if k in record}
    return sources.Run(source, record, "valid", record["selection"]["valid"])


REFUSED = [
    (
        {},
        {"dataset_fingerprint": "cd" * 32},
        "test",
        r"'jd' in two states \(a: data abababababab; b: data cdcdcd",
    ),
    ({}, {"mask": "all_behaviors"}, "test", "different items to rank.*a: candidates mask=same_behavior; b: .*=all_beh"),
    ({}, {"mask_valid": True}, "test", "different items to rank.*b: .*mask_valid=True with valid=file"),
    ({}, {"valid": "file_inside_train"}, "test", "different items to rank.*mask_valid=False with valid=file_inside"),
    ({}, {"valid": "into_train"}, "test", "different items to rank.*b: .*validation pairs in training"),
    ({}, {"valid": "none"}, "valid", "different validation pairs.*valid=file; b: validation pairs valid=none"),
    (
        {"valid": "random_one", "mask_valid": True},
        {"valid": "random_one", "mask_valid": True, "overrides": {"data.seed": 1}},
        "valid",
        "random_one of purchase, data.seed=0; b: .*data.seed=1",
    ),
    (
        {"valid": "random_one", "mask_valid": True, "mask": "all_behaviors"},
        {"valid": "none", "mask_valid": True, "mask": "all_behaviors"},
        "test",
        "different items to rank",
    ),
]


@pytest.mark.parametrize(("one", "other", "split", "message"), REFUSED)
def test_what_does_not_compare_is_refused(make_record, one, other, split, message):
    with pytest.raises(errors.IncompatibleError, match=message):
        groups.check([with_protocol(make_record, "a", **one), with_protocol(make_record, "b", **other)], split)


ALLOWED = [
    # Unmasked pairs of later files, or none at all: the same candidates.
    ({}, {"valid": "none"}, "test"),
    # Pairs out of training that are masked all the same: the same candidates as with them in training.
    ({"valid": "file_inside_train", "mask_valid": True}, {"valid": "none", "mask_valid": True}, "test"),
    ({"valid": "random_one", "mask_valid": True}, {"valid": "none", "mask_valid": True}, "test"),
    ({"valid": "random_one", "mask_valid": True}, {"valid": "into_train", "mask_valid": True}, "test"),
    ({}, {"dataset": "ub", "dataset_fingerprint": "cd" * 32}, "test"),
]


@pytest.mark.parametrize(("one", "other", "split"), ALLOWED)
def test_what_compares_is_let_through(make_record, one, other, split):
    groups.check([with_protocol(make_record, "a", **one), with_protocol(make_record, "b", **other)], split)
