"""The page while it is written: every plot has a place of its own."""

import re

from eval.report.evidence import Evidence
from eval.report.figures import Plot, slug
from eval.report.sheet import Sheet


def test_plots_of_like_names_are_drawn_each_in_its_own_place():
    groups = ["A+", "A-", "a 2", "A", "日本", "中国"]
    plots = [Plot(slug("looking", group), group, 100, f"[{index}]") for index, group in enumerate(groups)]
    sheet = Sheet(Evidence("", (), (), (), {}))
    written = sheet.figure(plots[:3], "") + sheet.figure(plots[3:], "")
    places = re.findall('<div class="plot" id="([^"]*)" role="img" aria-label="([^"]*)"', written)
    data = dict(re.findall(r'data-plot="([^"]*)">\[(\d)\]<', written))
    assert len({place for place, _ in places}) == len(groups) == sheet.plots
    assert [(label, data[place]) for place, label in places] == [(each, f"{at}") for at, each in enumerate(groups)]
    assert places[0][0] == "looking-a"  # the first keeps its name
