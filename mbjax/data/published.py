"""Turns the public files of jd, ub, beibei, taobao and tmall into the content that a prepared folder of them has.

The folders are those of ``catalog.fetch``: the published names without the folders that all files share.

* jd, ub (BVAE): pairs, 1-based; the files ``target_*`` are purchases.
* beibei (GHCF): adjacency lists; ``train`` and ``test`` are purchases, ``pv`` are views.
* taobao (MB-CGCN): adjacency lists. The authors held out one view and one cart of each user, which PKEF and COPF train
  on, so ``train.view`` and ``train.cart`` are completed by that folder's ``test.txt``, which is also the list
  ``mbcgcn_holdout``. The validation pairs inside training, which later papers list, are not in these files.
* tmall (MBGCN): pairs. As later papers use them, the roles of the splits are swapped and merged: training purchases are
  ``train`` and ``test`` together, ``test`` is validated on (inside training), and ``validation`` is tested on.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np

from mbjax import errors
from mbjax.data import content, readers


@dataclasses.dataclass(frozen=True)
class Format:
    """How the published files of a data set are to be read.

    Attributes:
      num_users, num_items: U and I, as published; ids beyond them are errors.
      behaviors: funnel order, the target last.
      files: (split, behavior) -> the files whose pairs are united, with ``/`` between folders.
      is_adjacency: lines ``user item item ...`` instead of ``user item``.
      base: the smallest id.
      lost_valid_file: validation pairs inside training are known, but not in these files.
      lists: name -> behavior -> file with some of its training pairs, for ``Options.hold_out``.
    """

    num_users: int
    num_items: int
    behaviors: tuple[str, ...]
    files: dict[tuple[str, str], tuple[str, ...]]
    is_adjacency: bool = False
    base: int = 0
    lost_valid_file: bool = False
    lists: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)


def _bvae(num_users: int, num_items: int) -> Format:
    behaviors = ("click", "favourite", "cart", "purchase")
    files = {
        (split, b): (f"{'target' if b == 'purchase' else b}_{split}",)
        for split in ("train", "valid", "test")
        for b in behaviors
    }
    return Format(num_users, num_items, behaviors, files, base=1)


FORMATS: dict[str, Format] = {
    "jd": _bvae(10_690, 13_465),
    "ub": _bvae(20_443, 30_947),
    "beibei": Format(
        21_716,
        7_977,
        ("view", "cart", "buy"),
        {
            ("train", "view"): ("pv.txt",),
            ("train", "cart"): ("cart.txt",),
            ("train", "buy"): ("train.txt",),
            ("test", "buy"): ("test.txt",),
        },
        is_adjacency=True,
    ),
    "taobao": Format(
        15_449,
        11_953,
        ("view", "cart", "buy"),
        {
            ("train", "view"): ("view/train.txt", "view/test.txt"),
            ("train", "cart"): ("cart/train.txt", "cart/test.txt"),
            ("train", "buy"): ("buy/train.txt",),
            ("test", "buy"): ("buy/test.txt",),
        },
        is_adjacency=True,
        lost_valid_file=True,
        lists={"mbcgcn_holdout": {"view": "view/test.txt", "cart": "cart/test.txt"}},
    ),
    "tmall": Format(
        41_738,
        11_953,
        ("click", "collect", "cart", "buy"),
        {
            ("train", "click"): ("click.txt",),
            ("train", "collect"): ("collect.txt",),
            ("train", "cart"): ("cart.txt",),
            ("train", "buy"): ("train.txt", "test.txt"),
            ("valid_inside_train", "buy"): ("test.txt",),
            ("test", "buy"): ("validation.txt",),
        },
    ),
}


def is_here(name: str, folder: str | os.PathLike) -> bool:
    """Whether a folder holds all published files of a data set, under their names."""
    files = {file for of in FORMATS[name].files.values() for file in of} if name in FORMATS else ()
    return bool(files) and all((pathlib.Path(folder) / file).is_file() for file in files)


def read(
    name: str, folder: str | os.PathLike, layout: Format | None = None, hold_out: str | None = None
) -> content.Content:
    """Reads the published files of a data set.

    Args:
      name: a key of ``FORMATS``.
      folder: holds the files.
      layout: instead of ``FORMATS[name]``, for files in the same form with other sizes.
      hold_out: name of the list of training pairs to read with it.

    Raises:
      ConfigError: there is no data set of that name, or no such list.
      DataError: naming file and line.
    """
    if layout is None:
        if name not in FORMATS:
            raise errors.unknown("published data set", name, FORMATS)
        layout = FORMATS[name]
    if hold_out is not None and hold_out not in layout.lists:
        raise errors.unknown("list of data.hold_out", hold_out, layout.lists)
    reader = readers.read_adjacency if layout.is_adjacency else readers.read_pairs
    sizes = {"num_users": layout.num_users, "num_items": layout.num_items}
    parts = {
        file: reader(pathlib.Path(folder) / file, base=layout.base, **sizes)
        for file in dict.fromkeys(file for files in layout.files.values() for file in files)
    }
    pairs: dict[str, dict[str, np.ndarray]] = {}
    for (split, behavior), files in layout.files.items():
        pairs.setdefault(split, {})[behavior] = np.concatenate([parts[file] for file in files])
    listed = {behavior: parts[file] for behavior, file in layout.lists.get(hold_out, {}).items()}
    return content.build(
        name,
        **sizes,
        behaviors=layout.behaviors,
        pairs=pairs,
        lost_valid_file=layout.lost_valid_file,
        hold_out=listed,
    )
