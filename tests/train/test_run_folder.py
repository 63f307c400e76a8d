"""The run folder holds one run, and guards it against other configurations and other data."""

import hashlib
import json
import types as builtin

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from mbjax import errors, types
from mbjax.data import content, vocabulary
from mbjax.train import identity, run_folder


def make_dataset(fingerprint="ab" * 32, num_items=3, **more):
    pairs = {"click": sp.csr_array(np.eye(4, num_items)), "buy": sp.csr_array(np.eye(4, num_items, k=1))}
    made = builtin.SimpleNamespace(
        info=types.DatasetInfo("toy", 4, num_items, ("click", "buy")),
        train=pairs,
        valid={},
        test={"buy": pairs["buy"]},
        users=vocabulary.Vocabulary(list("abcd")),
        items=vocabulary.Vocabulary(np.arange(num_items) + 10),
        dropped=(),
        fingerprint=fingerprint,
        valid_rule="none",
        mask_valid=True,
    )
    return builtin.SimpleNamespace(**(vars(made) | more))


def difference(old: str, new: str) -> list[str]:
    """Line by line, as the configuration does by field."""
    pairs = zip(old.splitlines(), new.splitlines(), strict=True)
    return [f"{a.split(': ')[0]}: {a.split(': ')[1]} -> {b.split(': ')[1]}" for a, b in pairs if a != b]


OLD = "train.epochs: 4\nmodel.embedding_size: 100\n"


@pytest.fixture
def folder(tmp_path):
    folder = run_folder.RunFolder(tmp_path / "runs" / "one")
    folder.create(OLD, make_dataset())
    return folder


def resume(folder, new, dataset=None):
    folder.resume(new, dataset or make_dataset(), lambda old: difference(old, new))


def test_a_new_folder_holds_configuration_data_identity_and_vocabularies(folder):
    assert folder.has_run() and folder.config_text() == OLD
    assert json.loads(folder.dataset_file.read_text()) == {
        "name": "toy",
        "fingerprint": "ab" * 32,
        "ids": hashlib.sha256(b"a\nb\nc\nd\n10\n11\n12").hexdigest(),
        "num_users": 4,
        "num_items": 3,
        "behaviors": ["click", "buy"],
        "times": False,
        "later": False,
        "valid_rule": "none",
        "mask_valid": True,
        "pairs": {"train": {"click": 3, "buy": 2}, "valid": {}, "test": {"buy": 2}},
        "notes": [],
    }
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "best", "config.yaml", "dataset.json", "items.parquet", "last", "pairs.parquet", "plots", "users.parquet",
    ]  # fmt: skip


@pytest.mark.parametrize("most", [2, 5, 100])
def test_pairs_of_all_splits_are_kept_or_a_sample_of_them(monkeypatch, most):
    monkeypatch.setattr(identity, "SAMPLED", most)
    dataset = make_dataset()
    found = identity.some_pairs(dataset)
    assert found.schema == {"behavior": pl.String, "user": pl.Int32, "item": pl.Int32}
    for behavior in dataset.info.behaviors:
        held = [split[behavior] for split in (dataset.train, dataset.valid, dataset.test) if behavior in split]
        rows = found.filter(behavior=behavior).select("user", "item").rows()
        assert len(rows) == min(most, sum(matrix.nnz for matrix in held))
        assert all(any(matrix[pair] for matrix in held) for pair in rows)
        assert most < 100 or set(rows) == {
            tuple(pair) for matrix in held for pair in np.argwhere(matrix.toarray()).tolist()
        }


def test_a_used_folder_is_refused(folder):
    with pytest.raises(errors.ConfigError, match="holds a run already.*--resume.*--workdir"):
        folder.create(OLD, make_dataset())
    folder.config_file.unlink()
    (folder.last / "12").mkdir()
    with pytest.raises(errors.ConfigError, match=r"holds checkpoints, and the config.yaml of their run is gone"):
        folder.create(OLD, make_dataset())


def test_a_folder_whose_creation_was_cut_short_may_be_used_again(tmp_path):
    folder = run_folder.RunFolder(tmp_path)
    (tmp_path / "users.parquet").write_bytes(b"half")
    folder.create(OLD, make_dataset())
    assert vocabulary.Vocabulary.from_parquet(folder.users_file) == make_dataset().users


def test_what_was_said_and_who_was_dropped_is_kept_with_the_type_of_the_ids(tmp_path):
    dropped = (
        content.Dropped("user", "data.log.require_target_train", vocabulary.Vocabulary(["x", "y"])),
        content.Dropped("item", "data.log.min_count", vocabulary.Vocabulary(np.array([7], np.uint16))),
    )
    folder = run_folder.RunFolder(tmp_path / "run")
    folder.create(
        OLD, make_dataset(dropped=dropped, items=vocabulary.Vocabulary(np.array([1, 2, 3], np.uint16))), ["a"]
    )
    assert json.loads(folder.dataset_file.read_text())["notes"] == ["a"]
    kept = pl.read_parquet(folder.dropped_file)
    assert kept.schema == {"what": pl.String, "field": pl.String, "raw_user": pl.String, "raw_item": pl.UInt16}
    assert kept.rows() == [
        ("user", "data.log.require_target_train", "x", None),
        ("user", "data.log.require_target_train", "y", None),
        ("item", "data.log.min_count", None, 7),
    ]


def test_resuming_the_same_run_is_allowed_and_takes_over_more_epochs(folder):
    resume(folder, OLD)
    longer = OLD.replace("4", "8")
    resume(folder, longer)
    assert folder.config_text() == longer


def test_resuming_with_another_configuration_shows_the_difference(folder):
    with pytest.raises(errors.CheckpointError, match=r"model.embedding_size: 100 -> 50\. Undo"):
        resume(folder, OLD.replace("100", "50").replace("4", "8"))
    assert folder.config_text() == OLD


def test_resuming_on_other_data_is_refused(folder):
    with pytest.raises(
        errors.CheckpointError, match=r"fingerprint of 'toy' was abababababab\.\.\., and is cdcdcdcdcdcd"
    ) as caught:
        resume(folder, OLD, make_dataset(fingerprint="cd" * 32))
    assert f"--workdir={folder.path} --allow-new-data` writes lists" in str(caught.value)
    assert "train anew" in str(caught.value) and "point --dataset at the data as they were" in str(caught.value)
    with pytest.raises(errors.CheckpointError, match="num_items of 'toy' was 3, and is 5"):
        resume(folder, OLD, make_dataset(num_items=5))
    other = make_dataset()
    other.train = {"click": sp.csr_array(np.ones((4, 3))), "buy": other.train["buy"]}
    renamed = make_dataset(users=vocabulary.Vocabulary(list("abce")))
    with pytest.raises(errors.CheckpointError, match="ids of 'toy' was .*, and is "):
        folder.check_same(renamed)
    with pytest.raises(errors.CheckpointError, match="divided otherwise: .*'click': 3.* and is .*'click': 12"):
        folder.check_same(other)


def test_a_folder_of_the_time_before_ids_were_kept_goes_on(folder):
    then = json.loads(folder.dataset_file.read_text())
    del then["ids"]
    folder.dataset_file.write_text(json.dumps(then))
    folder.check_same(make_dataset())


def test_runs_within_a_folder_are_named(tmp_path):
    """As those of a sweep, of which the first are named."""
    for name in ("a", "b", "c", "d"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").touch()
    with pytest.raises(
        errors.ConfigError, match=r"is missing\. Name a run within it: runs/a, runs/b, runs/c and 1 more"
    ):
        run_folder.RunFolder(tmp_path).config_text()


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path, folder):
    with pytest.raises(errors.ConfigError, match=r"no run in .*config.yaml is missing"):
        resume(run_folder.RunFolder(tmp_path / "nothing"), OLD)
    folder.dataset_file.write_text("{")
    with pytest.raises(errors.CheckpointError, match=r"dataset\.json is unreadable"):
        resume(folder, OLD)
