"""Builds the compiled form of the proxy (``python -m agent.connect.native_build``, ADR 102).

Wants mypy, setuptools and a C compiler with Python's headers (the extra ``native``). What is there
already is replaced in one step once the new build is whole.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from agent.connect import native

#: Compiled classes have no dictionary in any case, and the compiler knows no other class of the
#: same name, which is what ``slots=True`` makes.
_DATACLASS = re.compile(r"^@dataclass\((.*)\)$", re.MULTILINE)

_SETUP = """\
import os, sys
from concurrent.futures import ThreadPoolExecutor
from setuptools import setup  # before distutils, which is its own
from distutils.ccompiler import CCompiler
from mypyc.build import mypycify

def compile(self, sources, output_dir=None, macros=None, include_dirs=None, debug=0,
            extra_preargs=None, extra_postargs=None, depends=None):
    macros, objects, extra, preargs, build = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs)
    args = self._get_cc_args(preargs, debug, extra_preargs)
    def one(item):
        name, (source, ending) = item
        self._compile(name, source, ending, args, extra, preargs)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, build.items()))
    return objects

CCompiler.compile = compile
options = ["--config-file=mypy.ini", "--python-executable", sys.executable]
setup(name="lictor-native", packages=[], script_args=["build_ext", "--inplace"],
      ext_modules=mypycify(options + sys.argv[1:], opt_level=OPTIMISED, debug_level="0",
                           multi_file=True, group_name="lictor_native"))
"""
_MYPY = "[mypy]\nstrict = True\nignore_missing_imports = True\nfollow_imports = silent\n"


def without_slots(source: str) -> str:
    """The source as the compiler takes it."""
    return _DATACLASS.sub(lambda found: f"@dataclass({_but_slots(found[1])})", source)


def _but_slots(options: str) -> str:
    return ", ".join(each for each in options.split(", ") if each != "slots=True")


def build(package: Path, directory: Path) -> int:
    """Build into a directory. Gives how many modules were compiled; raises CalledProcessError with
    what the compiler said."""
    made_of = native.sources(package)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".building-") as name:
        tree = Path(name)
        for relative, raw in made_of.items():
            path = tree / package.name / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(without_slots(raw.decode()))
        modules = [str(path.relative_to(tree)) for path in native.hot(tree / package.name)]
        (tree / "mypy.ini").write_text(_MYPY)
        (tree / "setup.py").write_text(f"OPTIMISED = {native.OPTIMISED!r}\n{_SETUP}")
        subprocess.run(  # noqa: S603  (our own interpreter and names of our own files)
            [sys.executable, "setup.py", *modules],
            cwd=tree, check=True, capture_output=True, text=True,
        )  # fmt: skip
        for left in ("build", ".mypy_cache", "setup.py", "mypy.ini"):
            path = tree / left
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        manifest = {
            "fingerprint": native.fingerprint(made_of, native.terms()),
            "modules": modules,
        }
        (tree / native.MANIFEST).write_text(json.dumps(manifest))
        old = directory.with_name(directory.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if directory.exists():
            directory.rename(old)
        tree.chmod(0o755)  # whoever runs the program may read it
        tree.rename(directory)
        tree.mkdir()  # for the end of the block
        shutil.rmtree(old, ignore_errors=True)
    return len(modules)


def main() -> int:
    """The command. 1 when it cannot be built, with the compiler's words."""
    package = native.package()
    parser = argparse.ArgumentParser(
        prog="python -m agent.connect.native_build", description=__doc__
    )
    parser.add_argument("directory", nargs="?", default=native.directory(),
                        type=Path, help="where to, beside the package by default")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="build what is built already")
    asked = parser.parse_args()
    if not asked.force and not native.unusable(package, asked.directory):
        print(f"{asked.directory} is up to date")
        return 0
    try:
        count = build(package, asked.directory)
    except subprocess.CalledProcessError as error:
        print(error.stdout, error.stderr, sep="\n", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot build into {asked.directory}: {error}", file=sys.stderr)
        return 1
    print(f"{count} modules compiled into {asked.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
