"""Markup in, reading text out: HTML pages, wikitext, OSIS scripture."""

from __future__ import annotations

import html
import re

HIDDEN = {"head", "nav", "footer", "select", "button", "svg", "noscript"}
# what generators of manuals call their ways to other pages
HIDDEN_CLASSES = {"docnav", "toc", "header", "nav-panel", "buttons", "book-navigation", "waystouse", "contents"}
PARAGRAPHS = {"p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "blockquote", "pre", "hr"}
SEPARATORS = dict.fromkeys(("br", "li", "dt", "dd", "tr"), "\n") | {"td": " ", "th": " "}

UNREAD = re.compile(r"(?is)<!--.*?-->|<!\[CDATA\[|\]\]>|<[!?][^>]*>|<(script|style)\b.*?</\1\s*>")
TAG = re.compile(r"""<(/?)([a-zA-Z][\w:-]*+)((?:[^<>"']++|"[^"]*+"|'[^']*+')*+)>""")
CLASS = re.compile(r"""\bclass\s*=\s*["']?([^"'>]*)""")
SPACE = re.compile(r"\s+")

TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
TABLE = re.compile(r"\{\|(?:(?!\{\|).)*?\|\}", re.DOTALL)
PICTURE = re.compile(r"\[\[(?:File|Image|Category):(?:[^\[\]]|\[\[[^\[\]]*\]\])*\]\]", re.IGNORECASE)
LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
ADDRESS = re.compile(r"\[(?:https?:)?//[^\s\]]*\s?([^\]]*)\]")
HEADING = re.compile(r"(?m)^(=+)\s*(.*?)\s*\1\s*$")
APPENDICES = re.compile(r"(?m)^==\s*(?:See also|References|External links|Further reading|Notes|Footnotes)\s*==")


def page(source: str) -> str:
    """An HTML page as paragraphs, without its navigation; what is ``<pre>`` keeps its lines."""
    parts: list[str] = []
    hidden, depth = "", 0  # inside the element of that name, so many of them deep
    verbatim, last = False, 0

    def show(text: str) -> None:
        parts.append(html.unescape(text) if verbatim else SPACE.sub(" ", html.unescape(text)))

    source = UNREAD.sub("", source)
    # a scan by expression, for it reads a manual of 80 MB in seconds; what programs write needs no forgiving parser
    for found in TAG.finditer(source):
        if not hidden:
            show(source[last : found.start()])
        last = found.end()
        closes, tag, rest = found[1] == "/", found[2].lower(), found[3]
        if hidden:
            depth += (tag == hidden) * (-1 if closes else not rest.endswith("/"))
            hidden = hidden if depth else ""
        elif not closes and (tag in HIDDEN or HIDDEN_CLASSES.intersection(_classes(rest))):
            hidden, depth = ("", 0) if rest.endswith("/") else (tag, 1)
        elif tag in PARAGRAPHS:
            verbatim = (verbatim or tag == "pre") and not (closes and tag == "pre")
            parts.append("\n\n")
        elif not closes and tag in SEPARATORS:
            parts.append(SEPARATORS[tag])
    if not hidden:
        show(source[last:])
    return _tidy("".join(parts))


def _classes(attributes: str) -> list[str]:
    found = CLASS.search(attributes)
    return found[1].split() if found else []


def article(source: str) -> str:
    """Wikitext without templates, tables, pictures, notes and the lists of links at its end."""
    text = APPENDICES.split(source, maxsplit=1)[0]
    text = re.sub(r"(?s)<!--.*?-->", "", text)
    text = re.sub(r"(?is)<(ref|gallery|timeline)\b(?:[^<>]*/>|[^<>]*>.*?</\1\s*>)", " ", text)
    for pattern in (TEMPLATE, TABLE, PICTURE):
        while (inner := pattern.sub("", text)) != text:  # they nest: the innermost go first
            text = inner
    text = ADDRESS.sub(r"\1", LINK.sub(r"\1", text))
    text = re.sub(r"'{2,}|__[A-Z]+__", "", HEADING.sub(r"\n\2\n", text))
    text = re.sub(r"(?m)^[*#:;]+\s*", "", re.sub(r"<[^<>]*>", "", text))
    return _prose(re.sub(r"\(\s*[;,]?\s*\)", "", html.unescape(text)).replace("\xa0", " "))


def scripture(source: str) -> str:
    """OSIS without notes and references to other places; a title or paragraph starts a line."""
    text = re.sub(r"(?s)<(note|reference)\b[^>]*?(?<!/)>.*?</\1>", " ", source)
    text = re.sub(r"<(?:title|div|/title|lg|l)\b[^>]*>", "\n", text)
    return _prose(html.unescape(re.sub(r"<[^>]+>", "", text)))


def _prose(text: str) -> str:
    """Close the gaps that what was taken out has left."""
    return _tidy(re.sub(r" +([.,;:!?)’”])", r"\1", re.sub(r" {2,}", " ", text)))


def _tidy(text: str) -> str:
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    text = re.sub(r"\n (?=\S)", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()
