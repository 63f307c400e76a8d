"""Fetching from a local server: whole, cut, resumed, wrong, refused and offline."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import socket
import threading
from pathlib import Path

import pytest

from mbjax import errors
from mbjax.data import catalog, download

CONTENT = {
    "Data/buy/train.txt": b"0 1 2 3\n1 4\n" * 4000,
    "Data/buy/test.txt": b"0 9\n1 8\n",
    "Data/view/empty file.txt": b"",
}


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob " + str(len(content)).encode() + b"\0" + content).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves ``content``; may close the connection after some bytes, ignore ranges or answer with a status."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = {f"/owner/name/abc/{path.replace(' ', '%20')}": data for path, data in CONTENT.items()}
        self.cut_after: list[int] = []  # one number for each request that is to be cut
        self.ranges = True
        self.length = True
        self.statuses: list[int] = []  # answered before anything else
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.path, wanted))
        if server.statuses:
            return self.send_error(server.statuses.pop(0))
        if self.path not in server.content:
            return self.send_error(404)
        body = server.content[self.path]
        if wanted and server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            body = body[start:]
        else:
            self.send_response(200)
        if server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut_after.pop(0)] if server.cut_after else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with contextlib.closing(Server()) as instance:
        instance.close = instance.server_close
        thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield instance
        instance.shutdown()
        thread.join()


@pytest.fixture
def toy(monkeypatch, server):
    """A data set of three files in the catalog, served by the local server."""
    files = tuple(
        catalog.SourceFile(path, path.removeprefix("Data/"), git_sha1(data), len(data))
        for path, data in CONTENT.items()
    )
    entry = catalog.Source("toy", "owner/name", "abc", "http://127.0.0.1:9/{path}", "pairs", "", files)
    monkeypatch.setattr(catalog, "sources", lambda: {"toy": entry})
    monkeypatch.setenv("MBJAX_MIRROR", server.url)
    return entry


def fetch(tmp_path: Path, **options) -> Path:
    return catalog.fetch("toy", cache_dir=tmp_path, pause=0.0, timeout=5.0, **options)


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != ".lock")


def assert_complete(folder: Path) -> None:
    assert names(folder) == sorted(path.removeprefix("Data/") for path in CONTENT)
    for path, data in CONTENT.items():
        assert (folder / path.removeprefix("Data/")).read_bytes() == data


def test_hash_is_that_of_git(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert download.blob_sha1(tmp_path / "empty") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert download.blob_sha1(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_fetch_brings_every_file_and_a_second_call_asks_for_nothing(tmp_path, server, toy):
    folder = fetch(tmp_path)
    assert folder == tmp_path / "toy"
    assert_complete(folder)
    assert len(server.requests) == 3
    assert fetch(tmp_path) == folder
    assert len(server.requests) == 3


def test_server_that_sends_no_length(tmp_path, server, toy):
    server.length = False
    assert_complete(fetch(tmp_path))


def test_cut_connection_is_continued_in_the_same_call(tmp_path, server, toy):
    server.cut_after = [1000, 500]
    assert_complete(fetch(tmp_path))
    assert [wanted for _, wanted in server.requests[:3]] == [None, "bytes=1000-", "bytes=1500-"]


def test_cut_connection_is_continued_by_a_later_call(tmp_path, server, toy):
    server.cut_after = [1000]
    with pytest.raises(errors.DataError, match=r"cut after 1000 of 48000 bytes"):
        fetch(tmp_path, attempts=1)
    assert names(tmp_path / "toy") == ["buy/train.txt.part"]
    server.requests.clear()
    assert_complete(fetch(tmp_path))
    assert server.requests[0] == ("/owner/name/abc/Data/buy/train.txt", "bytes=1000-")


def test_server_that_ignores_ranges_sends_everything_again(tmp_path, server, toy):
    server.ranges = False
    server.cut_after = [1000]
    assert_complete(fetch(tmp_path))
    assert server.requests[1][1] == "bytes=1000-"


def test_server_that_always_cuts_is_given_up(tmp_path, server, toy):
    server.ranges = False
    server.cut_after = [1000] * 50
    with pytest.raises(errors.DataError, match="cut after 1000"):
        fetch(tmp_path, attempts=3)
    assert len(server.requests) == 3  # the first brought something new, the next two did not


def test_part_file_of_another_file_is_thrown_away(tmp_path, server, toy):
    part = tmp_path / "toy/buy/train.txt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"something else altogether")
    assert_complete(fetch(tmp_path))


@pytest.mark.parametrize("extra", [b"", b"and more than the file holds"])
def test_part_file_that_is_whole_or_too_long(tmp_path, server, toy, extra):
    part = tmp_path / "toy/buy/train.txt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT["Data/buy/train.txt"] + extra)
    assert_complete(fetch(tmp_path))


def test_wrong_bytes_are_refused_and_removed(tmp_path, server, toy):
    server.content["/owner/name/abc/Data/buy/train.txt"] = b"<html>sign in</html>"
    with pytest.raises(errors.DataError) as caught:
        fetch(tmp_path)
    for part in ("train.txt", git_sha1(b"<html>sign in</html>"), git_sha1(CONTENT["Data/buy/train.txt"]), "20 bytes"):
        assert part in str(caught.value)
    assert names(tmp_path / "toy") == []


def test_files_put_there_by_hand_are_accepted(tmp_path, server, toy):
    for path, data in CONTENT.items():
        target = tmp_path / "toy" / path.removeprefix("Data/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    assert_complete(fetch(tmp_path, allow_download=False))
    assert server.requests == []


def test_damaged_file_in_the_cache_is_fetched_again(tmp_path, server, toy):
    folder = fetch(tmp_path)
    (folder / "buy/test.txt").write_bytes(b"0 9\n1 7\n")
    with pytest.raises(errors.DataError, match="switched off"):
        fetch(tmp_path, allow_download=False)
    assert [f.local for f in catalog.missing("toy", folder)] == ["buy/test.txt"]
    assert_complete(fetch(tmp_path))
    assert len(server.requests) == 4


def test_missing_file_says_status_and_what_to_do(tmp_path, server, toy):
    del server.content["/owner/name/abc/Data/buy/test.txt"]
    with pytest.raises(errors.DataError) as caught:
        fetch(tmp_path)
    message = str(caught.value)
    assert "HTTP status 404" in message and "MBJAX_DATA" in message
    assert f"{server.url}/owner/name/abc/Data/buy/test.txt" in message
    assert str(tmp_path / "toy/buy/test.txt") in message
    assert "buy/train.txt" not in message  # it is there already
    assert len(server.requests) == 2  # a 404 is not tried again


def test_busy_server_is_tried_again(tmp_path, server, toy):
    server.statuses = [503, 429]
    assert_complete(fetch(tmp_path))


def test_offline_lists_every_file(tmp_path, toy):
    with socket.socket() as unused:  # bound and not listening: a connection is refused
        unused.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{unused.getsockname()[1]}/{{name}}/{{path}}"
        with pytest.raises(errors.DataError) as caught:
            fetch(tmp_path, mirror=mirror, attempts=2)
    first, *lines = str(caught.value).splitlines()
    assert "3 files" in first and str(tmp_path / "toy") in first and "MBJAX_DATA" in first
    for line, file in zip(lines, toy.files, strict=True):
        assert line.split("  ->  ")[1].rstrip(";") == str(tmp_path / "toy" / file.local)
        assert "/toy/Data/" in line
    assert caught.value.__cause__ is not None


def test_two_calls_at_once_do_not_disturb_each_other(tmp_path, server, toy):
    failures = []

    def run():
        try:
            fetch(tmp_path)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert_complete(tmp_path / "toy")
    assert len(server.requests) == 3


@pytest.mark.parametrize("mirror", ["ftp://host/{path}", "file:///etc/{path}", "http://host/{file}", "http://host/{0}"])
def test_mirror_that_is_no_address(tmp_path, toy, mirror):
    with pytest.raises(errors.ConfigError, match="mirror"):
        fetch(tmp_path, mirror=mirror)


def test_names_that_cannot_be_fetched(tmp_path):
    with pytest.raises(errors.DataError, match="prepared folder only.*MBJAX_DATA"):
        catalog.fetch("retail_rocket", cache_dir=tmp_path)
    with pytest.raises(errors.ConfigError, match="generated"):
        catalog.fetch("demo", cache_dir=tmp_path)
    with pytest.raises(errors.ConfigError, match="unknown data set 'taoboa'. Did you mean 'taobao'"):
        catalog.fetch("taoboa", cache_dir=tmp_path)


def test_catalog_facts():
    assert set(catalog.sources()) | {"demo", "retail_rocket"} == set(catalog.KNOWN)
    jd = catalog.sources()["jd"]
    assert len(jd.files) == 12
    assert {f.local for f in jd.files} >= {"target_train", "click_test", "cart_valid"}
    assert {f.local for f in catalog.sources()["taobao"].files} >= {"view/train.txt", "buy/test.txt"}
    assert {f.local for f in catalog.sources()["beibei"].files} == {"cart.txt", "pv.txt", "test.txt", "train.txt"}
    for entry in catalog.sources().values():
        assert len({f.local for f in entry.files}) == len(entry.files)
        for file in entry.files:
            assert len(file.sha1) == 40 and catalog.address(entry, file, None).startswith("https://")


def test_default_address_and_cache(monkeypatch):
    monkeypatch.delenv("MBJAX_MIRROR", raising=False)
    jd = catalog.sources()["jd"]
    assert catalog.address(jd, jd.files[0]) == (
        "https://raw.githubusercontent.com/WitnessForest/BVAE/5aa296a40dce39aa368723cc9ccf0cd3a7ce1637/"
        "BVAE/Dataset/JD/cart_test"
    )
    assert catalog.cache_folder("jd").parts[-2:] == ("mbjax", "jd")
    assert catalog.cache_folder("jd", "/elsewhere") == Path("/elsewhere/jd")


def test_facts_are_json_with_known_keys():
    text = (Path(catalog.__file__).parent / "sources.json").read_text("utf-8")
    for entry in json.loads(text).values():
        assert set(entry) == {"repository", "commit", "url", "format", "note", "files"}
