import re

import pytest

from corpus.sample import READERS
from presight.errors import PresightError
from presight.packages import packages, role, roles


def test_every_role_names_known_packages_and_digests():
    assert len(roles()) == 9
    for name, entry in roles().items():
        assert entry.name == name
        assert entry.sources.keys() | entry.local.keys() <= packages().keys()
        assert len(entry.seen) == len(entry.digests) > 0
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in entry.digests)
        assert entry.bytes > 0
        if name.startswith("text."):
            assert {source.reader for source in entry.sources.values()} <= READERS.keys()


def test_every_package_has_what_its_client_needs():
    for package in packages().values():
        assert package.registry in ("pypi", "debian", "npm", "local")
        assert package.versions
        assert all(isinstance(version, str) for version in package.versions)
        assert package.licence
        assert (package.bytes == 0) == (package.registry == "local")


def test_no_role_shares_a_package():
    used = [name for entry in roles().values() for name in (*entry.sources, *entry.local)]
    assert len(used) == len(set(used))
    assert set(used) == packages().keys()


def test_local_source_and_unknown_role():
    assert role("text.code").source("python").reader == "python"
    with pytest.raises(PresightError, match=r"did you mean text\.web"):
        role("text.wbe")
