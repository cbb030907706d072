"""The browser reads safetensors: what the library writes, and a sentence where a file is damaged."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Error
from safetensors.torch import load_file, save

BASE = Path(__file__).parents[2] / "data/glyph-vit/model.safetensors"
READ = """
    const { readSafetensors } = await load("safetensors.js");
    const read = readSafetensors(Uint8Array.from(atob(argument), (letter) => letter.charCodeAt(0)).buffer);
    return Object.fromEntries([...read].map(([name, { shape, data }]) => [name, { shape, data: [...data] }]));
"""
TENSORS = {"a": torch.tensor([[1.5, -2.0, 0.1]]), "b": torch.tensor(3.0), "none": torch.zeros(0, 4)}


def file_of(header: object, numbers: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def entry(dtype: str = "F32", shape: tuple[int, ...] = (1,), offsets: tuple[int, int] = (0, 4)) -> dict[str, Any]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def read(run_js: Callable[..., Any], content: bytes) -> Any:
    return run_js(READ, base64.b64encode(content).decode())


def test_tensors_of_the_base(run_js: Callable[..., Any]) -> None:
    expected = load_file(BASE)
    found = run_js("""
        const read = await tensors("model/model.safetensors");
        return [...read].map(([name, { shape }]) => [name, shape]);
    """)
    assert {name: tuple(shape) for name, shape in found} == {name: tuple(tensor.shape) for name, tensor in expected.items()}
    numbers = run_js("""
        const read = await tensors("model/model.safetensors");
        return floats(Float32Array.from([...read.values()].flatMap(({ data }) => [...data])));
    """)
    assert torch.equal(numbers, torch.cat([expected[name].flatten() for name, _ in found]))


def test_a_file_that_the_library_writes(run_js: Callable[..., Any]) -> None:
    found = read(run_js, save(TENSORS, metadata={"format": "pt"}))
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name] == {"shape": list(tensor.shape), "data": tensor.flatten().tolist()}


@pytest.mark.parametrize("spaces", [0, 1, 2, 3])
def test_numbers_may_begin_anywhere(run_js: Callable[..., Any], spaces: int) -> None:
    header = json.dumps(entry()).encode() + b" " * spaces
    assert read(run_js, file_of(header, struct.pack("<f", 0.5)))["w"]["data"] == [0.5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes only"),
        (b"<!DOCTYPE html>", "ends within its header, or is no such file"),
        (save(TENSORS)[:40], "ends within its header"),
        (save(TENSORS)[:-4], "ends before the numbers of"),
        (file_of(b"{'a': 1}"), "is no JSON"),
        (file_of(entry("F16"), b"1234"), "w has the type F16, but this page reads F32 only"),
        (file_of(entry(shape=(2,)), b"1234"), "ends before the numbers of w"),
        (file_of(entry(offsets=(4, 8)), b"1234"), "ends before the numbers of w"),
    ],
)
def test_damaged_files(run_js: Callable[..., Any], content: bytes, message: str) -> None:
    with pytest.raises(Error, match=message):
        read(run_js, content)
