from hypothesis import given
from hypothesis import strategies as st

from slurm.events import History, read

LINES = """submitted 17_3 0 1000
began 17_3 0 1010 node1
ended 17_3 0 1100 85 40
began 17_3 1 1200 node2
cut 17_3 1 1300
ended 17_3 1 1301 85 12
began 17_3 2 1400 node3
"""


def test_a_history_is_read_from_its_lines(tmp_path):
    path = tmp_path / "f"
    assert read(path) == History()
    path.write_text(LINES)
    assert read(path) == History(3, "17_3", 1400, "node3", None, 40)
    path.write_text(LINES + "ended 17_3 2 1500 1\n")
    assert read(path).code == 1
    path.write_text(LINES + "ended 17_3 2 1500 85 3\nfollowed 17_3 0 1500 18_3\nfollowed 18_3 0 1600 21_3\n")
    assert read(path).newest("17_3") == "21_3"
    assert read(path).newest("5") == "5"


@given(st.integers(0, len(LINES)))
def test_half_a_line_is_none(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("events") / "f"
    path.write_text(LINES[:cut])
    whole = LINES[:cut].count("began") if cut == len(LINES) or LINES[:cut].endswith("\n") else None
    assert read(path).attempts <= 3
    if whole is not None:
        assert read(path).attempts == whole
