"""The data sets that mbjax knows by name, and how their public files come into the user's cache.

``sources.json`` holds the facts: repository, commit, address, and the git blob hash of every file. A fetched data set
is a folder of the published files under their published names, e.g. ``jd/click_train`` or ``taobao/view/train.txt``
(the folders that all files of a data set share are left out). Reading them is the business of the readers.

``MBJAX_MIRROR`` names another place to fetch from: either an address to which ``/{repository}/{commit}/{path}`` is
appended, or a template with ``{path}`` and, if wanted, ``{name}``, ``{repository}`` and ``{commit}``.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import os
import posixpath
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import rich.console
import rich.progress

from mbjax import errors, paths
from mbjax.data import download

PARTS = {"ub": ("ub_no_click", "the same without training pairs of click")}
"""Data set -> a prepared folder with a part of it, which is read where the whole cannot be fetched, and what it is."""
KNOWN = ("beibei", "demo", "jd", "retail_rocket", "taobao", "tmall", "ub")
"""Names that can be given instead of a path; ``demo`` is generated and ``retail_rocket`` a prepared folder only."""

MIRROR_VARIABLE = "MBJAX_MIRROR"


@dataclass(frozen=True)
class SourceFile:
    """A published file.

    Attributes:
      path: in the repository.
      local: in the fetched folder, with ``/`` between folders.
      sha1: git blob hash.
      size: bytes; None where it is not known.
    """

    path: str
    local: str
    sha1: str
    size: int | None


@dataclass(frozen=True)
class Source:
    """Where a data set is published. ``url`` is a template with ``{path}``; ``format`` and ``note`` are for people."""

    name: str
    repository: str
    commit: str
    url: str
    format: str
    note: str
    files: tuple[SourceFile, ...]


@functools.cache
def sources() -> dict[str, Source]:
    """All data sets that can be fetched, by name."""
    text = importlib.resources.files("mbjax.data").joinpath("sources.json").read_text("utf-8")
    result = {}
    for name, entry in json.loads(text).items():
        shared = posixpath.commonpath([posixpath.dirname(f["path"]) for f in entry["files"]])
        files = tuple(
            SourceFile(f["path"], posixpath.relpath(f["path"], shared), f["git_blob_sha1"], f.get("bytes"))
            for f in entry["files"]
        )
        facts = {key: entry[key] for key in ("repository", "commit", "url", "format", "note")}
        result[name] = Source(name=name, files=files, **facts)
    return result


def cache_folder(name: str, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds, or would hold, the published files of a data set.

    ``cache_dir`` defaults to the platform's cache folder of the user, e.g. ``~/.cache/mbjax`` on Linux.
    """
    parent = Path(cache_dir) if cache_dir is not None else platformdirs.user_cache_path("mbjax", appauthor=False)
    return parent.expanduser() / name


def missing(name: str, folder: Path) -> list[SourceFile]:
    """The files of a data set that ``folder`` lacks, or holds with other bytes than the published ones."""
    return [f for f in source(name).files if not _is_valid(folder / f.local, f.sha1)]


def address(source: Source, file: SourceFile, mirror: str | None = None) -> str:
    """Where a file is fetched from; ``mirror`` as described above, default ``MBJAX_MIRROR``, then ``source.url``.

    Raises:
      ConfigError: the address is not http or https, or the template has a field that does not exist.
    """
    template = mirror or os.environ.get(MIRROR_VARIABLE) or source.url
    if "{" not in template:
        template = template.rstrip("/") + "/{repository}/{commit}/{path}"
    fields = {"name": source.name, "repository": source.repository, "commit": source.commit}
    try:
        url = template.format(path=urllib.parse.quote(file.path), **fields)
    except (KeyError, IndexError, ValueError) as error:
        raise errors.ConfigError(
            f"mirror '{template}' cannot be filled in ({error}); its fields are {{path}}, {{name}}, {{repository}}, "
            "{commit}."
        ) from error
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise errors.ConfigError(f"mirror '{template}' is not an http or https address.")
    return url


def source(name: str) -> Source:
    """The source of a data set that can be fetched.

    Raises:
      ConfigError: there is no data set of that name, or it is generated and has no files.
      DataError: it exists as a prepared folder only.
    """
    if name in sources():
        return sources()[name]
    if name == "retail_rocket":
        raise errors.DataError(
            "data set 'retail_rocket' is a prepared folder only and cannot be downloaded. Put the folder retail_rocket "
            "(meta.json, train.*.tsv.gz, test.buy.tsv.gz) into ./data or into a folder that "
            f"{paths.DATA_VARIABLE} names."
        )
    if name in KNOWN:
        raise errors.ConfigError(f"data set '{name}' is generated when it is needed; there is nothing to download.")
    raise errors.unknown("data set", name, KNOWN)


def fetch(
    name: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    mirror: str | None = None,
    allow_download: bool = True,
    progress: bool = True,
    attempts: int = 4,
    pause: float = 0.5,
    timeout: float = 30.0,
) -> Path:
    """Makes sure that every file of a data set stands in the cache, verified, and returns their folder.

    Files that are there already are hashed (also those put there by hand), the others are downloaded. A file with wrong
    bytes is replaced. An interrupted call continues where it stopped.

    Args:
      name: of a data set with public files: beibei, jd, taobao, tmall, ub.
      cache_dir: parent of the data set's folder; see ``cache_folder``.
      mirror: another place to fetch from; see ``address``.
      allow_download: False only verifies.
      progress: shows a bar on standard error if that is a terminal.
      attempts, pause, timeout: see ``download.download``.

    Raises:
      ConfigError: no such data set, or a mirror that is no address.
      DataError: a file could not be fetched (the message lists what to fetch from where and where to put it), or
        its bytes are not the published ones.
    """
    wanted = source(name)
    folder = cache_folder(name, cache_dir)
    todo = missing(name, folder)
    if not todo:
        return folder
    if not allow_download:
        raise errors.DataError(_instructions(wanted, folder, todo, mirror, "downloading is switched off"))
    console = rich.console.Console(stderr=True)
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, disable=not (progress and console.is_terminal)) as bar:
        for index, file in enumerate(todo):
            task = bar.add_task(f"{name} {index + 1}/{len(todo)} {file.local}", total=file.size)

            def show(done: int, total: int | None, task=task, size=file.size) -> None:
                bar.update(task, completed=done, total=total if total is not None else size)

            url = address(wanted, file, mirror)
            try:
                download.download(
                    url, folder / file.local, file.sha1, progress=show, attempts=attempts, pause=pause, timeout=timeout
                )
            except OSError as error:
                left = [f for f in todo[index:] if not _is_valid(folder / f.local, f.sha1)]
                why = f"{file.local} could not be fetched ({_reason(error)})"
                raise errors.DataError(_instructions(wanted, folder, left, mirror, why)) from error
    return folder


def _is_valid(path: Path, sha1: str) -> bool:
    return path.is_file() and download.blob_sha1(path) == sha1


def _reason(error: OSError) -> str:
    """The innermost cause in a few words: urllib wraps what the socket said."""
    if getattr(error, "code", None) is not None:
        return f"HTTP status {error.code}"
    return str(getattr(error, "reason", None) or error) or type(error).__name__


def _instructions(source: Source, folder: Path, files: list[SourceFile], mirror: str | None, why: str) -> str:
    """What a person without a connection has to do: a summary and a line for each file; readable as one line too."""
    addresses = [address(source, file, mirror) for file in files]
    width = max(map(len, addresses))
    lines = [f"  {url:{width}}  ->  {folder / file.local}" for url, file in zip(addresses, files, strict=True)]
    return (
        f"data set '{source.name}' is incomplete: {why}. Fetch the {len(files)} files listed here (any browser or curl "
        f"will do) and put them into {folder} under the names on the right, or name a folder that holds "
        f"'{source.name}' in the environment variable {paths.DATA_VARIABLE}:\n" + ";\n".join(lines)
    )
