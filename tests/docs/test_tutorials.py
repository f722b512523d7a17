"""The tutorials: every cell runs at toy size and the numbers hold; what is committed is of the reader's size."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

from tests.docs.forks import Forks, forking

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.ipynb"))
NAMES = [path.stem for path in TUTORIALS]
MOST_BYTES = 300_000

HOLDS = {
    "score_sde_demo": """
        assert samples.nfe == 2 * STEPS  # a predictor and a corrector at each time, the last estimate among them
        assert apart < 0.05  # the flow solved to a tolerance, and by UniPC from the same noise
        assert bpd.isfinite().all() and not result.failures
        assert round_trip < 0.1  # of a network that is hardly trained: it spreads errors tenfold
        assert (path[:, 0] - test[:2]).abs().max() < 0.5 and (path[:, -1] - test[2:4]).abs().max() < 0.5
        assert kept == 0
        assert not torch.equal(replaced, repainted)
        assert drift < 1e-4
        assert not torch.equal(draws[0], draws[1])
        assert asked.shape == (len(wanted), 3, 8, 8) and asked.isfinite().all()
    """,
    "own_images": """
        assert len(list(Path("pictures").rglob("*.png"))) == 1797
        assert numbers["frechet/pixels"]["value"] > 0 and numbers["frechet/pixels"]["count"] == SCORED
        assert 0.8 < numbers["precision/test images"]["value"] < 0.95  # of real images, whatever the network
        assert len(list(run.glob("samples/png/*.png"))) == 16
        assert (run / "report.html").exists()
    """,
    "few_steps": """
        assert counted["ddim"] == counted["unipc"] == counted["chosen"] == list(BUDGETS)
        assert all(nfe <= budget for nfe, budget in zip(counted["heun"], BUDGETS))
        assert all(sorted(errors[name], reverse=True) == errors[name] for name in ("ddim", "unipc"))
        assert errors["unipc"][-1] < errors["ddim"][-1] / 5
        import csv
        assert len(list(csv.DictReader(open("runs/digits/tune/table.csv")))) == 6
    """,
    "posteriors": """
        assert abs(float((left.apply(mean.reshape(1, 1, side, side).float()) - y).abs().max())) < 0.5
        # Moment matching is exact: its errors are those of so many draws, of which 36 pixels make a mean.
        assert off["moment matching"] < 2 * SAMPLES**-0.5
        assert spread["moment matching"] < 2 * (2 * SAMPLES) ** -0.5 + 0.02
        assert off["replacement"] > 0.1 and off["replacement"] > off["pseudo-inverse"] / 2
        assert picture.width > 100
    """,
    "own_predictor": """
        assert abs(orders["ddim"] - 1) < 0.1
        assert abs(orders["half"] - 2) < 0.15 and abs(orders["all"] - 2) < 0.15
        import json
        assert 0.1 <= json.load(open("runs/digits/tune_share/best.json"))["share"] <= 1
    """,
}
"""What must hold after the last cell of each, whatever the size."""


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(name: str, kind: str) -> list[dict[str, Any]]:
    notebook = json.loads((ROOT / f"docs/tutorials/{name}.ipynb").read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def printed(name: str) -> str:
    outputs = [output for cell in cells(name, "code") for output in cell["outputs"]]
    return "".join("".join(output.get("text", "")) for output in outputs)


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with forking() as found:
        yield found


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all run, so that the small network that one trains is there for the others."""
    return tmp_path_factory.mktemp("tutorials")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_cell_runs_and_the_numbers_hold(name: str, folder: Path, forks: Forks) -> None:
    """In processes of their own, as Jupyter's libraries warn of this and that."""
    done = forks.run("tutorial", name, str(folder), HOLDS[name])
    assert done.returncode == 0, done.stderr[-3000:]


def test_there_is_something_to_check() -> None:
    assert sorted(HOLDS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed_has_run_whole_and_is_small(name: str) -> None:
    code = cells(name, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert [o for cell in code for o in cell["outputs"] if o["output_type"] == "error"] == []
    assert (ROOT / f"docs/tutorials/{name}.ipynb").stat().st_size < MOST_BYTES
    assert not re.search(r"/tmp/|/home/|/root/|/work/|Traceback|Warning", printed(name))


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere_and_the_page_is_on_the_site(name: str) -> None:
    for cell in cells(name, "markdown"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", "".join(cell["source"])):
            assert ":" in target or (ROOT / "docs/tutorials" / target).exists(), target
    assert f": tutorials/{name}.md\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def number(name: str, pattern: str) -> float:
    found = re.search(pattern, printed(name))
    assert found is not None, pattern
    return float(found[1])


def test_readers_see_what_the_text_says() -> None:
    """Of the committed outputs, those that the text beside them rests on."""
    assert number("score_sde_demo", r"bits/dim of \d+ test images: ([\d.]+)") < 5
    assert number("score_sde_demo", r"(\d+) % of \d+ samples are recognised") > 60
    assert number("posteriors", r"moment matching +([\d.]+)") < 0.032  # twice 1 / sqrt(4000)
    assert number("posteriors", r"replacement +([\d.]+)") > 0.1


def test_a_page_of_the_site_has_the_text_the_code_and_the_outputs() -> None:
    pages = script("tutorial_pages").tutorial_pages()
    for name in NAMES:
        page = pages[f"tutorials/{name}.md"]
        for cell in cells(name, "markdown"):
            assert "".join(cell["source"]) in page
        for cell in cells(name, "code"):
            assert f"```python\n{''.join(cell['source'])}\n```" in page
        pictures = re.findall(r"!\[[^\]]*\]\((\w+\.png)\)", page)
        shown = [
            o for cell in cells(name, "code") for o in cell["outputs"] if "image/png" in o.get("data", {})
        ]
        assert len(pictures) == len(shown) > 0
        assert all(pages[f"tutorials/{picture}"].startswith(b"\x89PNG") for picture in pictures)


def test_what_a_cell_overwrote_is_not_kept() -> None:
    """Neighbouring texts become one; of a line with carriage returns its last state is left, pictures stay between."""
    text = [{"output_type": "stream", "name": "stdout", "text": part} for part in ("a\r", "b\rc\r\n", "d\n")]
    picture = {"output_type": "display_data", "data": {"image/png": ""}, "metadata": {}}
    source = nbformat.from_dict({"outputs": [*text, picture, text[2]]}).outputs
    kept = script("run_tutorials").joined(source)
    assert [one.get("text") for one in kept] == ["c\nd\n", None, "d\n"]
