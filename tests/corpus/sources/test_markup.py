import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.sources import markup
from corpus.sources.markup import HIDDEN, HIDDEN_CLASSES, PARAGRAPHS, SEPARATORS, article, page, scripture


def test_page_keeps_paragraphs_and_code_and_drops_the_way_to_other_pages():
    source = """<!DOCTYPE html><html><head><title>no</title></head><body>
    <!-- <p>no</p> --><script>if (a<b) { no() }</script>
    <ul class="docnav top"><li>no</li><ul><li>no</li></ul><li>no</li></ul>
    <div class="header"><p>no<div>no</div><br/></div>
    <h1>A   title</h1><p>One &amp; two<br>three
    four</p><pre>if x &lt; y:
    z  = 1</pre><table><tr><td>a</td><td title="x > y">b</td></tr></table>
    <NAV>no</NAV><ul><li>item</li></ul>end</body></html>"""
    assert page(source) == "A title\n\nOne & two\nthree four\n\nif x < y:\n    z  = 1\n\na b\n\nitem\n\nend"


@pytest.mark.parametrize(
    "source", ["", "<", "<p", "</p>", "a < b", "<pre>", '<p class="x', "<!--", "<script>x", "&#x;"]
)
def test_page_takes_what_is_broken(source):
    assert isinstance(page(source), str)


def test_page_is_not_slow_on_long_blanks_and_quotes():
    assert page("<pre>" + " " * 300_000 + "x</pre>").endswith("x")
    assert page("<p a='" + "x" * 100_000 + "<b" * 1000)


class Slow(HTMLParser):
    """The same text by the parser of the standard library and a stack of elements."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.stack, self.parts = [], []
        self.feed(source)
        self.close()
        lines = [line.rstrip() for line in "".join(self.parts).split("\n")]
        self.text = re.sub(r"\n{3,}", "\n\n", re.sub(r"\n (?=\S)", "\n", "\n".join(lines))).strip()

    def shown(self):
        return not any(hidden for _, hidden in self.stack)

    def handle_starttag(self, tag, attrs):
        hidden = tag in HIDDEN or bool(HIDDEN_CLASSES & set((dict(attrs).get("class") or "").split()))
        if tag not in ("br", "hr"):
            self.stack.append((tag, hidden))
        if self.shown():
            self.parts.append("\n\n" if tag in PARAGRAPHS else SEPARATORS.get(tag, ""))

    def handle_endtag(self, tag):
        shown = self.shown()
        self.stack.pop()
        if shown and tag in PARAGRAPHS:
            self.parts.append("\n\n")

    def handle_data(self, data):
        if self.shown():
            verbatim = any(tag == "pre" for tag, _ in self.stack)
            self.parts.append(data if verbatim else re.sub(r"\s+", " ", data))


words = st.text("ab &<\n\t é", max_size=12).map(html.escape)
classes = st.sampled_from(["", "", ' class="docnav top"', " class='text'", ' class="toc"', ' id="a>b"'])
tree = st.recursive(
    words | st.sampled_from(["<br>", "<hr>"]),
    lambda inner: st.builds(
        lambda tag, about, parts: f"<{tag}{about}>{''.join(parts)}</{tag}>",
        st.sampled_from(["p", "div", "b", "li", "ul", "pre", "td", "nav", "span", "h2"]),
        classes,
        st.lists(inner, max_size=4),
    ),
    max_leaves=20,
)


@given(tree)
def test_page_agrees_with_its_slow_twin(source):
    if source.count("<pre") <= 1:  # nested, they have no meaning
        assert page(source) == Slow(source).text


def test_article():
    source = """{{Infobox|a={{b|c}}|d=[[e]]}}
'''Ants''' are [[insect|insects]] of the [[family (biology)]].<ref>{{c}}</ref> They ''work''<!-- no -->.<ref n="x" />

[[File:ant.jpg|thumb|An [[ant]] at work]]
{| class="wikitable"
| a || {| inner |}
|}
== Life ==
* [http://example.org They live] in nests ({{lang|de|Nest}}).
:Some &amp; many&nbsp;more.

== See also ==
* [[Bees]]
[[Category:Insects]]"""
    assert article(source) == (
        "Ants are insects of the family (biology). They work.\n\n\nLife\n\nThey live in nests.\nSome & many more."
    ).replace("\n\n\n", "\n\n")


@pytest.mark.parametrize("source", ["{{" * 500, "{|" * 500, "[[" * 500, "<ref" * 500, "'''", "== x"])
def test_article_takes_what_is_broken(source):
    assert isinstance(article(source), str)


def test_scripture():
    source = (
        '<title type="main">Genesis</title><div sID="a" type="x-p"/><verse sID="1"/><w lemma="strong:H7225">In the'
        '</w> <w>beginning</w><note type="x"><reference>1:1</reference>no</note>, God<note>no</note>created &amp; saw.'
        '<verse eID="1"/><lg><l level="1">A line,</l><l>another.</l></lg>'
    )
    assert scripture(source) == "Genesis\n\nIn the beginning, God created & saw.\n\nA line,\nanother."


def test_nothing_hidden_is_shown():
    assert not HIDDEN & (PARAGRAPHS | SEPARATORS.keys())
    assert markup.page("<nav/>shown") == "shown"
