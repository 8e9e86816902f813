"""Tables that are searched and sorted, in a real browser; what stands there without its script."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presight import page

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline';
style-src 'unsafe-inline'"><title>x</title><style>{style}</style></head><body>{body}<script>{script}</script></body>"""
ROWS = "[...document.querySelectorAll('tbody tr')]"
SHOWN = f"{ROWS}.filter(row => row.checkVisibility()).map(row => row.id || row.cells[0].textContent)"
SEARCH, COUNT = "input[type=search]", "document.querySelector('output').textContent"
TREE = ["oak", "elm", "ash", "yew", "fir", "box", "bay", "fig"]


def laid_out(folder, body):
    (folder / "page.html").write_text(PAGE.format(style=page.style(), script=page.script(), body=body))
    return (folder / "page.html").as_uri()


def sort_by(browser, column):
    return browser.ask(f"document.querySelectorAll('th button')[{column}].click(); {SHOWN}")


cells = st.lists(st.sampled_from(["a", "b c", "−1.5"]), min_size=2, max_size=2)
listed = st.lists(st.tuples(st.sampled_from(["", "open", "task"]), cells), max_size=40)


@given(listed, st.booleans())
def test_a_table_stands_whole_without_its_script(rows, fold):
    made = page.table(["x", "y"], rows, fold)
    found = re.findall(r'<tr(?: class="(\w+)")?>((?:<td>[^<]*</td>)+)</tr>', made)
    assert [(style, re.findall("<td>([^<]*)</td>", inner)) for style, inner in found] == rows
    count = sum(style != "task" for style, _ in rows)
    assert ('<table class="long">' in made) == (count >= page.LONG)
    assert made.startswith("<details") == (fold and count > page.FOLD)
    assert (f"<summary>{count} rows</summary>" in made) == (fold and count > page.FOLD)
    assert "hidden" not in made


@pytest.mark.browser
def test_words_leave_the_rows_that_hold_all_of_them(browser, tmp_path):
    gains = ["−3", "−2", "−1", "+0", "+1", "+2", "+3", "+4"]
    rows = [("open" if index % 2 else "", [TREE[index], gain]) for index, gain in enumerate(gains)]
    browser.open(laid_out(tmp_path, page.table(["tree", "gain"], rows)), 800)
    assert browser.ask(SHOWN) == TREE
    for query, expected in {
        "OAK": ["oak"],
        "-oak": TREE[1:],
        "a": ["oak", "ash", "bay"],
        "a -y -": ["oak", "ash"],
        "-3": ["oak"],  # a minus before a digit is a minus
        "−2": ["elm"],
        "b x": ["box"],
        "bo  X ": ["box"],
        "nothing": [],
    }.items():
        browser.write_in(SEARCH, query)
        assert browser.ask(SHOWN) == expected, query
        assert browser.ask(COUNT) == f"{len(expected)} of 8 rows"
    browser.write_in(SEARCH, "")
    assert browser.ask(SHOWN) == TREE
    assert browser.ask(COUNT) == ""
    assert browser.ask("document.querySelector('output').getAttribute('aria-live')") == "polite"
    assert browser.ask(f"document.querySelector('[type=checkbox]').click(); {SHOWN}") == TREE[::2]
    browser.write_in(SEARCH, "a")
    assert browser.ask(SHOWN) == ["oak", "ash", "bay"]
    assert browser.ask(COUNT) == "3 of 8 rows"
    assert browser.complaints() == []


@pytest.mark.browser
def test_a_filter_leaves_what_a_slow_one_leaves(browser, tmp_path):
    order = random.Random(3)
    letters = "ab−1."
    rows = [["".join(order.choices(letters, k=3)) for _ in range(2)] for _ in range(30)]
    browser.open(laid_out(tmp_path, page.table(["x", "y"], [("", row) for row in rows])), 800)
    hits = 0
    for _ in range(60):
        words = ["".join(order.choices("-ab1", k=order.randint(1, 2))) for _ in range(order.randint(1, 2))]
        expected = []
        for index, row in enumerate(rows):
            fits = True
            for word in words:
                without = len(word) > 1 and word[0] == "-" and not word[1].isdigit()
                found = any((word[1:] if without else word) in cell.replace("−", "-") for cell in row)
                fits = fits and (word == "-" or found != without)
            expected += [index] * fits
        browser.write_in(SEARCH, " ".join(words))
        assert browser.ask(f"{ROWS}.flatMap((row, index) => row.hidden ? [] : [index])") == expected, words
        hits += 0 < len(expected) < len(rows)
    assert hits > 20


AROUND = [
    ("", ""),
    ("", "%"),
    ("[", ", +9,999.5]"),
    ("", " × 600"),
    ("", " (0.1 to 3)"),
    ("", "; 5 seeds"),
    ("", " of 12"),
]


def written(value, order):
    """A number in one of the ways that reports write them, and what it is worth as written."""
    digits = order.choice([0, 1, 3])
    size = f"{abs(value):,.{digits}f}"
    sign = "−" if value < 0 else order.choice(["", "+"])
    before, after = order.choice(AROUND)
    return f"{before}{sign}{size}{after}", (-1 if value < 0 else 1) * float(size.replace(",", ""))


@pytest.mark.browser
def test_columns_sort_by_the_first_number_and_keep_ties_in_order(browser, tmp_path):
    order = random.Random(5)
    values = [order.choice([1, 30, 4000]) * order.uniform(-1, 1) for _ in range(60)]
    texts, worth = zip(*(written(value, order) for value in values), strict=True)
    rows = [("", [f"row {index}", text, order.choice("xyz")]) for index, text in enumerate(texts)]
    body = page.table(["name", "value", ""], rows).replace("<details", "<details open")
    browser.open(laid_out(tmp_path, body), 800)
    names = [cells[0] for _, cells in rows]
    rising = sorted(range(60), key=lambda index: worth[index])
    assert sort_by(browser, 1) == [names[index] for index in rising]
    assert browser.ask("document.querySelectorAll('th')[1].getAttribute('aria-sort')") == "ascending"
    falling = sorted(range(60), key=lambda index: -worth[index])
    assert sort_by(browser, 1) == [names[index] for index in falling]
    assert sort_by(browser, 1) == names  # as it was
    assert browser.ask("document.querySelectorAll('[aria-sort]').length") == 0
    assert sort_by(browser, 2) == [cells[0] for _, cells in sorted(rows, key=lambda row: row[1][2])]
    assert sort_by(browser, 0) == names  # row 2 before row 10


@pytest.mark.browser
def test_numbers_come_before_words_and_words_before_nothing(browser, tmp_path):
    rising = ["−1,200.5", "-4e-1", "&lt; 0.001", "0.001", "[0.5, 2]", "7", "90k", "2.05M", "7m", "3b"]
    words = ["0.5-1", "0.5-2", "2026-11-28 20:03", "2026-11-29 07:10", "layer 3", "layer 10", "none"]
    expected = [*rising, *words, ""]
    shuffled = random.Random(1).sample(expected, len(expected))
    table = page.table(["what", "value"], [("", [f"{expected.index(text)}", text]) for text in shuffled])
    browser.open(laid_out(tmp_path, table), 800)
    count = len(expected)
    assert sort_by(browser, 1) == [str(index) for index in range(count)]
    numbers, rest = range(len(rising)), range(len(rising), count - 1)
    assert sort_by(browser, 1) == [str(index) for index in [*reversed(numbers), *reversed(rest), count - 1]]


@pytest.mark.browser
def test_rows_keep_to_their_block_and_a_fold_opens_when_searched(browser, tmp_path):
    rows = []
    for block in ("images", "sounds"):
        rows.append(("task", [f"<b>{block}</b>"]))
        rows += [("open" if value % 3 else "", [f"{block[0]}{value}", f"{value}"]) for value in range(20, 0, -1)]
    browser.open(laid_out(tmp_path, page.table(["name", "value"], rows)), 800)
    fold = "document.querySelector('details').open"
    assert browser.ask(SHOWN) == []
    browser.write_in(SEARCH, "2")
    assert browser.ask(fold)
    assert browser.ask(COUNT) == "6 of 40 rows"
    assert browser.ask(SHOWN) == ["images", "i20", "i12", "i2", "sounds", "s20", "s12", "s2"]
    assert sort_by(browser, 1) == ["images", "i2", "i12", "i20", "sounds", "s2", "s12", "s20"]
    browser.write_in(SEARCH, "sound 2")  # what heads a block is said of its rows
    assert browser.ask(SHOWN) == ["sounds", "s2", "s12", "s20"]
    browser.write_in(SEARCH, "-sounds")
    assert browser.ask(SHOWN) == ["images", *(f"i{value}" for value in range(1, 21))]
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert len(browser.ask(SHOWN)) == 42
    assert not browser.ask("document.querySelector('.sift').checkVisibility()")


@pytest.mark.browser
def test_the_keyboard_reaches_all_of_it(browser, tmp_path):
    rows = [("", [name, f"{7 - index}"]) for index, name in enumerate(TREE)]
    browser.open(laid_out(tmp_path, page.table(["", "value"], rows)), 800)
    names = "({tag: document.activeElement.tagName, name: document.activeElement.getAttribute('aria-label')})"
    browser.press("Tab", 9)
    assert browser.ask(names)["tag"] == "INPUT"
    assert browser.ask(names)["name"].startswith("Filter")
    browser.press("Tab", 9)
    assert browser.ask(names) == {"tag": "BUTTON", "name": "column 1"}
    browser.press("Tab", 9)
    browser.press("Enter", 13, "\r")
    assert browser.ask(SHOWN) == TREE[::-1]
    assert browser.complaints() == []


@pytest.mark.browser
def test_short_tables_and_tables_of_other_pages_are_left_alone(browser, tmp_path):
    rows = [("", [name, "1"]) for name in TREE]
    body = page.table(["a", "b"], rows[:7]) + page.table(["a", "b"], rows).replace(' class="long"', "")
    browser.open(laid_out(tmp_path, body), 800)
    assert browser.ask("document.querySelectorAll('.sift, th button').length") == 0
    assert browser.ask("[...document.querySelectorAll('tbody')].map(body => body.rows.length)") == [7, 8]
