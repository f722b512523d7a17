"""``python -m tests.fuzz.beside FOLDER``: what a case may and may not do, in a process that ends with the hook.

Prints, as JSON, what the watch has seen after the first, and after each of two ends.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from tests.fuzz.watch import Watch

folder = Path(sys.argv[1])
for name in ("run", "outside"):
    (folder / name).mkdir()
(folder / "strange_module.py").write_text("")
sys.path.insert(0, str(folder))
sys.dont_write_bytecode = True
os.chdir(folder / "run")
Path("link").symlink_to("../outside/linked")
watch = Watch([folder / "run"])
watch.begin()
Path("a").write_text("")
os.replace("a", "b")
(folder / "outside").is_dir()
open(os.devnull, "w").close()
allowed = list(watch.seen)
Path("../outside/a").write_text("")
Path("../outside/a").unlink()
Path("link").write_text("")
os.mkdir("../outside/folder")
os.replace("b", "../outside/b")
os.system("true")
with socket.socket() as one:
    one.connect_ex(("127.0.0.1", 9))
__import__("strange_module")
found = watch.end()
open("../outside/a", "w").close()
print(json.dumps([allowed, found, watch.end()]))
