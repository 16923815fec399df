"""Directed graphs with kinds of edges: strongly connected parts and shortest cycles."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping

#: node -> node -> kinds of the edges between them.
Graph = dict[int, dict[int, set[str]]]


def add(graph: Graph, source: int, target: int, kind: str) -> None:
    """Add an edge; none to the node itself."""
    if source != target:
        graph.setdefault(source, {}).setdefault(target, set()).add(kind)


def components(graph: Mapping[int, Mapping[int, Collection[str]]]) -> list[set[int]]:
    """The strongly connected parts with more than one node (Tarjan 1972, without recursion)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    on_stack: set[int] = set()
    stack: list[int] = []
    found: list[set[int]] = []
    for root in graph:
        if root in index:
            continue
        work = [(root, iter(graph.get(root, {})))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(graph.get(target, {}))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    part = _popped(stack, on_stack, node)
                    if len(part) > 1:
                        found.append(part)
    return found


def _popped(stack: list[int], on_stack: set[int], until: int) -> set[int]:
    part: set[int] = set()
    while True:
        node = stack.pop()
        on_stack.discard(node)
        part.add(node)
        if node == until:
            return part


def path(
    graph: Graph, source: int, target: int, kinds: Collection[str], within: Collection[int]
) -> list[int] | None:
    """A shortest path over edges that have one of these kinds; None if there is none."""
    before: dict[int, int] = {source: source}
    waiting = deque([source])
    while waiting:
        node = waiting.popleft()
        for following in _following(graph, node, kinds):
            if following not in within or following in before:
                continue
            before[following] = node
            if following == target:
                return _walked(before, source, target)
            waiting.append(following)
    return None


def _following(graph: Graph, node: int, kinds: Collection[str]) -> Iterable[int]:
    for target, edges in graph.get(node, {}).items():
        if any(kind in kinds for kind in edges):
            yield target


def _walked(before: Mapping[int, int], source: int, target: int) -> list[int]:
    walked = [target]
    while walked[-1] != source:
        walked.append(before[walked[-1]])
    return walked[::-1]


def cycle(
    graph: Graph,
    part: Collection[int],
    kinds: Collection[str],
    once: str = "",
) -> list[int] | None:
    """A short cycle within a part over edges of these kinds; with ``once``, one that has exactly
    one edge of that kind besides. The first node is not repeated."""
    best: list[int] | None = None
    closing = {once} if once else set(kinds)
    for source in part:
        for target in _following(graph, source, closing):
            if target not in part:
                continue
            found = path(graph, target, source, kinds, part)
            if found is not None and (best is None or len(found) < len(best)):
                best = found
                if len(best) == 2:
                    return best
    return best
