"""Every row of the table in docs/weights.md, run on a small checkpoint of each family."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from models.checkpoints.loader import load_weights
from models.checkpoints.ours import save_weights
from tests.models.checkpoint_families import EXAMPLES, Example, State
from tests.models.test_damaged_checkpoints import (
    Call,
    expanded,
    in_pickle,
    large_storage,
    large_tensor,
)
from tests.models.test_wrapped_checkpoints import prefixed, zeroed

ROOT = Path(__file__).parents[2]
Writer = Callable[[Example, Path], Iterator[Path]]
"""Writes the files of a form, each into a folder of its own below the given one; what is to be loaded of each."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "module._orig_mod.")
ENTRIES = ("state_dict", "model", "net", "params", "ema", "params_ema")
HALVES = (torch.float16, torch.bfloat16)


def whole(example: Example) -> Any:
    """What a script wraps: ours as it is, of others the bare weights."""
    return example.content if "format" in example.content else example.state


def cast(content: Any, dtype: torch.dtype) -> Any:
    """The same content with its weights in another precision."""
    if isinstance(content, torch.Tensor):
        return content.to(dtype) if content.is_floating_point() else content
    if isinstance(content, dict):
        return {name: cast(value, dtype) for name, value in content.items()}
    return [cast(value, dtype) for value in content] if isinstance(content, list) else content


def as_written(example: Example, folder: Path) -> Iterator[Path]:
    yield example.write(folder / "a")


def bare(example: Example, folder: Path) -> Iterator[Path]:
    yield from saved(folder, [example.state])


def named(example: Example, folder: Path) -> Iterator[Path]:
    yield from saved(folder, [prefixed(example.state, prefix) for prefix in PREFIXES])


def inside(example: Example, folder: Path) -> Iterator[Path]:
    held = whole(example)
    averaged = [
        {"params": zeroed(example.state), "params_ema": held},
        {"model": zeroed(example.state), "ema": held},
    ]
    yield from saved(folder, [*({entry: held} for entry in ENTRIES), *averaged, [held], (held,)])


def both(example: Example, folder: Path) -> Iterator[Path]:
    contents = [[{entry: prefixed(example.state, "module.")}] for entry in ("state_dict", "model", "ema")]
    yield from saved(folder, [*contents, {"state_dict": [prefixed(example.state, "model.")]}])


def saved(folder: Path, contents: list[Any]) -> Iterator[Path]:
    for number, content in enumerate(contents):
        (folder / str(number)).mkdir()
        torch.save(content, folder / f"{number}/model.pt")
        yield folder / f"{number}/model.pt"


def precisions(example: Example, folder: Path) -> Iterator[Path]:
    for dtype in (*HALVES, torch.float64):
        yield example.write(folder / str(dtype), cast(example.content, dtype))


def safetensors(example: Example, folder: Path) -> Iterator[Path]:
    path = (folder if example.config is None else folder / "a") / "diffusion_pytorch_model.safetensors"
    path.parent.mkdir(exist_ok=True)
    if "format" in example.content:
        save_weights(example.network(), example.state, path, config="{}", step=1)
    else:
        save_file({name: value.contiguous() for name, value in example.state.items()}, path)
    yield path if example.config is None else example.finish(folder / "a")


def shards(example: Example, folder: Path, *dtypes: torch.dtype) -> Iterator[Path]:
    """diffusers' own writer; of others two files and an index as it would write them, and the folder around them."""
    for dtype in dtypes or (torch.float32,):
        here = folder / str(dtype)
        if example.config is not None:
            unet: Any = getattr(diffusers, example.config["_class_name"]).from_config(example.config)
            unet.load_state_dict(example.state, strict=False)  # a transformer's positions are fixed
            for safe in (True, False):
                unet.to(dtype).save_pretrained(
                    here / str(safe), max_shard_size="400KB", safe_serialization=safe
                )
                assert len(list((here / str(safe)).glob("*-of-*"))) > 1
                yield here / str(safe)
            return
        here.mkdir()
        names, state = list(example.state), cast(example.state, dtype)
        for part in range(2):
            torch.save(
                {name: state[name] for name in names[part::2]}, here / f"model-0000{part}-of-00002.bin"
            )
        index = here / "pytorch_model.bin.index.json"
        listed = {name: f"model-0000{place % 2}-of-00002.bin" for place, name in enumerate(names)}
        index.write_text(json.dumps({"weight_map": listed}))
        yield from (here, index)


def halved_shards(example: Example, folder: Path) -> Iterator[Path]:
    return shards(example, folder, *HALVES)


def legacy(example: Example, folder: Path) -> Iterator[Path]:
    """Of a snapshot, which is no file of torch's, the weights in it."""
    yield example.write(folder / "a", _use_new_zipfile_serialization=False)


def no_weights(example: Example, folder: Path) -> Iterator[Path]:
    whole_file = example.weights(folder / "whole")
    example.write(folder / "whole")
    data = whole_file.read_bytes()
    contents = (data[: len(data) // 2], data[:-10], b"", b"\x89PNG\r\n\x1a\n" + bytes(100), b"weights, soon")
    for number, content in enumerate(contents):
        yield altered(example, folder / str(number), content)


def altered(example: Example, folder: Path, content: bytes) -> Path:
    """A checkpoint whose file of weights has the given bytes."""
    example.write(folder)
    example.weights(folder).write_bytes(content)
    return example.finish(folder)


def flipped(example: Example, folder: Path) -> Iterator[Path]:
    """A bit of a weight that is loaded, and one of the part that says what the weights are."""
    example.write(folder / "whole")
    data = example.weights(folder / "whole").read_bytes()
    weight = max(example.state.values(), key=torch.Tensor.numel).contiguous().numpy().tobytes()
    for number, place in enumerate((data.index(weight) + 6, data.index(b"torch._utils"))):
        yield altered(
            example, folder / str(number), data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
        )


def compressed(path: Path) -> None:
    """The parts of a file, of which torch compresses none."""
    torch.save({"a": torch.zeros(1000)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {m.filename: archive.read(m) for m in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def larger(example: Example, folder: Path) -> Iterator[Path]:
    writers = (compressed, in_pickle(large_tensor), in_pickle(large_storage), expanded)
    for number, write in enumerate(writers):
        example.write(folder / str(number))
        write(example.weights(folder / str(number)))
        yield example.finish(folder / str(number))


def calling(example: Example, folder: Path) -> Iterator[Path]:
    """Each would make a file, ``called``, in the folder that holds all of them."""
    call = Call(os.system, f"touch {folder}/called")
    content = example.content
    contents = [[*content, call], [call, *content]] if isinstance(content, list) else [{**content, "x": call}]
    for number, one in enumerate(contents):
        yield example.write(folder / str(number), one)


def another_kind(example: Example, folder: Path) -> Iterator[Path]:
    """A weight that is missing, and one that is a text."""

    def changed(content: Any, value: Any) -> Any:
        if isinstance(content, list):
            return [changed(content[0], value), *content[1:4], changed(content[4], value)]
        if isinstance(content.get("ema"), dict) and "shadow" in content["ema"]:
            averages = content["ema"] | {"shadow": changed(content["ema"]["shadow"], value)}
            return content | {"model": changed(content["model"], value), "ema": averages}
        if isinstance(content.get("ema"), dict):
            averages = content["ema"] | {"shadow_params": content["ema"]["shadow_params"][1:]}
            return content | {"model": changed(content["model"], value), "ema": averages}
        last = next(reversed(content))
        return {n: v for n, v in content.items() if n != last} | ({} if value is None else {last: value})

    for number, value in enumerate((None, "text")):
        yield example.write(folder / str(number), changed(example.content, value))


FORMS: dict[str, Writer] = {
    "as its program writes it": as_written,
    "a bare state dict": bare,
    "`module.`, `_orig_mod.`, `model.`, `net.` before the names": named,
    "inside `state_dict`, `model`, `net`, `params`, `ema`, `params_ema`, or a list of one": inside,
    "such names, inside such an entry, inside a list": both,
    "float16, bfloat16 or float64 weights": precisions,
    "safetensors": safetensors,
    "several files with an index (`*.index.json`)": shards,
    "several files with an index, in float16 or bfloat16": halved_shards,
    "torch's format before 1.6": legacy,
    "truncated, empty, a picture, a text": no_weights,
    "a changed bit in a `torch.save` file": flipped,
    "larger than it holds: compressed, expanded, or with another declared size": larger,
    "a pickle that names functions or classes": calling,
    "a missing entry, or one of another kind": another_kind,
}
OF_THE_READER = (inside, legacy, no_weights, flipped, larger, calling)
"""Forms that are read before the family is known: fast for one family of files and for folders."""
SAID: dict[str, str | None] = {
    "refused: save the checkpoint": "of no known family|missing in the file",
    "refused: give the folder": "give the folder",
    "refused: give the snapshot": "of no known family",
    "not seen in a weight: they have no checksums": None,
    "refused: give one file": "Give one file of weights|not written by torch.save",
    "refused by name": None,
    "refused: the part is named": "data/|data.pkl",
    "refused before it is read": "declares|compressed|which has|shape",
    "refused, nothing executed": "Nothing of it was (executed|run)",
}
"""What the message has, beside the name of the file."""


def table() -> dict[str, dict[str, str]]:
    """Rows of the documentation's table, cells by family; "the same" is what the first family's cell says."""
    lines = (ROOT / "docs/weights.md").read_text(encoding="utf-8").splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("| form |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append(line.strip("| ").split(" | "))
    families = [name.strip("`") for name in rows[0][1:]]
    assert families == list(EXAMPLES)
    return {
        form: dict(zip(families, (cells[0] if c == "the same" else c for c in cells), strict=True))
        for form, *cells in rows[2:]
    }


def sums(tensors: Any) -> list[tuple[int, float, float]]:
    """Size, sum and sum of squares of each tensor, in their order: the same whatever it is called or turned."""
    values = [tensor.detach().double() for tensor in tensors]
    return sorted((v.numel(), float(v.sum()), float(v.square().sum())) for v in values)


def agree(network: torch.nn.Module, state: State) -> bool:
    found, wanted = sums(network.parameters()), sums(state.values())
    return len(found) == len(wanted) and all(
        a[0] == b[0] and a[1:] == pytest.approx(b[1:], rel=1e-9, abs=1e-9)
        for a, b in zip(found, wanted, strict=True)
    )


def test_every_form_of_the_table_is_run() -> None:
    assert list(table()) == list(FORMS)


@pytest.mark.parametrize(
    ("form", "family"),
    [
        pytest.param(
            form,
            family,
            marks=[pytest.mark.slow]
            if write in OF_THE_READER and family not in ("ours", "diffusers")
            else [],
        )
        for form, write in FORMS.items()
        for family in EXAMPLES
    ],
)
def test_forms(form: str, family: str, tmp_path: Path) -> None:
    """The table's word: every weight is that of the checkpoint, rounded once; or a refusal that changes none."""
    example, cell = EXAMPLES[family](), table()[form][family]
    states = {dtype: cast(example.expected, dtype) for dtype in (torch.float32, *HALVES, torch.float64)}
    network = example.network()
    for path in FORMS[form](example, tmp_path):
        with torch.no_grad():
            for p in network.parameters():
                p.fill_(0.5)
        if "not seen" in cell and b"torch._utils" in path.read_bytes():  # the bit is one of a weight
            load_weights(network, path)
            assert not agree(network, states[torch.float32])
            continue
        if "loads" in cell:
            load_weights(network, path)
            rounded = next((d for d in states if str(d) in str(path)), torch.float32)
            assert agree(network, states[rounded]), path
            assert {p.dtype for p in network.parameters()} == {torch.float32}
            continue
        with pytest.raises(ValueError, match=SAID[cell]) as said:
            load_weights(network, path)
        if cell not in ("refused: give the folder", "refused by name"):
            assert str(path) in str(said.value)
        assert all(bool((p == 0.5).all()) for p in network.parameters()), path
    assert not (tmp_path / "called").exists()
