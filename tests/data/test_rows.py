"""Rows written as they come: whole or not at all, in both formats."""

from __future__ import annotations

import importlib.util

import pandas as pd
import pytest

from tlaudit.data.rows import RowFile
from tlaudit.errors import UsageError

COLUMNS = {"name": str, "count": int, "share": float, "right": bool}
ROWS = [
    {"name": 'a "b",\nc', "count": 1, "share": 0.1, "right": True},
    {"name": "é", "count": None, "share": 1 / 3, "right": None},
]


def write(path, rows=ROWS):
    with RowFile(path, COLUMNS) as file:
        for row in rows:
            file.add([row])
    return path


def test_csv_reads_back(tmp_path):
    table = pd.read_csv(write(tmp_path / "rows.csv"))
    assert list(table.columns) == list(COLUMNS)
    assert list(table["name"]) == [row["name"] for row in ROWS]
    assert table["share"][1] == 1 / 3
    assert pd.isna(table["count"][1])


def test_parquet_reads_back_with_kinds(tmp_path):
    table = pd.read_parquet(write(tmp_path / "rows.PARQUET"))
    assert list(table["name"]) == [row["name"] for row in ROWS]
    assert table["share"][1] == 1 / 3
    assert table["right"][0]
    assert table["right"][1] is None


def test_no_rows_is_a_header(tmp_path):
    assert list(pd.read_csv(write(tmp_path / "rows.csv", [])).columns) == list(COLUMNS)
    assert list(pd.read_parquet(write(tmp_path / "rows.parquet", [])).columns) == list(COLUMNS)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_exception_leaves_an_older_file_as_it_was(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    path.write_text("older")

    def interrupted():
        with RowFile(path, COLUMNS) as file:
            file.add(ROWS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "older"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_refuses_what_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"expected a file ending in \.csv or \.parquet, got '\.xls'"):
        RowFile(tmp_path / "rows.xls", COLUMNS)
    with pytest.raises(UsageError, match="does not exist"):
        RowFile(tmp_path / "missing" / "rows.csv", COLUMNS)
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pyarrow" else found(name))
    with pytest.raises(UsageError, match=r"tlaudit\[parquet\]"):
        RowFile(tmp_path / "rows.parquet", COLUMNS)


def test_rows_outside_a_with_statement_are_a_mistake(tmp_path):
    with pytest.raises(RuntimeError, match="with statement"):
        RowFile(tmp_path / "rows.csv", COLUMNS).add(ROWS)
