"""Check a built site without a network: links, anchors, and files that pages load.

``python -m experiments.site_links build/site`` lists each link to a page or an anchor that is not there, and
each script, style sheet or picture that a page would load from elsewhere. The exit code is 1 if there is one.
Addresses of other sites are not opened.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src"}
_NOT_LOADED = {"canonical", "alternate", "search", "index", "next", "prev"}  # relations of <link>
_BY_SCRIPT = {"#", "#pst-back-to-top"}


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has.

    Parameters
    ----------
    text : HTML.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif (name := _LOADED.get(tag)) in values and values.get("rel") not in _NOT_LOADED:
            self.loaded.append(values[str(name)])


def problems(site: Path) -> Iterator[str]:
    """Yield a line for each wrong link of a site.

    Parameters
    ----------
    site : folder with HTML files.
    """
    files = (path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts)  # templates
    pages = {path.resolve(): Page(path.read_text("utf-8")) for path in files}
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for address in dict.fromkeys(page.loaded):
            if urlsplit(address).netloc:
                yield f"{name}: loads {address} from elsewhere"
        for address in dict.fromkeys([*page.links, *page.loaded]):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or address in _BY_SCRIPT:
                continue
            aim = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not aim.is_file():
                yield f"{name}: links to {address}, which is not there"
            elif parts.fragment and aim in pages and unquote(parts.fragment) not in pages[aim].anchors:
                yield f"{name}: links to {address}, and that page has no such anchor"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if a link is wrong.

    Parameters
    ----------
    arguments : words of the command line; None takes those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.site_links", description=__doc__)
    parser.add_argument("site", type=Path, help="folder of the built site")
    site = parser.parse_args(arguments).site
    if not any(site.rglob("*.html")):
        print(f"Error: {site} has no page. make docs-site builds the site", file=sys.stderr)
        return 1
    found = list(problems(site))
    print("\n".join(found) or f"{site}: links and anchors lead to pages that are there.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
