"""Every edge of the graph is an edge between jobs, and no other."""

from hypothesis import given, settings
from hypothesis import strategies as st
from toy_jobs import Parts, Word

from presight.store import Store
from slurm.jobs import Limits, Place, Task, arrange, tasks

STAGE = Word(word="any")


@st.composite
def graphs(draw):
    """Tasks of a few names, each standing on some of those of earlier names."""
    made = []
    for level in range(draw(st.integers(1, 4))):
        earlier = [task.key for task in made]
        count = draw(st.integers(1, 5))
        pattern = draw(st.sampled_from(["any", "same", "each"]))
        shared = draw(st.sets(st.sampled_from(earlier), max_size=4)) if earlier else set()
        last = [key for key in earlier if key.startswith(f"s{level - 1}.")]
        for index in range(count):
            parents = set(shared)
            if pattern == "any" and earlier:
                parents = draw(st.sets(st.sampled_from(earlier), max_size=4))
            elif pattern == "each" and last:
                parents |= {last[index % len(last)]}
            made.append(
                Task(f"s{level}.{index}", f"s{level}", f"s{level}[{index}]", STAGE, None, tuple(sorted(parents)))
            )
    return made


def edges(jobs, places):
    """Pairs of places between which a job has an edge, by brute force over what SLURM would make of it."""
    found = set()
    everywhere = set(places.values())
    for number, job in enumerate(jobs):
        for index in job.tasks:
            child = Place(f"#{number}", index)
            for after in job.afterok:
                whole = {place for place in everywhere if place.job == after.job}
                found |= {(place, child) for place in (whole if after.index is None else {after})}
            found |= {(Place(after, index), child) for after in job.aftercorr}
    return found


@settings(max_examples=300, deadline=None)
@given(graphs(), st.integers(1, 6), st.booleans(), st.data())
def test_jobs_have_exactly_the_edges_of_the_graph(made, largest, corresponding, data):
    cut = data.draw(st.integers(0, len(made)))
    live = {task.key: Place("7", number) for number, task in enumerate(made[:cut])}
    jobs = arrange(made[cut:], live, Limits(largest, corresponding))
    places = dict(live)
    for number, job in enumerate(jobs):
        places |= job.places(f"#{number}")
        assert all(place.job[0] != "#" or int(place.job[1:]) < number for place in job.afterok)
        assert len({task.name for task in job.tasks.values()}) == 1
        assert not job.aftercorr or corresponding
        assert len(job.tasks) <= max(largest, len(made))
        if not job.aftercorr:
            assert len(job.tasks) <= largest
        assert job.array == (len(job.tasks) > 1)
    assert sorted(places) == sorted(task.key for task in made)
    assert len(set(places.values())) == len(places)
    wanted = {(places[parent], places[task.key]) for task in made[cut:] for parent in task.parents}
    # an array that was submitted before is named task by task, so its other tasks never count
    assert edges(jobs, places) == wanted


def test_a_grid_is_one_array_a_stage_with_edges_by_index():
    mixes = [Task(f"m{i}", "mix", "", STAGE) for i in range(100)]
    models = [Task(f"l{i}.{s}", "lm", "", STAGE, None, (f"m{i}",)) for i in range(100) for s in range(2)]
    scores = [Task(f"s{i}.{s}", "scores", "", STAGE, None, (f"l{i}.{s}",)) for i in range(100) for s in range(2)]
    end = Task("end", "report", "", STAGE, None, tuple(task.key for task in scores))
    jobs = arrange([*mixes, *models, *scores, end], {}, Limits(1001))
    assert [(job.name, len(job.tasks), job.aftercorr) for job in jobs] == [
        ("mix", 100, ()),
        ("lm", 100, ("#0",)),
        ("lm", 100, ("#0",)),
        ("scores", 100, ("#1",)),
        ("scores", 100, ("#2",)),
        ("report", 1, ()),
    ]
    assert jobs[-1].dependency({"#3": "31", "#4": "32"}) == "afterok:31:32"
    assert jobs[1].dependency({"#0": "12"}) == "aftercorr:12"
    assert jobs[0].dependency({}) == ""


def test_shards_are_an_array_cut_at_the_sites_limit_and_the_end_waits_for_all(tmp_path):
    store = Store(tmp_path)
    first, parts = Word(word="a"), Parts(word="b", count=11, before=(Word(word="a"),))
    done = store.work(parts) / "shards" / "00003"
    done.parent.mkdir(parents=True)
    done.touch()
    titles = {first.fingerprint: "first", parts.fingerprint: "parts[init=0]"}
    made = tasks([first, parts], store, titles)
    assert [task.shard for task in made] == [None, 0, 1, 2, *range(4, 11), None]
    jobs = arrange(made, {}, Limits(array=8))
    assert [len(job.tasks) for job in jobs] == [1, 8, 2, 1]
    assert [task.shard for task in jobs[2].tasks.values()] == [9, 10]
    assert jobs[3].afterok == (Place("#1"), Place("#2"))
    assert jobs[1].afterok == jobs[2].afterok == (Place("#0"),)
    assert jobs[1].tasks[3].key == f"{parts.fingerprint}.4"
