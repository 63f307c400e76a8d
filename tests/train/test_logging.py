"""The log of a run survives kill -9 and resumption, and can be read by everyone."""

import csv
import errno
import json
import struct
import types

import numpy as np
import pytest
from matplotlib.backends import backend_agg
from tensorboardX import record_writer

from mbjax import errors
from mbjax.train import logging


def make_row(epoch: int, **more):
    row = {"epoch": epoch, "step": 22 * (epoch + 1), "seconds": 2.5, "loss": 100.0 - epoch, "loss_parts": {"kl": 0.5}}
    return row | more


def write(workdir, epochs, *, from_epoch=0):
    log = logging.RunLog(workdir, from_epoch=from_epoch)
    for epoch in epochs:
        log.epoch(make_row(epoch))
    log.close()
    return log.rows()


def scalars(workdir) -> dict[tuple[str, int], float]:
    """Tags, steps and values of all TensorBoard events, read by their framing: length, two checksums, payload."""
    from tensorboardX.proto import event_pb2

    found = {}
    for path in sorted((workdir / "tensorboard").iterdir()):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            event = event_pb2.Event.FromString(content[place + 12 : place + 12 + length])
            place += length + 16
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found


def test_rows_are_on_disk_as_soon_as_they_are_logged(tmp_path):
    log = logging.RunLog(tmp_path)
    log.epoch(make_row(0, test={"buy": {"hr@5": np.float32(0.5), "users": np.int64(3)}}))
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["test"] == {"buy": {"hr@5": 0.5, "users": 3}}
    assert logging.read_rows(tmp_path / "metrics.jsonl") == log.rows()
    log.close()


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_line_cut_by_a_kill_is_left_out_and_written_again(tmp_path, cut):
    whole = write(tmp_path, range(4))
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert logging.read_rows(path) == whole[:3]
    # The checkpoint was of the end of epoch 2: training goes on with epoch 3.
    assert write(tmp_path, range(3, 5), from_epoch=3) == whole + [make_row(4)]
    assert logging.read_rows(path) == whole + [make_row(4)]


def test_resuming_drops_what_will_be_run_again(tmp_path):
    write(tmp_path, range(5))
    assert [row["epoch"] for row in write(tmp_path, [2], from_epoch=2)] == [0, 1, 2]
    assert [row["epoch"] for row in write(tmp_path, [0])] == [0]


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path):
    write(tmp_path, range(3))
    path = tmp_path / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + "[1, 2]\n" + lines[2])
    with pytest.raises(errors.DataError, match=r"metrics\.jsonl, line 2"):
        logging.read_rows(path)
    with pytest.raises(errors.DataError, match="cannot be read"):
        logging.read_rows(tmp_path / "missing")


def test_not_a_number_is_null_in_json(tmp_path):
    log = logging.RunLog(tmp_path)
    log.epoch(make_row(0) | {"loss": float("nan")})
    log.close()
    assert '"loss": null' in (tmp_path / "metrics.jsonl").read_text()


def test_epochs_must_ascend(tmp_path):
    log = logging.RunLog(tmp_path)
    log.epoch(make_row(1))
    with pytest.raises(ValueError, match="epoch 1 was logged after epoch 1"):
        log.epoch(make_row(1))
    log.close()


def test_finish_writes_csv_and_the_learning_curve(tmp_path):
    log = logging.RunLog(tmp_path)
    log.epoch(make_row(0))
    log.epoch(make_row(1, valid={"buy": {"hr@5": 0.25, "ndcg@5": 0.125}}))
    log.finish()
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["loss"] for row in rows] == ["100.0", "99.0"]
    assert [row["valid/buy/hr@5"] for row in rows] == ["", "0.25"]
    assert (tmp_path / "plots" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_events_are_by_step(tmp_path):
    log = logging.RunLog(tmp_path)
    log.epoch(make_row(0, test={"buy": {"hr@5": 0.5}}))
    log.epoch(make_row(1))
    log.close()
    found = scalars(tmp_path)
    assert found["loss", 22] == 100.0 and found["loss", 44] == 99.0 and found["test/buy/hr@5", 22] == 0.5
    assert found["loss_parts/kl", 44] == 0.5
    assert not any(tag in ("epoch", "step") for tag, _ in found)


def test_behaviors_of_nearly_the_same_name_stay_apart(tmp_path):
    names = ("add to cart", "add_to_cart", "add/to/cart", "add%2Fto%2Fcart", "加购", "add")
    table = {name: {"hr@5": float(number)} for number, name in enumerate(names)} | {"add": {"to": {"cart": 5.0}}}
    log = logging.RunLog(tmp_path)
    log.epoch(make_row(0, valid=table))
    log.finish()
    found = {tag: value for (tag, _), value in scalars(tmp_path).items() if tag.startswith("valid/")}
    assert sorted(found.values()) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert found["valid/add to cart/hr@5"] == 0.0 and found["valid/add%2Fto%2Fcart/hr@5"] == 2.0
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert {name: float(row[name]) for name in found} == found


def test_a_log_reopened_within_the_second_keeps_the_events_before(tmp_path):
    for epoch in range(3):
        write(tmp_path, [epoch], from_epoch=epoch)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 3
    assert {step for tag, step in scalars(tmp_path) if tag == "loss"} == {22, 44, 66}


def full(*arguments, **options):
    """As a write on a disk without space: by the system, which names no file."""
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("owner", "name", "lost"),
    [
        (record_writer.RecordWriter, "write", "tensorboard/"),
        (record_writer.RecordWriter, "close", "tensorboard/"),
        (csv.DictWriter, "writerows", "metrics.csv"),
        (backend_agg.FigureCanvasAgg, "print_figure", "learning_curve.png"),
    ],
)
def test_a_run_goes_on_without_what_it_can_do_without(tmp_path, monkeypatch, owner, name, lost):
    told, original = [], getattr(owner, name)
    # What is closed is closed, whatever it could not write before.
    failing = full if name != "close" else lambda self: (original(self), full())
    monkeypatch.setattr(owner, name, failing)
    log = logging.RunLog(tmp_path, missing=told.append)
    for epoch in range(30):  # more than any queue holds
        log.epoch(make_row(epoch))
    log.finish()
    assert [error.lost for error in told] == [lost]
    assert logging.read_rows(tmp_path / "metrics.jsonl") == [make_row(epoch) for epoch in range(30)]
    with pytest.raises(errors.WriteError, match=f"no space left on '.*': {lost} was not written"):
        logging.RunLog(tmp_path, from_epoch=30).finish()


def test_a_row_that_cannot_be_written_ends_the_run(tmp_path):
    log = logging.RunLog(tmp_path)
    log.epoch(make_row(0))
    log._file.close()
    log._file = types.SimpleNamespace(write=full, close=full)
    with pytest.raises(errors.WriteError, match=r"no space left on '.*': the last row of metrics\.jsonl was not"):
        log.epoch(make_row(1))
    log.close()
    assert write(tmp_path, [1], from_epoch=1) == [make_row(0), make_row(1)]
