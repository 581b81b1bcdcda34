"""The page and what it is made of: plain files of `bq/web`, and the chart library out of the installed plotly wheel.

Rules of this file: nothing is built and nothing comes from another host. Files are read and compressed once; the URL of
every asset holds a hash of its content, so that it may be kept for ever, and `GET /` alone is asked for again.

The own files share one hash, in the folder of their URLs: modules then find each other by the relative paths that are
written in them. The chart library has a hash of its own, since it changes with the wheel only. It is packed when a page
is asked for the first time, not at the start: a server whose clients all speak JSON never pays for it. Everything is
sent as gzip: brotli at its best saves another quarter of the library, but takes 45 times as long.
"""

import asyncio
import base64
import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import distribution
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from aiohttp import web

from bq.errors import Failure
from bq.serving import wire
from bq.serving.openapi import Operation, Parameter
from bq.serving.routing import NO_SUCH_PATH, route
from bq.serving.service import Service

WEB: Final = Path(__file__).parents[1] / "web"
PAGE: Final = "index.html"
ENTRY: Final = "js/main.js"

KINDS: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Content types of the files that are served; others in the folder are not."""

FOR_EVER: Final = "public, max-age=31536000, immutable"
HASH_DIGITS: Final = 12

OPERATIONS: Final = (
    Operation("get", "/", "The page", {200: "text/html", 304: None}, problems=()),
    Operation(
        "get",
        "/assets/{version}/{name}",
        "A file of the page, under the hash of its content",
        {200: "application/octet-stream"},
        parameters=(
            Parameter("version", "path", "hash of the content"),
            Parameter("name", "path", "path of the file"),
        ),
        problems=("not_found",),
    ),
)


class Asset(NamedTuple):
    """A file as it is sent."""

    packed: bytes
    kind: str


class Page(NamedTuple):
    """The page's own files, packed, and the page that refers to them."""

    assets: Mapping[str, Asset]
    """By path below `/assets/`."""
    html: bytes
    csp: str
    plotly_url: str
    plotly: Path


_IMPORT: Final = re.compile(r"""^\s*(?:import|export)\b[^"';]*?["'](\.[^"']+)["'];?\s*$""", re.MULTILINE)


def closure(files: Mapping[str, bytes], entry: str) -> list[str]:
    """List a module and all that it imports statically, so that a browser may fetch them at once.

    Raises
    ------
    KeyError
        When a module imports a file that is not there.
    """
    found = {entry: None}
    queue = [entry]
    while queue:
        name = queue.pop()
        for target in imported(name, files[name]):
            if target not in files:
                raise KeyError(f"{name} imports {target}, which is not there")
            if target not in found:
                found[target] = None
                queue.append(target)
    return list(found)


def imported(name: str, source: bytes) -> Iterator[str]:
    """Give the paths of the modules that one imports statically."""
    for match in _IMPORT.finditer(source.decode()):
        parts: list[str] = list(PurePosixPath(name).parent.parts)
        for step in match[1].split("/"):
            if step == "..":
                parts.pop()
            elif step != ".":
                parts.append(step)
        yield "/".join(parts)


def style_hashes(library: str) -> list[str]:
    """Hash the style sheets that the chart library puts into the page as text, for the Content-Security-Policy.

    There is an empty one, filled by `insertRule`, and those of parts that we do not use but that are set up with the
    rest.
    """
    texts = {"", *re.findall(r"\.textContent='(\.[^'\\]*)'", library)}
    return [_csp_hash(text) for text in sorted(texts)]


def _csp_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(styles: list[str]) -> str:
    """Write the Content-Security-Policy: this host and nothing else, no inline script, no inline style but known ones.

    `img-src` allows what a chart's "save as picture" makes.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' {' '.join(styles)}",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


@cache
def load(market: str) -> Page:
    """Read and pack the page's files for a market of this kind."""
    files = {
        str(PurePosixPath(path.relative_to(WEB))): path.read_bytes()
        for path in sorted(WEB.rglob("*"))
        if path.suffix in KINDS
    }
    version = _digest(*(part for name, body in files.items() for part in (name.encode(), body)))
    assets = {f"{version}/{name}": Asset(_pack(body), KINDS[Path(name).suffix]) for name, body in files.items()}
    plotly = distribution("plotly")
    library = Path(str(plotly.locate_file("plotly/package_data/plotly.min.js")))
    source = library.read_bytes()
    plotly_url = f"{_digest(source)}/plotly.min.js"
    preloads = (
        f'<link rel="modulepreload" href="assets/{version}/{name}">' for name in closure(files, ENTRY) if name != ENTRY
    )
    values = {
        "assets": f"assets/{version}",
        "library": f"assets/{plotly_url}",
        "preloads": "\n".join(preloads),
        "market": market,
    }
    html = (WEB / PAGE).read_text(encoding="utf-8")
    for name, value in values.items():
        html = html.replace(f"{{{{{name}}}}}", value)
    return Page(assets, html.encode(), policy(style_hashes(source.decode())), plotly_url, library)


@cache
def pack_library(library: Path) -> Asset:
    """Pack the chart library: 0.3 s of a quiet core, once."""
    return Asset(gzip.compress(library.read_bytes(), 6, mtime=0), KINDS[".js"])


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:HASH_DIGITS]


def _pack(body: bytes) -> bytes:
    return gzip.compress(body, 9, mtime=0)


def routes(service: Service) -> list[web.RouteDef]:
    """List the routes of the page."""
    page = Pages(load(service.settings.market.partition(":")[0]))
    return [
        *route(service, "GET", "/", page.page),
        *route(service, "GET", "/assets/{version}/{name:.+}", page.asset),
    ]


class Pages:
    """Serves the page and its files."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._html = Asset(_pack(page.html), "text/html; charset=utf-8")
        self._tag = f'"{hashlib.sha256(page.html + page.csp.encode()).hexdigest()[:32]}"'
        self._plotly: asyncio.Future[Asset] | None = None

    async def page(self, request: web.Request) -> web.Response:
        """Answer `GET /`, and have the chart library ready by the time the page asks for it."""
        self._packing()
        headers = {
            "Cache-Control": "no-cache",
            "ETag": self._tag,
            "Content-Security-Policy": self._page.csp,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
        }
        if (known := request.headers.get("If-None-Match")) is not None and wire.matches(known, self._tag):
            return web.Response(status=304, headers=headers)
        return await _send(request, self._html, headers)

    async def asset(self, request: web.Request) -> web.Response:
        """Answer for a file of the page."""
        path = f"{request.match_info['version']}/{request.match_info['name']}"
        asset = await asyncio.shield(self._packing()) if path == self._page.plotly_url else self._page.assets.get(path)
        if asset is None:
            raise Failure(NO_SUCH_PATH)
        return await _send(request, asset, {"Cache-Control": FOR_EVER, "X-Content-Type-Options": "nosniff"})

    def _packing(self) -> asyncio.Future[Asset]:
        """Give the packing of the chart library, begun when it is asked for first."""
        if self._plotly is None or (self._plotly.done() and self._plotly.exception() is not None):
            self._plotly = asyncio.ensure_future(asyncio.to_thread(pack_library, self._page.plotly))
        return self._plotly


async def _send(request: web.Request, asset: Asset, headers: Mapping[str, str]) -> web.Response:
    """Send an asset packed, or unpacked to the rare client that does not take gzip."""
    headers = {"Content-Type": asset.kind, "Vary": "Accept-Encoding", **headers}
    if wire.takes_gzip(request.headers.get("Accept-Encoding", "")):
        return web.Response(body=asset.packed, headers={"Content-Encoding": "gzip", **headers})
    return web.Response(body=await asyncio.to_thread(gzip.decompress, asset.packed), headers=headers)
