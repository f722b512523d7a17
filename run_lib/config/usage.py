"""What ``--help`` prints."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from run_lib.config.mode import register_mode

FLAGS = """\
flags:
  --config NAME             a configuration file, or a shipped one: ddpm/digits, ncsnpp/cifar10_ve_continuous, ...
  --config.FIELD=VALUE      set a field of it: --config.sampling.predictor=unipc, --config.sampling.snr=0.1
  --config.SECTION=FILE     set a section's fields from a JSON file, such as best.json of --mode tune
  --config.plugins=FILE.py  import a file of your own first: predictors, networks, data sets, ...
  --workdir DIR             where everything lands; runs/<configuration> unless given
  --eval_folder NAME        folder of an evaluation in the work directory; eval unless given
  --quiet                   print warnings and errors alone; log.txt in the work directory has all that is said
  --traceback               show where an error comes from"""

EXAMPLES = """\
examples:
  python main.py --config configs/ddpm/digits.py --mode all
  python main.py --config configs/ddpm/digits.py --mode sample --config.sampling.num_samples=1000
  python main.py --config configs/ddpm/cifar10.py --mode eval --config.eval.enable_bpd"""


def wants_help(argv: Sequence[str]) -> bool:
    """Whether a command line asks for help."""
    return any(argument in ("--help", "-help", "-h", "--helpfull", "-?") for argument in argv[1:])


def usage() -> str:
    """Modes, the flags that matter, and three examples."""
    width = max(map(len, register_mode))
    modes = [f"  {name:<{width}}  {inspect.getdoc(register_mode[name])}" for name in register_mode]
    return "\n".join(
        [
            "usage: main.py --config NAME [--mode MODE] [--config.FIELD=VALUE ...] [--workdir DIR]",
            "",
            "modes (all, unless given):",
            *modes,
            "",
            FLAGS,
            "",
            EXAMPLES,
        ]
    )
