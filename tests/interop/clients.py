"""Where the foreign programs are that these tests run; what is absent is skipped with a reason.

`make interop-clients` puts into `.interop/` what does not come from the system: a Python with
py-consul, the npm module. None of it is ever imported by lictor or by its tests.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.e2e.cluster import ROOT, AgentProcess

HERE = Path(__file__).parent
FOLDER = ROOT / ".interop"
#: How long a whole script may take on a busy machine, in seconds.
SCRIPT_S = 180.0


@dataclass(frozen=True)
class Client:
    """A client library: who runs it, what must be loadable, and what of ours it runs."""

    name: str
    command: tuple[str, ...]
    probe: tuple[str, ...]
    script: str
    absent: str

    @property
    def areas(self) -> list[str]:
        """The names in the script's AREAS, read without running it: its client may be absent."""
        text = (HERE / self.script).read_text()
        found = re.search(r"^(?:const )?AREAS = [(\[]([^)\]]*)", text, re.MULTILINE)
        assert found is not None, f"{self.script} names no AREAS"
        return re.findall(r"\w+", found.group(1).replace("# fmt: skip", ""))

    @property
    def there(self) -> bool:
        """Whether it can be run on this machine."""
        return _works((*self.command, *self.probe))

    def run(self, agent: AgentProcess, token: str = "") -> dict[str, str]:
        """What went wrong in each area of the script, "" for nothing."""
        done = subprocess.run(
            [*self.command, str(HERE / self.script), agent.address, "8500", token],
            capture_output=True, text=True, timeout=SCRIPT_S, cwd=HERE,
        )  # fmt: skip
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert lines and done.returncode == 0, (done.stdout, done.stderr)
        return {line["area"]: line["trouble"] for line in lines}


@cache
def _works(command: tuple[str, ...]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=30, cwd=ROOT)
    except OSError:
        return False
    return done.returncode == 0


def program(name: str) -> str | None:
    """Where a program is, of the system's or of `.interop/`."""
    return shutil.which(name) or shutil.which(name, path=f"{FOLDER}/bin")


PY_CONSUL = Client(
    name="py-consul",
    command=(str(FOLDER / "bin" / "python"),),
    probe=("-c", "import consul.api"),
    script="script_py_consul.py",
    absent="py-consul is not in .interop (make interop-clients)",
)
PYTHON3_CONSUL = Client(
    name="python3-consul",
    command=("/usr/bin/python3",),
    probe=("-c", "import consul, sys; sys.exit(hasattr(consul, 'api'))"),
    script="script_python_consul.py",
    absent="python3-consul is not installed",
)
NODE_CONSUL = Client(
    name="npm consul",
    command=("node",),
    probe=("-e", f"require({json.dumps(str(FOLDER / 'npm' / 'node_modules' / 'consul'))})"),
    script="script_node_consul.js",
    absent="the npm module consul is not in .interop (make interop-clients)",
)
