"""Which route a path belongs to: an exact one first, then the longest prefix."""

from __future__ import annotations

from collections.abc import Iterable

from agent.http.routes.table import Route


class Router:
    """Finds the route of a path: an exact one first, then the longest prefix."""

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[str, Route] = {}
        #: By the path's first three segments ("/v1/kv"), so that few prefixes are tried.
        self._prefixes: dict[str, list[Route]] = {}
        for route in routes:
            if route.path.endswith("/"):
                self._prefixes.setdefault(_area(route.path), []).append(route)
            else:
                assert route.path not in self._exact, f"{route.path} stands twice in the table"
                self._exact[route.path] = route
        for group in self._prefixes.values():
            group.sort(key=lambda route: (-len(route.path), -len(route.suffix)))

    def find(self, path: str) -> tuple[Route, str] | None:
        """The route and the rest of the path behind a prefix."""
        route = self._exact.get(path)
        if route is not None:
            return route, ""
        for route in self._prefixes.get(_area(path), ()):
            if path.startswith(route.path) and path.endswith(route.suffix):
                return route, path[len(route.path) :].removesuffix(route.suffix)
        return None


def _area(path: str) -> str:
    """ "/v1/kv/a/b" -> "/v1/kv"."""
    second = path.find("/", 1)
    third = path.find("/", second + 1)
    return path[:third] if third > 0 else path
