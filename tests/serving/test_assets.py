"""The page's files: hashed addresses, kept for ever, packed, nothing from another host, and a policy that says so."""

import gzip
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bq.serving import assets
from tests.serving.fakes import running


@pytest.fixture
async def server(tmp_path):
    async with running(tmp_path, ready=False) as server:
        yield server


class References(HTMLParser):
    """Collects what a page refers to, and what it has inline."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.found += [values[name] for name in ("src", "href") if values.get(name)]
        if values.get("name") == "bq-library":
            self.found.append(values["content"])
        if (tag == "script" and "src" not in values) or tag == "style" or "style" in values:
            self.inline.append(self.get_starttag_text())
        self.inline += [name for name in values if name.startswith("on")]


def read(html: str) -> References:
    references = References()
    references.feed(html)
    return references


async def test_the_page_comes_while_the_engine_is_still_loading_and_is_asked_for_again_each_time(server):
    async with server.client.get(server.url("/")) as first:
        html = await first.text()
        tag = first.headers["ETag"]
    async with server.client.get(server.url("/"), headers={"If-None-Match": tag}) as again:
        known = await again.read()

    assert first.status == 200
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.content_type == "text/html"
    assert "{{" not in html
    assert (again.status, known, again.headers["ETag"]) == (304, b"", tag)


async def test_every_reference_leads_to_a_file_of_this_host_that_may_be_kept_for_ever(server):
    async with server.client.get(server.url("/")) as response:
        references = read(await response.text())

    assert len(references.found) > 15
    files = [name for name in references.found if name.startswith("assets/")]
    assert {name for name in references.found if name not in files} <= {"docs"}
    for name in files:
        async with server.client.get(server.url("/" + name)) as response:
            body = await response.read()
        assert response.status == 200, name
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Encoding"] == "gzip"
        assert len(body) > 50


def test_no_file_of_the_page_refers_to_another_host():
    own = [path for path in sorted(assets.WEB.rglob("*")) if path.suffix in {*assets.KINDS, ".html"}]
    foreign = {
        (path.name, found)
        for path in own
        for found in re.findall(r"""(?:https?:)?//[\w.-]+\.\w+[^\s"'`)]*""", path.read_text(encoding="utf-8"))
        if not found.startswith("http://www.w3.org/")  # names of namespaces, which nobody fetches
    }

    assert len(own) > 30
    assert foreign == set()


def test_the_page_has_nothing_inline_and_the_policy_allows_nothing_inline_but_the_library_s_own_style_sheets():
    page = assets.load("sample")
    references = read(page.html.decode())
    directives = {name: values.split() for name, _, values in (one.partition(" ") for one in page.csp.split("; "))}

    assert references.inline == []
    assert directives["default-src"] == ["'none'"]
    assert directives["script-src"] == ["'self'"]
    assert directives["connect-src"] == ["'self'"]
    assert "unsafe" not in page.csp
    assert directives["style-src"][0] == "'self'"
    assert all(value.startswith("'sha256-") for value in directives["style-src"][1:])
    assert not re.search(r"https?:", page.csp)


def test_an_address_changes_with_the_content_of_any_file(tmp_path, monkeypatch):
    copy = tmp_path / "web"
    for path in assets.WEB.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(assets.WEB)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    monkeypatch.setattr(assets, "WEB", copy)
    before = assets.load.__wrapped__("sample")
    with (copy / "js/format.js").open("a") as file:
        file.write("// more\n")
    after = assets.load.__wrapped__("sample")

    assert set(before.assets).isdisjoint(after.assets)
    assert before.plotly_url == after.plotly_url
    assert before.html != after.html


async def test_an_address_of_another_version_is_not_answered_with_this_one(server):
    async with server.client.get(server.url("/assets/000000000000/js/main.js")) as response:
        body = await response.json()

    assert (response.status, body["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", ["../config.py", "js/../../config.py", "%2e%2e/config.py", "index.html", "docs.html"])
async def test_nothing_outside_of_the_page_s_files_is_served(server, name):
    version = next(iter(assets.load("fake").assets)).split("/")[0]
    async with server.client.get(server.url(f"/assets/{version}/{name}")) as response:
        assert response.status == 404


async def test_a_client_without_gzip_gets_the_same_bytes_unpacked(server):
    name = next(name for name in assets.load("fake").assets if name.endswith("js/main.js"))
    url = server.url("/assets/" + name)
    async with server.client.get(url, headers={"Accept-Encoding": "identity"}) as response:
        plain = await response.read()

    assert "Content-Encoding" not in response.headers
    assert response.headers["Vary"] == "Accept-Encoding"
    assert plain == (assets.WEB / "js/main.js").read_bytes()
    assert plain == gzip.decompress(assets.load("fake").assets[name].packed)


async def test_the_chart_library_is_the_installed_wheel_s(server):
    page = assets.load("fake")
    async with server.client.get(server.url(f"/assets/{page.plotly_url}")) as response:
        body = await response.read()

    assert response.status == 200
    assert body == page.plotly.read_bytes()
    assert b"plotly.js v" in body[:200]


def test_the_modules_of_the_first_view_are_announced_and_those_of_later_views_are_not():
    files = {str(path.relative_to(assets.WEB)): path.read_bytes() for path in assets.WEB.rglob("*.js")}
    first = assets.closure(files, assets.ENTRY)

    assert "js/views/watchlist.js" in first
    assert "js/i18n.js" in first
    assert not any(name.startswith(("js/charts/", "js/analyzer/", "js/scan/")) for name in first)


def test_a_module_that_imports_what_is_not_there_is_an_error():
    with pytest.raises(KeyError, match=r"js/a\.js imports lib/b\.js"):
        assets.closure({"js/a.js": b'import { x } from "../lib/b.js";\n'}, "js/a.js")


def test_the_library_s_style_sheets_are_found():
    text = """x=1;e.textContent='.map{font:12px}',document.head.appendChild(e)"""

    assert assets.style_hashes(text) == [
        "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",  # of nothing
        "'sha256-8CEzjrZ/HSjx1JhQuGsrm7LnzS2445vDvvSZVYRQSJI='",
    ]


def test_every_module_can_be_reached_from_the_first():
    """A file that nothing imports is dead."""
    files = {
        path.relative_to(assets.WEB).as_posix(): path.read_text(encoding="utf-8")
        for path in Path(assets.WEB).rglob("*.js")
    }
    reached, queue = set(), [assets.ENTRY, "js/early.js"]
    while queue:
        name = queue.pop()
        if name in reached:
            continue
        reached.add(name)
        queue += list(assets.imported(name, files[name].encode()))
        folder = Path(name).parent
        queue += [(folder / found).as_posix() for found in re.findall(r'import\("\./([^"]+)"\)', files[name])]

    assert reached == set(files)
