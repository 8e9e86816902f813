"""Recipes as text: YAML 1.2 numbers and booleans, no duplicate keys, faults with a line number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from presight.errors import PresightError


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema on PyYAML: ``1e6`` is a number, ``no`` and ``on`` are words, ``1_000`` is 1000."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 — the attribute PyYAML reads


_FLOAT = re.compile(
    r"[-+]?(\d[\d_]*)?\.?\d[\d_]*([eE][-+]?\d+)?|[-+]?\d[\d_]*\.([eE][-+]?\d+)?|[-+]?\.inf|\.nan", re.I
)
_INT = re.compile(r"[-+]?\d[\d_]*")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), [*"tTfF"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(rf"^({_INT.pattern})$"), [*"-+0123456789"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(rf"^({_FLOAT.pattern})$", re.I), [*"-+.0123456789"]
)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node).replace("_", ""))


def _number(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node).replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
        name = loader.construct_object(key)
        if name in seen:
            line = key.start_mark.line + 1
            raise PresightError(f"{key.start_mark.name}, line {line}", f"{name!r} is given twice", "keep one of them")
        seen.add(name)
    return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse(text: str, name: str = "value") -> Any:
    """The value that a YAML text stands for.

    Raises:
        PresightError: not YAML, with the line.
    """
    try:
        loader = _Loader(text)
        loader.name = name
        return loader.get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a number of thousands of digits is no YAML error
        mark = getattr(error, "problem_mark", None)
        where = f"{name}, line {mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise PresightError(where, f"is not YAML ({problem})", "check quotes and indentation") from error


def read(path: Path) -> Any:
    """The value in a YAML file.

    Raises:
        PresightError: no such file, not readable, not YAML.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise PresightError(str(path), f"cannot be read ({error})", "give a readable YAML file") from error
