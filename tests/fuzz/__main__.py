"""``make fuzz``: atheris on each target for a while, beginning with recorded traffic.

atheris is not among the development tools: it has no build for every Python. Where it is missing
this says so and ends well. A finding is printed with the bytes that caused it, and kept in a file.
"""

from __future__ import annotations

import argparse
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

INPUT_BYTES_MAX = 4096
INPUT_SECONDS_MAX = 5
MEMORY_MB_MAX = 1024


def fuzz(target: str, arguments: list[str]) -> None:
    """Run one target in this process until its time is over or it has found something."""
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["gossip", "agent.dns", "agent.login"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[target])
    atheris.Fuzz()


def run(target: str, seconds: int, keep: pathlib.Path) -> int:
    """Run one target in a process of its own; its exit status."""
    from tests.fuzz.targets import seeds

    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(seeds(target)):
            pathlib.Path(corpus, f"seed-{number}").write_bytes(data)
        command = [
            *(sys.executable, "-m", "tests.fuzz", "--inside", target, "--", corpus),
            *(f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", "-print_final_stats=1"),
            *(f"-timeout={INPUT_SECONDS_MAX}", f"-rss_limit_mb={MEMORY_MB_MAX}"),
            f"-artifact_prefix={keep}/{target}-",
        ]
        return subprocess.run(command, check=False).returncode


def main() -> int:
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--only", choices=TARGETS, action="append", help="may be repeated")
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path(".fuzz"))
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("skipped: atheris is not installed here (pip install atheris)")
        return 0
    chosen = options.only or list(TARGETS)
    options.keep.mkdir(exist_ok=True)
    seconds = max(1, options.seconds // len(chosen))
    return max(abs(run(target, seconds, options.keep)) for target in chosen)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        fuzz(sys.argv[2], sys.argv[4:])
    else:
        sys.exit(main())
