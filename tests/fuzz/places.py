"""Where odd files go: the fields that name them, the modes that read them; and odd values of flags."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.fuzz.files import OddFile, odd
from tests.fuzz.small import NAMES

EXACT = "toy/gaussian_image"
CHECKPOINT = "checkpoints/step_00000002.pt"


def folder_of(config: str) -> str:
    """Of its trained work directory, among all."""
    return config.replace("/", "_")


@dataclass(frozen=True)
class Place:
    """A place that an odd file may have.

    Attributes:
        at: relative to the case's folder.
        kind: of ``files.KINDS``.
        whole: the file that is damaged, relative to the trained work directory of ``of`` or of the case's
            configuration.
        modes: that read it.
        fields: that name it, and what makes the program look at it.
        configs: that it makes sense for.
        trained: whether the work directory is a trained one.
    """

    at: str
    kind: str
    whole: str
    modes: tuple[str, ...]
    fields: dict[str, str] = field(default_factory=dict)
    configs: tuple[str, ...] = ()
    of: str = ""
    trained: bool = False

    def fits(self, config: str) -> bool:
        return config in self.configs

    def file(self, config: str) -> st.SearchStrategy[OddFile]:
        return odd(self.at, self.kind, f"{folder_of(self.of or config)}/{self.whole}")


_NETWORKS = tuple(n for n in NAMES if not n.startswith("toy/"))
_DIFFUSERS, _SCORE_SDE = ("ddpm/cifar10_diffusers",), ("ncsnpp/cifar10_ve_continuous",)
_GENERATING = tuple(n for n in _NETWORKS if n != "adm/digits_classifier")
_DIGITS = ("ddpm/digits", "edm/digits", "ddpm/cifar10_diffusers")


def _weights() -> list[Place]:
    found = []
    for option in ("init_from", "resume_from"):
        modes = ("sample", "convert", "train") if option == "init_from" else ("train", "convert")
        found += [
            Place("inputs/w.pt", "checkpoint", CHECKPOINT, modes, {option: "../inputs/w.pt"}, _GENERATING)
        ] * 2
    init = {"init_from": "../inputs/w"}
    for name, configs in (("score_sde_00000002.pth", _SCORE_SDE), ("diffusers_00000002", _DIFFUSERS)):
        found += [
            Place("inputs/w", "published", f"converted/{name}", ("sample", "convert", "train"), init, configs)
        ] * 2
    tensors = {"init_from": "../inputs/w.safetensors"}
    whole = "converted/safetensors_00000002.safetensors"
    found += [
        Place("inputs/w.safetensors", "safetensors", whole, ("sample", "convert"), tensors, _GENERATING)
    ] * 2
    for name in ("config.json", "diffusion_pytorch_model.safetensors", "scheduler_config.json"):
        kind = "safetensors" if name.endswith("s") else "json"
        found.append(
            Place(
                f"inputs/w/{name}",
                kind,
                f"converted/diffusers_00000002/{name}",
                ("sample", "convert"),
                init,
                _DIFFUSERS,
            )
        )
    guided = {"guidance.name": "classifier", "guidance.classifier": "../inputs/c.pt", "guidance.scale": "1"}
    found += [
        Place(
            "inputs/c.pt",
            "checkpoint",
            CHECKPOINT,
            ("sample",),
            guided,
            ("adm/digits",),
            "adm/digits_classifier",
            True,
        )
    ] * 2
    for at in (
        CHECKPOINT,
        "checkpoints/step_00000099.pt",
        "checkpoints/step_99999999999.pt",
        "checkpoints/step_00000001.pt",
    ):
        modes = ("train", "sample", "convert", "reconstruct")
        found.append(Place(f"run/{at}", "checkpoint", CHECKPOINT, modes, {}, _GENERATING, trained=True))
    return found


def _images() -> list[Place]:
    found = []
    for mode in ("control", "reconstruct"):
        for at, kind in (
            ("inputs/a.npz", "npz"),
            ("inputs/images", "images"),
            ("inputs/images", "images"),
        ):
            fields = {f"{mode}.input": f"../{at}"}
            found.append(Place(at, kind, "", (mode,), fields, (EXACT, *_DIGITS), trained=True))
            easy = {**fields, f"{mode}.resize": "true", f"{mode}.convert": "true"}
            found.append(Place(at, kind, "", (mode,), easy, (EXACT, *_DIGITS), trained=True))
    for at, kind in (("inputs/a.npz", "npz"), ("inputs/images", "images")):
        base = {"sampling.base_samples": f"../{at}"}
        found.append(Place(at, kind, "", ("sample",), base, ("adm/digits_superres",), trained=True))
    mask = {"control.mask": "../inputs/m.png"}
    found.append(Place("inputs/m.png", "image", "", ("control",), mask, (EXACT, *_DIGITS), trained=True))
    faces = {"data.dataset": "celeba", "data.root": "../inputs", "data.levels": "256", "data.convert": "true"}
    for at, kind in (("inputs/celeba/train", "images"), ("inputs/celeba/train.npy", "npy")):
        found.append(Place(at, kind, "", ("train",), faces, ("ddpm/digits", "adm/digits")))
    found.append(
        Place(
            "inputs/celeba/test",
            "images",
            "",
            ("control", "eval"),
            faces | {"control.input": "test"},
            (EXACT,),
        )
    )
    return found


def _texts() -> list[Place]:
    found = []
    codec = {"data.codec": "autoencoder_kl", "data.codec_path": "../inputs/vae", "data.levels": "0"}
    modes = ("pack", "stats", "train")
    found.append(Place("inputs/vae/config.json", "json", "config.json", modes, codec, ("ddpm/digits",)))
    best = {"sampling": "../inputs/best.json"}
    found += [
        Place("inputs/best.json", "json", "tune/best.json", ("sample",), best, ("toy/gaussian_2d",), EXACT)
    ] * 3
    for section in (
        "control",
        "tune",
        "eval",
        "model",
        "training",
        "guidance",
        "data",
        "optim",
        "reconstruct",
        "seed",
    ):
        mode = section if section in ("control", "tune", "eval", "reconstruct") else "sample"
        fields = {section: "../inputs/best.json"}
        found.append(Place("inputs/best.json", "json", "tune/best.json", (mode,), fields, (EXACT,), EXACT))
    grid = {"sampling.grid": "optimised", "sampling.predictor": "ddim"}
    at = "checkpoints/initial.grids.json"
    found.append(Place(f"run/{at}", "json", at, ("sample", "eval", "control"), grid, (EXACT,), trained=True))
    found.append(
        Place(
            f"run/{at}",
            "json",
            at,
            ("tune",),
            {**grid, "tune.grid": "true", "sampling.grid": "uniform"},
            (EXACT,),
            trained=True,
        )
    )
    return found


_JSON = {
    "config.json": ("train", "sample"),
    "samples/settings.json": ("sample", "all"),
    "samples/samples.json": ("sample",),
    "eval/report.json": ("eval", "all"),
    "tune/settings.json": ("tune",),
    "tune/table.json": ("tune",),
    "tune/best.json": ("tune",),
    "tune/parts/num_steps=2_000.json": ("tune",),
    "control/inpaint/settings.json": ("control",),
    "control/inpaint/report.json": ("control",),
    "reconstruct/settings.json": ("reconstruct",),
    "reconstruct/report.json": ("reconstruct",),
}  # fmt: skip
_ANYTHING = {
    "samples": ("sample", "all"),
    "samples/samples.npz": ("sample",),
    "samples/earlier": ("sample",),
    "samples/.score-pc.lock": ("sample",),
    "samples/.partial-1-x": ("sample",),
    "samples/.partial-99999999999999999999-x": ("sample",),
    "checkpoints": ("sample", "control"),
    "eval": ("eval",),
    "eval/parts": ("eval",),
    "eval/likelihood_test_0.npz": ("eval",),
    "tune": ("tune",),
    "tune/parts": ("tune",),
    "tune/parts/num_steps=2_000.npy": ("tune",),
    "tune/table.csv": ("tune",),
    "control": ("control",),
    "control/inpaint/results": ("control",),
    "control/inpaint/results/00001.png": ("control",),
    "reconstruct": ("reconstruct",),
    "reconstruct/table.csv": ("reconstruct",),
    "reconstruct/inputs.csv": ("reconstruct",),
    "reconstruct/difference/00001.png": ("reconstruct",),
    "tensorboard": ("eval",),
    "report.html": ("eval", "tune", "control", "all"),
    "converted": ("convert",),
}  # fmt: skip


def _inside() -> list[Place]:
    found = [Place(f"run/{at}", "json", at, modes, {}, (EXACT,), trained=True) for at, modes in _JSON.items()]
    found += [
        Place(f"run/{at}", "anything", at, modes, {}, (EXACT,), trained=True)
        for at, modes in _ANYTHING.items()
    ]
    everywhere = ("sample", "eval", "tune", "control", "reconstruct", "convert", "all")
    found.append(Place("run", "anything", "", everywhere, {}, (EXACT,)))
    for at in (
        "checkpoints",
        "tensorboard",
        "config.json",
        "checkpoints/.score-pc.lock",
        "checkpoints/.partial-1-step_00000002.pt",
    ):
        found.append(Place(f"run/{at}", "anything", at, ("train",), {}, _NETWORKS, trained=True))
    return found


PLACES: tuple[Place, ...] = (*_weights(), *_images(), *_texts(), *_inside())


def in_workdir(config: str) -> st.SearchStrategy[OddFile]:
    """Anything anywhere in a work directory."""
    names = [*_JSON, *_ANYTHING, CHECKPOINT, "notes.txt"]
    return st.sampled_from(names).flatmap(lambda at: odd(f"run/{at}", "anything"))


def in_output() -> st.SearchStrategy[OddFile]:
    return st.sampled_from(
        ("out/x", "out/x/settings.json", "out", "out/x/results", "out/x/report.json")
    ).flatmap(lambda at: odd(at, "anything"))


WORKDIRS = (
    None, "", " ", "../run/", "../run/a/b", "../run/é", "../run/a\nb", "../run/" + "x" * 300,
    "../run/" + "a/" * 3000, "../outside/theirs.txt", "../outside/theirs.txt/x", "/dev/null", "/dev/null/x",
    "/proc/x", "../outside/loop", "../run/\udcff", "../run/ b", "../run/=", "../run/--x", "../run/$HOME",
    "../run/~", "../run/x.py", "../run/a=b,c",
)  # fmt: skip
EVAL_FOLDERS = (
    "../x", "/tmp/x", "", ".", "..", "a/b", "checkpoints", "samples", "tune", "é", "a\nb", "config.json",
    " ", "x" * 300, "a/../../x", "~", "\udcff", "eval/report.json", "../run/eval", "./eval",
)  # fmt: skip
MODES = (
    "tain", "", "Sample", "evaluate", "SAMPLE", "all ", "é", "\udcff", "a\nb", "none", "sample,eval", "-1",
    "--", "x" * 300,
)  # fmt: skip
OUTPUTS = (
    ("control.output", "control"), ("reconstruct.output", "reconstruct"), ("convert.path", "convert"),
    ("tune.folder", "tune"),
)  # fmt: skip
OUTPUT_VALUES = (
    "../out/x", "../out", "../out/x/y", "../outside/theirs.txt", "../outside/theirs.txt/x", "", ".", "..",
    "/dev/null", "../run", "../run/samples", "../run/control/inpaint", "../out/é", "../out/a\nb",
    "../outside/loop", "../out/" + "x" * 300, " ", "tune2", "a/b",
)  # fmt: skip
FLAGS = (
    "--foo", "--foo=1", "--config.foo=1", "--config.sampling.foo=1", "--config.sampling.ddim.foo=1", "-x",
    "extra", "--config", "--mode", "--workdir", "--config.seed", "--config.seed=1", "--config.seed=2",
    "--config.sampling.seed", "-5", "--", "---", "", "--flagfile=../inputs/flags", "--flagfile",
    "-flagfile=x", "--help", "--helpfull", "-?", "--helpshort", "--version", "--config.plugins=",
    "--config.plugins=nothing", "--config.plugins=nothing.py", "--config=nothing", "--config=",
    "--noconfig", "--config.", "--config..seed=1", "--config.seed.x=1", "--config.sampling=",
    "--config.sampling", "--noconfig.deterministic", "--config.deterministic", "--noconfig.seed", "--logtostderr",
    "--alsologtostderr", "--log_dir=../outside", "--v=9", "--v=x", "--verbosity=9", "--pdb",
    "--only_check_args", "--undefok=foo", "--mode=sample", "--mode=list", "--config.SEED=3",
    "--config.sampling.num_steps", "2", "--config.sampling.num_steps=2", "--Config.seed=1",
    "-config.seed=4", "é", "\udcff", "--é=1", "--config.é=1", "--config.sampling.é=1", "a\nb", "--a\nb",
    "--config.seed=1\n2", "--config.seed= 1", "--notraceback", "--config.init_from=nothing",
    "--config.init_from=a/b", "--config.resume_from=nothing", "--config.device=cuda", "--config.device=x",
    "--config.device=meta", "--config.device=cpu:7", "--eval_folder", "--config.training.seed=1",
    "--config.sampling.langevin.snr=0.1", "--config.num_steps=2", "--stderrthreshold=x",
    "--run_with_profiling", "--profile_file=../outside/p", "--use_cprofile_for_profiling",
    "--test_tmpdir=../outside", "--xml_output_file=../outside/x",
)  # fmt: skip
LISTED = (
    "ddim", "ddmi", "adm", "", "-1", "é", "a\nb", "uniform", "langevin", "celeba", "DDIM", "__class__",
    "\udcff", "x" * 300,
)  # fmt: skip
