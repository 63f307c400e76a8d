"""Of many that start together in one folder one trains, and the others have written nothing."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading

import filelock
import pytest

from mbjax import errors
from mbjax.train import claim, run_folder

MANY = 6


def together(work):
    """Runs ``work(number)`` in several threads that start at one moment; returns what each returned or raised."""
    barrier, results = threading.Barrier(MANY), {}

    def start(number):
        barrier.wait()
        try:
            results[number] = work(number)
        except errors.MbjaxError as error:
            results[number] = error

    threads = [threading.Thread(target=start, args=(number,)) for number in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(results.values())


@pytest.mark.parametrize("exists", [False, True])
def test_one_of_many_gets_a_folder_that_was_named(tmp_path, exists):
    """Also a folder that is there and empty. Whoever is refused has written nothing, whoever got it may write."""
    path, everyone = tmp_path / "new" / "run", threading.Barrier(MANY)
    if exists:
        path.mkdir(parents=True)

    def work(number):
        try:
            with claim.new(path) as folder:
                folder.config_file.write_text(str(number))
                everyone.wait()
                return number
        except errors.CheckpointError:
            everyone.wait()
            raise

    results = together(work)
    (winner,) = (result for result in results if isinstance(result, int))
    assert sum(isinstance(result, claim.InUseError) for result in results) == MANY - 1
    assert (path / "config.yaml").read_text() == str(winner)
    assert sorted(entry.name for entry in path.iterdir()) == [".lock", "config.yaml"]


def test_each_of_many_gets_a_folder_of_its_own_where_nobody_named_one(tmp_path):
    def work(number):
        with claim.numbered(tmp_path / "runs" / "bvae-rel-seed0") as folder:
            folder.config_file.write_text(str(number))
            return folder.path.name

    names = together(work)
    assert sorted(names) == ["bvae-rel-seed0", *(f"bvae-rel-seed0-{number}" for number in range(2, MANY + 1))]


def test_another_process_is_refused_until_the_first_is_gone_however_it_ends(tmp_path):
    program = (
        "import pathlib, sys, time\nfrom mbjax.train import claim\n"
        "with claim.new(pathlib.Path(sys.argv[1])):\n    print('claimed', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "claimed\n"
        with pytest.raises(errors.CheckpointError, match="another process is training in run folder .*run. Stop it"):
            contextlib.ExitStack().enter_context(claim.new(tmp_path / "run"))
        with claim.numbered(tmp_path / "run") as folder:
            assert folder.path.name == "run-2"
    finally:
        process.kill()
        process.communicate()
    # It was killed before its configuration was written: the folder can be used again.
    with claim.numbered(tmp_path / "run") as folder:
        assert folder.path.name == "run"


def test_a_folder_is_taken_away_if_nothing_came_of_it(tmp_path):
    for base in (claim.new, claim.numbered):
        with pytest.raises(errors.DataError), base(tmp_path / "run"):
            raise errors.DataError("no such column")
        assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(errors.DataError), claim.new(tmp_path / "mine"):
        raise errors.DataError("no such column")
    assert (tmp_path / "mine" / "notes.txt").exists()


def test_a_used_folder_and_a_file_are_no_run_folders(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.ConfigError, match="is a file"), claim.new(tmp_path / "file"):
        pass
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "config.yaml").touch()
    with (
        pytest.raises(errors.ConfigError, match="holds a run already.*--resume.*--workdir"),
        claim.new(tmp_path / "used"),
    ):
        pass
    for name in ("file", "used"):
        with claim.numbered(tmp_path / name) as folder:
            assert folder.path == tmp_path / f"{name}-2"


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied", str(tmp_path / ".lock"))

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(errors.WriteError, match=f"'{tmp_path}' may not be written to: the claim"), claim.new(tmp_path):
        pass


def test_a_marker_does_where_the_file_system_knows_no_locks(tmp_path, monkeypatch):
    def unknown(*arguments, **options):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(filelock.FileLock, "acquire", unknown)
    folder = run_folder.RunFolder(tmp_path)
    with claim.alone(folder), pytest.raises(claim.InUseError), claim.alone(folder):
        pass
    with claim.alone(folder):
        pass


def test_files_that_may_be_replaced_are_not_while_somebody_writes_them(tmp_path):
    base = tmp_path / "recommendations"
    with claim.idle(base) as first, claim.idle(base) as second:
        assert (first, second) == (base, tmp_path / "recommendations-2")
        (first / "buy.parquet").touch()
    assert not second.exists()  # nothing was written there
    with claim.idle(base) as again:
        assert again == base and (base / "buy.parquet").exists()
