"""Shared by all tests: one thread, so that last digits agree, and one tiny experiment."""

import os

import pytest
from hypothesis import settings
from toy_browser import Browser, chromium
from toy_experiment import ENVIRONMENT, spawn, tiny

settings.register_profile("patient", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("patient" if "CI" not in os.environ else "ci")

os.environ.update({name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"})


def pytest_configure(config):
    config.addinivalue_line("markers", "recipe: makes a whole recipe through the command line")


@pytest.fixture(scope="session", name="tiny")
def tiny_experiment(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("tiny") / "store")


@pytest.fixture(scope="session")
def lm(tiny, tmp_path_factory):
    """The folder of a trained model, made in a process of its own; nothing was compiled for it."""
    extensions = tmp_path_factory.mktemp("extensions")
    done = spawn((tiny.store, tiny.train), TORCH_EXTENSIONS_DIR=str(extensions))
    assert done.returncode == 0, done.stderr
    assert not list(extensions.iterdir())
    return tiny.path(tiny.train)


@pytest.fixture
def browser(tmp_path):
    """A headless Chromium; without one the test is skipped."""
    if chromium() is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on PATH")
    found = Browser(chromium(), tmp_path / "profile")
    yield found
    found.close()
