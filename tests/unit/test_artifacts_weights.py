"""Weights: exact round trips, and a loud refusal of whatever does not fit."""

from pathlib import Path

import pytest
import torch
import zarr
from torch import Tensor, nn

from bestie.artifacts import weights
from bestie.artifacts.weights import (
    load_any_weights,
    load_weights,
    match_weights,
    save_safetensors,
    save_weights,
    weights_sha256,
)
from bestie.errors import InputError
from bestie.records import hash_file

ODD_STATE: dict[str, Tensor] = {
    "half": torch.arange(3).to(torch.bfloat16),
    "scalar": torch.tensor(7, dtype=torch.int64),
    "empty": torch.zeros(0, 4),
    "flags": torch.tensor([True, False]),
    "strided": torch.arange(6.0).reshape(2, 3).T,
    "nan": torch.tensor([float("nan"), float("inf")], dtype=torch.float16),
}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        a.dtype == b.dtype and a.shape == b.shape and to_bytes(a) == to_bytes(b)
        for a, b in ((first[name], second[name]) for name in first)
    )


def to_bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def test_every_kind_of_tensor_comes_back_in_order_with_the_attributes(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.zarr", ODD_STATE, {"epoch": 3, "names": ["a", None]})
    loaded, attributes = load_weights(tmp_path / "w.zarr")
    assert same(ODD_STATE, loaded)
    assert list(loaded) == list(ODD_STATE)
    assert attributes == {"epoch": 3, "names": ["a", None]}


def test_tensors_may_cross_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "CHUNK_BYTES", 16)
    monkeypatch.setattr(weights, "SHARD_BYTES", 64)
    state = {"a": torch.arange(3.0), "b": torch.randn(50), "c": torch.ones(13)}
    save_weights(tmp_path / "w.zarr", state)
    assert same(state, load_weights(tmp_path / "w.zarr")[0])
    assert len(list((tmp_path / "w.zarr/c").iterdir())) == 5  # 264 bytes


def test_a_state_without_tensors_is_legal(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.zarr", {})
    assert load_weights(tmp_path / "w.zarr") == ({}, {})


def test_attributes_that_are_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        save_weights(tmp_path / "w.zarr", {}, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_missing_and_damaged_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"w\.zarr does not exist"):
        load_any_weights(tmp_path / "w.zarr")
    with pytest.raises(InputError, match="is no Zarr array"):
        load_weights(tmp_path)
    save_weights(tmp_path / "w.zarr", {"a": torch.arange(1.0, 9.0)})
    shard = tmp_path / "w.zarr/c/0"
    data = shard.read_bytes()
    shard.unlink()
    with pytest.raises(InputError, match=r"w\.zarr is damaged: its bytes differ from their SHA-256"):
        load_weights(tmp_path / "w.zarr")
    shard.write_bytes(data[:-9])
    with pytest.raises(InputError, match=r"w\.zarr is damaged"):
        load_weights(tmp_path / "w.zarr")


def test_another_zarr_array_is_no_weights(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(3,), dtype="uint8")
    with pytest.raises(InputError, match="holds no weights in the format"):
        load_weights(tmp_path / "a.zarr")


def test_safetensors_are_read_by_path(tmp_path: Path) -> None:
    shared = torch.ones(4)
    save_safetensors(tmp_path / "w.safetensors", {"a": shared, "b": shared[:2]})
    loaded, attributes = load_any_weights(tmp_path / "w.safetensors")
    assert same(loaded, {"a": torch.ones(4), "b": torch.ones(2)})
    assert attributes == {}
    with pytest.raises(InputError, match=r"none\.safetensors does not exist"):
        load_any_weights(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:20])
    with pytest.raises(InputError, match=r"cut\.safetensors is no readable \.safetensors file"):
        load_any_weights(tmp_path / "cut.safetensors")
    (tmp_path / "w.onnx").write_bytes(b"onnx")
    with pytest.raises(InputError, match=r"w\.onnx is neither .* Convert it to \.safetensors"):
        load_any_weights(tmp_path / "w.onnx")


@pytest.mark.parametrize("around", [None, "model", "state_dict"])
def test_pytorch_files_are_read_with_or_without_a_checkpoint_around(tmp_path: Path, around: str | None) -> None:
    state = {"a": torch.ones(4), "b": torch.arange(3)}
    torch.save(state if around is None else {around: state, "epoch": 3}, tmp_path / "w.pth")
    assert same(load_any_weights(tmp_path / "w.pth")[0], state)


class Harmful:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


def test_a_pytorch_file_runs_no_code(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1), "b": Harmful(tmp_path / "harm")}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w\.pt holds more than tensors, and is not opened"):
        load_any_weights(tmp_path / "w.pt")
    assert not (tmp_path / "harm").exists()


def test_a_pytorch_file_without_tensors_by_name_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    torch.save([torch.ones(1)], tmp_path / "b.bin")
    for name in ("a.pth", "b.bin"):
        with pytest.raises(InputError, match=rf"{name} holds no tensors by name"):
            load_any_weights(tmp_path / name)
    (tmp_path / "c.pth").write_bytes(b"no")
    with pytest.raises(InputError, match=r"c\.pth"):
        load_any_weights(tmp_path / "c.pth")
    with pytest.raises(InputError, match=r"none\.pth does not exist"):
        load_any_weights(tmp_path / "none.pth")


def test_the_hash_of_weights_is_the_files_or_that_of_the_tensors(tmp_path: Path) -> None:
    state = {"a": torch.ones(4)}
    save_safetensors(tmp_path / "w.safetensors", state)
    save_weights(tmp_path / "w.zarr", state)
    save_weights(tmp_path / "other.zarr", state, {"epoch": 3})
    assert weights_sha256(tmp_path / "w.safetensors") == hash_file(tmp_path / "w.safetensors")
    assert weights_sha256(tmp_path / "w.zarr") == weights_sha256(tmp_path / "other.zarr")
    with pytest.raises(InputError, match="none does not exist"):
        weights_sha256(tmp_path / "none")


def test_matching_weights_load_into_the_module() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    wanted = {name: torch.ones_like(tensor) for name, tensor in module.state_dict().items()}
    taken = match_weights(module.state_dict(), wanted, source="w")
    module.load_state_dict(taken)
    assert all(tensor.eq(1).all() for tensor in module.state_dict().values())


def test_missing_unused_and_misshapen_keys_are_named() -> None:
    module = {"a.weight": torch.zeros(2), "b.weight": torch.zeros(2, 3), "head.bias": torch.zeros(1)}
    given = {"a.weight": torch.zeros(2), "b.weight": torch.zeros(3, 2), "fc.bias": torch.zeros(1)}
    with pytest.raises(InputError) as caught:
        match_weights(module, given, source="w.safetensors")
    message = str(caught.value)
    assert message.startswith("w.safetensors does not fit the network. It lacks: head.bias; ")
    assert "the network does not: fc.bias" in message
    assert "b.weight ((3, 2), not (2, 3))" in message
    with pytest.raises(InputError, match="and 3 more"):
        match_weights({f"k{n}": torch.zeros(1) for n in range(8)}, {}, source="w")


def test_allowed_patterns_pass_and_only_they() -> None:
    module = {"a.weight": torch.zeros(2), "head.bias": torch.zeros(1)}
    given = {"a.weight": torch.ones(2), "fc.bias": torch.zeros(1)}
    taken = match_weights(module, given, source="w", allow_missing=["head.*"], allow_unused=["fc.*"])
    assert list(taken) == ["a.weight"]
    with pytest.raises(InputError, match=r"It has, but the network does not: fc\.bias\."):
        match_weights(module, given, source="w", allow_missing=["head.*"])


def test_the_shared_imagenet_weights_survive_the_format(tmp_path: Path, shared_dir: Path) -> None:
    state, _ = load_any_weights(shared_dir / "weights" / "mobilenetv1_100_imagenet.safetensors")
    save_weights(tmp_path / "w.zarr", state)
    assert same(state, load_weights(tmp_path / "w.zarr")[0])
