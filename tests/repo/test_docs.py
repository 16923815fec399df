"""The documentation agrees with the program: links, tables of endpoints and commands, examples.

Examples are read, not run: the command, its flags, the route and the make target must exist.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from agent.cli import flags
from agent.cli.main import TABLE, load
from agent.config import hcl
from agent.http.routes import ROUTES, Router

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("jepsen-lite/*.md")])
COMPATIBILITY = ROOT / "docs" / "api" / "compatibility.md"
START = ROOT / "docs" / "README.md"

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = {path: module for path, (module, _) in TABLE.items() if module}


def ids(paths: list[Path]) -> list[str]:
    """Readable test ids."""
    return [str(path.relative_to(ROOT)) for path in paths]


def links(page: Path) -> list[str]:
    """Targets inside the repository, as written."""
    prose = FENCE.sub("", page.read_text())
    return [target for target in LINK.findall(prose) if not urlsplit(target).scheme]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


# -- links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT), f"{target} leads out of the repository"
        assert file.exists(), f"{target} is linked and not there"
        if anchor:
            assert anchor in anchors(file), f"{target}: no such heading"


def test_every_page_is_reached_from_the_map() -> None:
    """A link to a folder reaches the pages in it: forges list them."""
    seen: set[Path] = set()
    waiting = [START]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in links(page):
            file = (page.parent / target.partition("#")[0]).resolve()
            if file.is_dir():
                waiting += file.glob("*.md")
            elif file.suffix == ".md":
                waiting.append(file)
    lost = [page for page in PAGES if (ROOT / "docs") in page.parents and page not in seen]
    assert not lost, f"link these from docs/README.md or a page that it links: {ids(lost)}"


# -- the page about Consul -----------------------------------------------------------------------


def rows(heading: str) -> list[list[str]]:
    """The cells of all tables below the headings that begin so, without their first lines."""
    found: list[list[str]] = []
    for section in re.split(r"^## ", COMPATIBILITY.read_text(), flags=re.MULTILINE)[1:]:
        if section.startswith(heading):
            lines = [line for line in section.splitlines() if line.startswith("|")]
            cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
            at = [i for i, row in enumerate(cells) if set(row[0]) == {"-"}]
            found += [r for i, r in enumerate(cells) if i not in at and i + 1 not in at]
    assert found, f"no table below {heading}"
    return found


SUFFIXES = tuple(route.suffix for route in ROUTES if route.suffix)


def served(path: str) -> str:
    """The path of a row as the table names it: parameters at the end are "everything below"."""
    head, _, tail = path.partition("…")[0].partition(":")
    suffix = tail.partition("/")[2] if tail.endswith(SUFFIXES) else ""
    return f"{head}:name/{suffix}" if suffix else head


HTTP_ROWS = {row[0].strip("`"): row[1] for row in rows("HTTP: ")}
COMMAND_ROWS = [row[0].strip("`") for row in rows("Command line")]
MISSING = [name for row in rows("Missing") for name in re.findall(r"`([^`]+)`", row[1])]


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_every_route_has_its_row_in_the_compatibility_page(route: object) -> None:
    path, methods = route.name, [e.method for e in route.endpoints]  # type: ignore[attr-defined]
    below = [row for row in HTTP_ROWS if row.endswith("…") and path.startswith(row[:-1])]
    if below:
        return
    written = {served(row): given for row, given in HTTP_ROWS.items()}
    line = f"| `{path}{':name' if path.endswith('/') else ''}` | {', '.join(methods)} | |"
    assert path in written, f"docs/api/compatibility.md: add this row to its area:\n{line}"
    assert written[path] == ", ".join(methods), f"docs/api/compatibility.md: methods of\n{line}"


@pytest.mark.parametrize("row", HTTP_ROWS)
def test_the_compatibility_page_names_no_route_that_is_not_there(row: str) -> None:
    paths = [route.name for route in ROUTES]
    if row.endswith("…"):
        assert any(path.startswith(row[:-1]) for path in paths), f"nothing is served below {row}"
    else:
        assert served(row) in paths, f"docs/api/compatibility.md: {row} is not in the route table"


@pytest.mark.parametrize("words", [" ".join(path) for path in COMMANDS])
def test_every_command_has_its_row_in_the_compatibility_page(words: str) -> None:
    assert words in COMMAND_ROWS, f"docs/api/compatibility.md: add the row\n| `{words}` | |"


@pytest.mark.parametrize("row", COMMAND_ROWS)
def test_the_compatibility_page_names_no_command_that_is_not_there(row: str) -> None:
    assert tuple(row.split()) in COMMANDS, f"docs/api/compatibility.md: there is no `{row}`"


@pytest.mark.parametrize("name", MISSING)
def test_what_the_compatibility_page_calls_missing_is_missing(name: str) -> None:
    """A path that takes some methods already is named without its last slash."""
    text = f"docs/api/compatibility.md: {name} exists now: take it off the table of what is missing"
    if name.startswith("/"):
        start = served(name)
        assert not any(
            route.path.startswith(start) if start.endswith("/") else route.path == start
            for route in ROUTES
        ), text
    else:
        assert tuple(name.split()) not in TABLE, text


# -- help texts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", COMMANDS, ids=[" ".join(path) for path in COMMANDS])
def test_a_help_text_speaks_of_flags_that_exist(path: tuple[str, ...]) -> None:
    command = load(path)
    known = {flag.name for flag in command.all_flags}
    words = " ".join([command.usage, command.help, *(flag.help for flag in command.all_flags)])
    for name in re.findall(r"(?<![\w-])-{1,2}([a-z][\w-]+)", words):
        assert name in known, f"{' '.join(path)}: the help speaks of -{name}"


# -- examples ------------------------------------------------------------------------------------


def examples(language: str) -> list[tuple[Path, str]]:
    """All fenced blocks of a language."""
    return [
        (page, body)
        for page in PAGES
        for kind, body in FENCE.findall(page.read_text())
        if kind == language
    ]


CONSOLE = [
    (page, line[2:])
    for page, body in examples("console")
    for line in body.splitlines()
    if line.startswith("$ ")
]


@pytest.mark.parametrize(
    ("page", "line"), CONSOLE, ids=[f"{p.relative_to(ROOT)}-{line}" for p, line in CONSOLE]
)
def test_an_example_calls_what_exists(page: Path, line: str) -> None:
    words = shlex.split(line, comments=True)
    program, rest = Path(words[0]).name, words[1:]
    if program == "make":
        targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert {word for word in rest if "=" not in word} <= targets
    elif program == "lictor":
        lictor_reads(rest)
    elif program == "curl":
        curl_is_served(rest)
    elif program == "python":
        assert rest[0] == "-m"
        module = rest[1].replace(".", "/")
        assert (ROOT / module).exists() or (ROOT / "jepsen-lite" / module).exists(), rest[1]
    else:
        assert program in {"dig", "export", "pipx", "pre-commit"}, f"{page}: what is {program}?"


def lictor_reads(words: list[str]) -> None:
    """The command and its flags exist."""
    end = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    path = next(
        (tuple(words[:n]) for n in range(min(end, 3), 0, -1) if tuple(words[:n]) in COMMANDS), ()
    )
    assert path, f"no command in {words}"
    flags.parse(load(path).all_flags, words[len(path) :])


def curl_is_served(words: list[str]) -> None:
    """The route exists and takes the method."""
    url = next(word for word in words if word.startswith("http"))
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    found = Router(ROUTES).find(urlsplit(url).path)
    assert found, f"{url} is not served"
    assert found[0].endpoint(method), f"{url} does not take {method}"


HCL = examples("hcl")


@pytest.mark.parametrize(
    ("page", "text"), HCL, ids=[f"{p.stem}-{at}" for at, (p, _) in enumerate(HCL)]
)
def test_an_hcl_example_can_be_read(page: Path, text: str) -> None:
    assert hcl.loads(text), page
