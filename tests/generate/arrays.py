"""Writes arrays with NumPy, in all types, byte orders and orders of axes that are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common import FIXTURES, generate_or_check

# Three kinds of numbers in all sizes, and both byte orders of what has more than one byte.
NUMBERS = ("|b1", "|i1", "|u1", "<i2", ">i2", "<u2", "<i4", ">u4", "<i8", ">i8", "<u8", "<f2", ">f2", "<f4", ">f4", "<f8")
SHAPE = (2, 3, 4)


def values(dtype: str) -> np.ndarray:
    """100 a + 10 b + c at [a, b, c], of which signed numbers take away 50; truth values are odd sums."""
    a, b, c = np.indices(SHAPE)
    if dtype == "|b1":
        return (a + b + c) % 2 == 1
    return (100 * a + 10 * b + c - (0 if "u" in dtype else 50)).astype(dtype)


def write(target: Path) -> None:
    target.mkdir(parents=True)
    for dtype in NUMBERS:
        name = dtype.replace("<", "little_").replace(">", "big_").replace("|", "")
        np.save(target / f"{name}.npy", values(dtype))
    np.save(target / "fortran.npy", np.asfortranarray(values("<f4")))
    names = ["Oslo", "", "Ærø 岛"]
    np.save(target / "unicode.npy", np.array(names, dtype="<U6"))
    np.save(target / "unicode_big.npy", np.array(names, dtype=">U6"))
    np.save(target / "bytes.npy", np.array(["Oslo", "", "Rome"], dtype="|S5"))
    with (target / "version_2.npy").open("wb") as file:
        np.lib.format.write_array(file, values("<f4"), version=(2, 0))
    np.save(target / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


if __name__ == "__main__":
    generate_or_check("Writes NumPy's files of arrays.", FIXTURES / "arrays", write)
