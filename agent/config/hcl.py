"""HCL 1 text as plain data, by way of an HCL 2 parser.

Consul's files are HCL 1; the parser we have reads HCL 2. What HCL 1 allows and HCL 2 does not is
turned into HCL 2 first: quoted keys (``"a.b" = 1``), blocks inside object literals, ``${`` in texts
(plain characters here), here-documents. Afterwards the result gets HCL 1's shape: strings without
quotes, each block a list of objects (``Blocks``), so that repeated blocks add up. Expressions of
HCL 2 are refused, not evaluated. Decides nothing about keys.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

#: Nesting that the parser and our walk over its result can stand.
DEPTH_MAX = 64
_QUOTED = "quoted_key_"
_TOKEN = re.compile(
    r"""
    (?P<heredoc><<-?(?P<mark>\w+)[^\S\n]*\n(?:.*\n)*?[^\S\n]*(?P=mark)[^\S\n]*(?=\n|\Z))
  | (?P<comment>\#.*|//.*|/\*[\s\S]*?\*/)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<newline>\n)
  | (?P<space>[^\S\n]+)
  | (?P<name>[A-Za-z_][\w.-]*)
  | (?P<other>.)
    """,
    re.VERBOSE,
)
_HEREDOC = re.compile(r"<<(?P<dash>-?)\w+[^\S\n]*\n(?P<body>[\s\S]*)")
_TEMPLATE = re.compile(r"([$%])\{")
_FLOAT = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LINE = re.compile(r"at line (\d+), col(?:umn)? (\d+)")


class HclError(ValueError):
    """The text is no HCL that we can read; says where."""


class Blocks(list[Any]):
    """The bodies of blocks that share a name, in order; tells them from a list literal."""

    __slots__ = ()


def loads(text: str) -> dict[str, Any]:
    """The top-level object of a file. Raises HclError."""
    prepared = _prepare(text)
    import hcl2  # heavy: only for those who have HCL files

    options = hcl2.SerializationOptions(with_comments=False)
    try:
        parsed = hcl2.loads(prepared, serialization_options=options)
    except RecursionError:
        raise HclError("nested too deeply") from None
    except Exception as error:  # the parser's errors have no common root of their own
        raise HclError(_explain(error)) from None
    plain = _object(parsed)
    assert isinstance(plain, dict)
    return plain


def _explain(error: Exception) -> str:
    line = _LINE.search(str(error))
    where = f"At {line[1]}:{line[2]}: " if line else ""
    token = getattr(error, "token", None)
    if line and token is not None:  # its name is the parser's own business
        text = str(token)
        if not text.strip():
            return f"{where}unexpected end of the {'line' if text else 'file'}"
        return f'{where}unexpected "{text.splitlines()[0][:40]}"'
    if char := getattr(error, "char", ""):
        return f'{where}unexpected character "{char}"'
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return where + (first.split(" at line ")[0] if line else first)


class _Scope:
    """One open bracket while preparing: ``[``, the braces of a block or of an object literal."""

    __slots__ = ("blocks", "kind")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.blocks: set[str] = set()


def _prepare(text: str) -> str:
    """HCL 1 as HCL 2 of the same meaning."""
    tokens = [
        (str(match.lastgroup if match.lastgroup != "mark" else "heredoc"), match.group())
        for match in _TOKEN.finditer(text)
    ]
    out: list[str] = []
    scopes = [_Scope("block")]
    before = "\n"  # the last significant token, "\n" at the start of a line
    key = ""
    for position, (kind, word) in enumerate(tokens):
        if kind in {"space", "comment"}:
            out.append(word)
            continue
        if kind == "string" and before in "\n{," and _next(tokens, position) in {"=", "{", '"'}:
            word = _QUOTED + word[1:-1].encode().hex()
        elif kind == "string":
            word = _plain(word)
        elif kind == "heredoc":
            word = _plain(json.dumps(_heredoc(word), ensure_ascii=False))
        if word == "{":
            _open_brace(out, scopes, before, key)
        elif word == "[":
            scopes.append(_Scope("list"))
        elif word in {"}", "]"} and len(scopes) > 1:
            scopes.pop()
        if len(scopes) > DEPTH_MAX:
            raise HclError("nested too deeply")
        if kind in {"name", "string"} and before in "\n{,":
            key = word
        out.append(word)
        before = word if word else before
    return "".join(out)


def _next(tokens: list[tuple[str, str]], position: int) -> str:
    for kind, word in tokens[position + 1 : position + 4]:
        if kind not in {"space", "comment"}:
            return word[0]
    return ""


def _open_brace(out: list[str], scopes: list[_Scope], before: str, key: str) -> None:
    inside = scopes[-1]
    if before in {"=", ":"} or inside.kind == "list":
        scopes.append(_Scope("object"))
    elif inside.kind == "object":
        # HCL 2 knows no blocks inside an object literal; a second one would replace the first.
        if key in inside.blocks:
            raise HclError(f"block {key} is repeated inside an object: write it as a list")
        inside.blocks.add(key)
        out.append("= ")
        scopes.append(_Scope("object"))
    else:
        scopes.append(_Scope("block"))


def _object(value: dict[str, Any]) -> dict[str, Any]:
    return {_key(key): _value(item) for key, item in value.items() if key != "__is_block__"}


def _key(key: str) -> str:
    if key.startswith(_QUOTED):
        key = f'"{bytes.fromhex(key.removeprefix(_QUOTED)).decode()}"'
    return _text(key) if key.startswith('"') else key


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return _object(value)
    if isinstance(value, list):
        items = [_value(item) for item in value]
        is_blocks = bool(value) and all(_is_block(item) for item in value)
        return Blocks(items) if is_blocks else items
    if isinstance(value, str):
        return _scalar(value)
    return value


def _is_block(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if "__is_block__" in value:
        return True
    # A labelled block: the marker is under its label.
    return len(value) == 1 and all(_is_block(item) for item in value.values())


def _scalar(value: str) -> Any:
    if value.startswith('"'):
        return _text(value)
    inner = value[2:-1] if value.startswith("${") else value
    if _FLOAT.fullmatch(inner):
        return float(inner)
    _refuse(inner)


def _refuse(expression: str) -> NoReturn:
    shown = expression if len(expression) <= 60 else expression[:57] + "..."
    raise HclError(f"expressions are not supported: {shown} (strings need quotes)")


def _text(quoted: str) -> str:
    try:
        return str(json.loads(quoted, strict=False))
    except ValueError:
        raise HclError(f"illegal escape in string {quoted[:60]}") from None


def _plain(quoted: str) -> str:
    """A string literal in which ``${`` and ``%{`` begin no template."""
    return _TEMPLATE.sub(r"\1\\u007b", quoted)


def _heredoc(document: str) -> str:
    """The text between the markers; ``<<-`` takes the closing marker's indent from all lines."""
    match = _HEREDOC.fullmatch(document)
    assert match is not None, "the tokens come from a stricter pattern"
    lines = match["body"].split("\n")
    last = lines.pop()
    indent = last[: len(last) - len(last.lstrip())]
    if match["dash"] and all(line.startswith(indent) for line in lines if line.strip()):
        lines = [line.removeprefix(indent) for line in lines]
    return "".join(line + "\n" for line in lines)
