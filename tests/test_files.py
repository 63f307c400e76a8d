"""Files are whole or not there, and every library's way to say that a disk is full ends in one line."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import urllib.parse

import polars as pl
import pytest

from mbjax import errors, files

# As they are raised: by the system with and without a name, by polars, by tensorstore below orbax.
FULL = [
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a"),
    pl.exceptions.ComputeError("parquet: File out of specification: No space left on device (os error 28)"),
    ValueError("RESOURCE_EXHAUSTED: Failed to write 9 bytes: No space left on device [os_error_code='28']"),
]


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_a_full_disk_is_one_error_whoever_says_it(tmp_path, error):
    (tmp_path / "a").write_text("old")

    def write(path):
        path.write_text("ha")
        raise error

    with pytest.raises(errors.WriteError) as caught, files.then("start again"):
        files.replace(tmp_path / "a", write, "the table")
    assert caught.value.reason.startswith("no space left on '")
    assert os.path.ismount(caught.value.reason.split("'")[1])
    assert str(caught.value).endswith("': the table was not written. Free space and start again.")
    assert "\n" not in str(caught.value) and caught.value.exit_code == 6
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EACCES, "'{folder}' may not be written to: a was not written. Allow it, or choose another folder, and"),
        (errno.EROFS, "'{folder}' is read-only: a was not written. Allow it, or choose another folder, and try again."),
        (errno.EDQUOT, "the disk quota is used up on '"),
        (errno.EIO, f"{os.strerror(errno.EIO)}: '{{folder}}/a': a was not written. Mend that and try again."),
        (None, "encoder error -2: '{folder}/a': a was not written. Mend that and try again."),
    ],
)
def test_what_else_the_system_refuses(tmp_path, number, text):
    error = OSError("encoder error -2") if number is None else OSError(number, os.strerror(number))
    with pytest.raises(errors.WriteError) as caught, files.writing(tmp_path / "a"):
        raise error
    assert str(caught.value).startswith(text.format(folder=tmp_path))


@pytest.mark.parametrize("error", [ValueError("shape (3,) is not (4,)"), pl.exceptions.ComputeError("no such type")])
def test_what_is_not_the_system_s_stays_what_it_is(tmp_path, error):
    with pytest.raises(type(error)) as caught, files.writing(tmp_path):
        raise error
    assert caught.value is error


def test_a_table_ends_in_the_words_of_the_system(tmp_path):
    """Wherever within a file the disk ends: polars loses them where it is within the last bytes."""
    resource = pytest.importorskip("resource")  # not on Windows
    whole = files.write_parquet(pl.DataFrame({"user": ["a"]}), tmp_path / "a").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for size in (0, 1, whole // 2, whole - 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
            with pytest.raises(errors.WriteError, match="File too large.*the table was not written"):
                files.write_parquet(pl.DataFrame({"user": ["a"]}), tmp_path / "b", "the table")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_first_who_knows_how_to_go_on_says_it(tmp_path):
    with (
        pytest.raises(errors.WriteError, match=r"Free space and go on with X\.$"),
        files.then("start again"),
        files.then("go on with X"),
        files.writing(tmp_path / "a"),
    ):
        raise FULL[0]


def test_real_refusals_of_the_system(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.WriteError, match=r"stands in the way of '.*file/under'"):
        files.make_folder(tmp_path / "file" / "under")
    with pytest.raises(errors.WriteError, match=r"No such file or directory: '.*none/a.json'"):
        files.write_json(tmp_path / "none" / "a.json", {})
    files.write_parquet(pl.DataFrame({"a": [1]}), tmp_path / "made" / "a.parquet")
    files.write_json(tmp_path / "a.json", {"a": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    longest = tmp_path / ("x" * 255)
    assert files.write_text(longest, "fits").read_text() == "fits"


def test_of_many_that_start_together_one_gets_the_file(tmp_path):
    barrier, created = threading.Barrier(8), []

    def start(number):
        barrier.wait()
        created.append(files.create(tmp_path / "record.json", str(number)))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(created) == 1
    assert files.numbered(tmp_path / "a.b-seed0.json", 2, ".json").name == "a.b-seed0-2.json"


def test_a_failed_creation_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments):
        raise FULL[0]

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(errors.WriteError, match="no space"):
        files.create(tmp_path / "record.json", "{}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("buy", "buy"),
        ("add (cart)", "add (cart)"),
        ("购买", "购买"),
        ("a/b", "a%2Fb"),
        ("50 %", "50 %25"),
        (".hidden", "%2Ehidden"),
        ("what?", "what%3F"),
        ("end ", "end%20"),
        ("a:b\n", "a%3Ab%0A"),
    ],
)
def test_names_of_files_keep_what_systems_allow(text, name):
    assert files.name_of(text) == name and urllib.parse.unquote(name) == text
