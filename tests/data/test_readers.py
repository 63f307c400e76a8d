"""Readers: every malformed line is named, everything well-formed comes back as written."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbjax import errors
from mbjax.data import readers

SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(folder, data: bytes | str, name: str = "pairs"):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_pairs_with_blanks_tabs_crlf_and_blank_lines(tmp_path):
    path = written(tmp_path, "0 3\n1\t2\r\n\n  2  0 \n 1 2")
    np.testing.assert_array_equal(readers.read_pairs(path), [[0, 3], [1, 2], [2, 0], [1, 2]])


def test_one_based_ids_become_indices(tmp_path):
    path = written(tmp_path, "1 1\n3 2\n")
    np.testing.assert_array_equal(readers.read_pairs(path, base=1, num_users=3, num_items=2), [[0, 0], [2, 1]])


def test_an_empty_file_has_no_pairs(tmp_path):
    assert readers.read_pairs(written(tmp_path, "")).shape == (0, 2)
    assert readers.read_adjacency(written(tmp_path, "\n \n")).shape == (0, 2)


def test_adjacency_gives_a_pair_for_each_item(tmp_path):
    path = written(tmp_path, "0 3 1\n4\n1\t2 \n0 5")
    np.testing.assert_array_equal(readers.read_adjacency(path), [[0, 3], [0, 1], [1, 2], [0, 5]])


@pytest.mark.parametrize("read", [readers.read_pairs, readers.read_adjacency])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"0 1\n0 x\n", "line 2: 'x' is not a whole number"),
        (b"0 1\n\n0 1.0\n", "line 3: '1.0' is not a whole number"),
        (b"0 1\n0 -1\n", "line 2: '-1' is negative"),
        (b"0 1\n0 1\n0 \xff\n", "line 3: not UTF-8 (byte 0xff)"),
        ("0 1\n0 ٣\n".encode(), "line 2: '٣' is not a whole number"),
        (b"0 1\n9 1\n", "line 2: user 9 is out of range; ids go from 0 to 4"),
        (b"0 1\n4 7\n", "line 2: item 7 is out of range; ids go from 0 to 6"),
        (b"0 1\n4 3000000000\n", "line 2: item 3000000000 is out of range"),
        (b"0 1\n4 99999999999999999999\n", "line 2: '99999999999999999999' is larger than any id"),
        (b"0,1\n", "line 1: '0,1' is not a whole number"),
        (b"0 1\n\x0b\n", r"line 2: '\x0b' is not a whole number"),
        (b"1\r2 x\n", "line 1: 'x' is not a whole number"),
    ],
)
def test_malformed_lines_are_named(tmp_path, read, text, message):
    path = written(tmp_path, text)
    with pytest.raises(errors.DataError) as caught:
        read(path, num_users=5, num_items=7)
    assert str(path) in str(caught.value) and message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("line", "count"), [("1", "1 column,"), ("1 2 3", "3 columns,")])
def test_a_wrong_number_of_columns_is_named(tmp_path, line, count):
    with pytest.raises(errors.DataError, match=f"line 3: {count} expected two"):
        readers.read_pairs(written(tmp_path, f"0 1\n\n{line}\n0 1\n"))


def test_id_zero_in_a_one_based_file(tmp_path):
    with pytest.raises(errors.DataError, match="line 2: item 0 is out of range; ids go from 1 to 2147483647"):
        readers.read_pairs(written(tmp_path, "1 1\n1 0\n"), base=1)


def test_ids_beyond_int32_without_declared_sizes(tmp_path):
    assert readers.read_pairs(written(tmp_path, "2147483647 0")).tolist() == [[2147483647, 0]]
    with pytest.raises(errors.DataError, match="line 1: user 2147483648 is out of range"):
        readers.read_pairs(written(tmp_path, "2147483648 0"))


def test_gzip_is_told_by_its_bytes(tmp_path):
    path = written(tmp_path, gzip.compress(b"0 1\n"), "plain_name.txt")
    assert readers.read_pairs(path).tolist() == [[0, 1]]


@pytest.mark.parametrize("keep", [0, 1, 2, 9, 25, -8, -1])
def test_a_truncated_gzip_is_an_error(tmp_path, keep):
    whole = gzip.compress(b"".join(b"%d %d\n" % (i, i * i) for i in range(100)))
    path = written(tmp_path, whole[:keep], "pairs.tsv.gz")
    with pytest.raises(errors.DataError, match=r"pairs\.tsv\.gz.*(gzip)"):
        readers.read_pairs(path)


def test_a_flipped_bit_in_gzip_is_an_error(tmp_path):
    whole = bytearray(gzip.compress(b"".join(b"%d %d\n" % (i, i * i) for i in range(100))))
    whole[len(whole) // 2] ^= 4
    with pytest.raises(errors.DataError, match="gzip"):
        readers.read_pairs(written(tmp_path, bytes(whole)))


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(errors.DataError, match="absent: cannot be read"):
        readers.read_pairs(tmp_path / "absent")


IDS = st.integers(0, readers.MAX_ID - 1)


@SETTINGS
@given(pairs=st.lists(st.tuples(IDS, IDS), max_size=30), base=st.sampled_from([0, 1]), data=st.data())
def test_pairs_come_back_as_written(tmp_path, pairs, base, data):
    blank = st.text(" \t", min_size=1, max_size=3)
    lines = [f"{u + base}{data.draw(blank)}{i + base}" for u, i in pairs]
    text = data.draw(st.sampled_from(["\n", "\r\n", "\n\n"])).join(lines)
    path = written(tmp_path, gzip.compress(text.encode()) if data.draw(st.booleans()) else text)
    assert readers.read_pairs(path, base=base).tolist() == [list(p) for p in pairs]


@SETTINGS
@given(rows=st.lists(st.tuples(IDS, st.lists(IDS, max_size=5)), max_size=15))
def test_adjacency_comes_back_as_written(tmp_path, rows):
    path = written(tmp_path, "".join(" ".join(map(str, [u, *items])) + "\n" for u, items in rows))
    assert readers.read_adjacency(path).tolist() == [[u, i] for u, items in rows for i in items]


@SETTINGS
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_read_or_named(tmp_path, raw):
    path = written(tmp_path, raw)
    for read in (readers.read_pairs, readers.read_adjacency):
        try:
            assert read(path).shape[1] == 2
        except errors.DataError as error:
            assert str(path) in str(error)
