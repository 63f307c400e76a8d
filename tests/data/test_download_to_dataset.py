"""From a download to a data set: the public files of JD, served locally, are the prepared folder to the last bit.

The prepared folder holds the same pairs in the same order, so the public files can be written from it; that they are
the public files is what the catalog's hashes say.
"""

import functools
import http.server
import threading

import numpy as np
import pytest

from mbjax import data, errors
from mbjax.data import catalog, loading, prepared, published

RAW = {"purchase": "target"}


def write_public_files(content, folder):
    """The files as the authors published them: 1-based ids, one pair a line."""
    for split in ("train", "valid", "test"):
        for behavior in content.behaviors:
            path = folder / f"{RAW.get(behavior, behavior)}_{split}"
            np.savetxt(path, content.pairs(split, behavior) + 1, fmt="%d")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A local server of an empty folder, and the user's cache elsewhere; yields the folder of JD's files."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(loading.PATH_VARIABLE, raising=False)
    root, cache = tmp_path / "mirror", tmp_path / "cache"
    source = catalog.source("jd")
    folder = root / source.repository / source.commit / "BVAE/Dataset/JD"
    folder.mkdir(parents=True)
    real = catalog.cache_folder
    monkeypatch.setattr(catalog, "cache_folder", lambda name, where=None: real(name, where or cache))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=root))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("MBJAX_MIRROR", f"http://127.0.0.1:{server.server_address[1]}")
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.realdata
def test_a_download_of_jd_is_the_prepared_folder(real_data, mirror):
    folder = real_data("jd")
    content = prepared.read(folder)
    write_public_files(content, mirror)
    behaviors = ("click", "favourite", "purchase")
    downloaded = data.load("jd", data.Options(behaviors=behaviors))
    ready = data.load(folder, data.Options(behaviors=behaviors))
    assert downloaded.fingerprint == ready.fingerprint
    for split in ("train", "valid", "test"):
        for name in behaviors:
            assert (getattr(downloaded, split)[name] != getattr(ready, split)[name]).nnz == 0
    # The second time nothing is asked for: the mirror may go away.
    for file in mirror.iterdir():
        file.unlink()
    assert data.load("jd", data.Options(behaviors=behaviors)).fingerprint == ready.fingerprint


@pytest.mark.realdata
def test_one_changed_digit_in_a_download_is_refused(real_data, mirror):
    write_public_files(prepared.read(real_data("jd")), mirror)
    path = mirror / "favourite_test"
    path.write_bytes(path.read_bytes()[:-2] + b"0\n")
    with pytest.raises(errors.DataError, match="favourite_test"):
        data.load("jd")
    assert not published.is_here("jd", catalog.cache_folder("jd"))
