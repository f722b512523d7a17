"""score-pc: train, sample and evaluate score-based and diffusion models.

python main.py --config configs/ddpm/digits.py --mode all
"""

from __future__ import annotations

import sys

from run_lib.startup import start_up
from run_lib.stopping import promising

if __name__ == "__main__":
    start_up()

from absl import flags

from run_lib import ends, modes  # noqa: F401 - the latter registers them
from run_lib.config.command_line import configure, find_configuration, parse, work_directory
from run_lib.config.configuration import read
from run_lib.config.effects import check_effects
from run_lib.config.files import load_config_file
from run_lib.config.mode import register_mode
from run_lib.config.reading import described, unread
from run_lib.config.usage import usage, wants_help
from run_lib.files import remove_partials, writable
from run_lib.locks import holding
from run_lib.output.streams import output
from run_lib.processes import Processes, refuse_several

_CONFIG = flags.DEFINE_string("config", None, "Configuration: a file, or a shipped one such as ddpm/digits.")
_MODE = flags.DEFINE_string("mode", "all", "What to do.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where everything lands.")
_EVAL_FOLDER = flags.DEFINE_string("eval_folder", "eval", "Folder of an evaluation in the work directory.")
_QUIET = flags.DEFINE_bool("quiet", False, "Print warnings and errors alone; log.txt has the rest.")
_TRACEBACK = flags.DEFINE_bool("traceback", False, "Show the traceback of an error.")


def main(argv: list[str]) -> None:
    if wants_help(argv):
        print(usage())
        return
    line = parse(argv)
    name = find_configuration(line, _CONFIG.value, _MODE.value)
    config, given = configure(load_config_file(name), line)
    kind = register_mode[_MODE.value]
    line.check_arguments(kind)
    refuse_several(_MODE.value, kind.many_processes)
    workdir = work_directory(_WORKDIR.value, name, kind.workdir)
    if _QUIET.value and kind.uses_workdir:
        output.be_quiet()
    configuration = read(config, given, _MODE.value, line.arguments, workdir)
    # What works is imported once the command line is known to be right.
    from run_lib.config.placing import build_placement
    from run_lib.run import Run

    mode = configuration.choose("mode").build()
    plan = mode.plan(configuration)
    check_effects(configuration)
    if (idle := unread(configuration)) and Processes.from_environment().is_main:
        print(f"note: --mode {_MODE.value} does not read config.{', config.'.join(idle)}", file=sys.stderr)
    if not mode.tells and (chosen := described(configuration)) and Processes.from_environment().is_main:
        print(chosen)
    run = Run(workdir, _EVAL_FOLDER.value, name)
    if mode.uses_workdir:
        remove_partials(writable(run.workdir), below=False)
    log = output.kept(workdir if mode.uses_workdir and mode.logs else None)
    with holding(mode.writes(plan, run), _MODE.value), log, promising(mode.kept):
        mode.work(build_placement(configuration.values).place(plan), run)


def guarded(argv: list[str]) -> None:
    """Run, and say what was wrong without a traceback when the user can mend it."""
    with output.told():
        ends.guarded(lambda: main(argv), lambda: flags.FLAGS.is_parsed() and _TRACEBACK.value)


if __name__ == "__main__":
    guarded(sys.argv)
