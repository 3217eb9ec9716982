"""Whatever is wrong with a file: no value of a private key is in what is told about it."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.config.connections import load_config
from services.runtime.config.document import PRIVATE_KEYS
from services.runtime.config.errors import ConfigError
from services.runtime.config.file import load_policy, public_text

SECRET = "s3cr3t-4b1d"

# Values that hold the secret in every shape that a file can have.
secret_texts = st.sampled_from(
    [SECRET, f"http://u:{SECRET}@h:x/", f"${{NONE}}{SECRET}", f"${{{SECRET}}}", f"a\n{SECRET}\0", f"={SECRET}"]
)
keys = st.one_of(
    st.sampled_from(["command", "args", "url", "env", "headers", "oauth", "client_secret", "token_url", "cwd", "x y"]),
    st.text(max_size=12),
)
values: st.SearchStrategy[Any] = st.recursive(
    secret_texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
private = st.dictionaries(st.sampled_from(sorted(PRIVATE_KEYS)), values, max_size=4)
# What else may be wrong beside: unknown keys with the secret below them, on each level.
unknown = st.dictionaries(keys, values, max_size=2)


def told(load: Callable[[Path], object], path: Path) -> str:
    try:
        return repr(load(path))
    except ConfigError as error:
        return str(error)


@given(private=private, unknown=unknown, beside=unknown, as_json=st.booleans())
def test_no_error_and_no_repr_holds_a_private_value(
    private: dict[str, Any], unknown: dict[str, Any], beside: dict[str, Any], as_json: bool
) -> None:
    data = {"servers": {"a": {"tools": {"t": unknown}, **beside, **private}}, **beside}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("c.json" if as_json else "c.yaml")
        path.write_text(json.dumps(data) if as_json else yaml.safe_dump(data))
        for load in (load_policy, lambda path: load_config(path, {}), public_text):
            assert SECRET not in told(load, path)


@given(private)
def test_the_policy_does_not_look_into_private_keys(private: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_text(yaml.safe_dump({"servers": {"a": private}}))
        assert load_policy(path).model_dump(exclude_unset=True) == {"servers": {"a": {"alternates": ()}}}


@pytest.mark.parametrize(
    "line",
    [
        f"client_secret: *{SECRET}",
        f"client_secret: !{SECRET}",
        f"client_secret: !{SECRET}!x y",
        f"client_secret: '{SECRET}",
        f'client_secret: "{SECRET}\\q"',
        f"client_secret: %{SECRET}",
        f"client_secret: @{SECRET}",
        f"client_secret: !!int {SECRET}",
        f"client_secret: !!float {SECRET}",
        f"client_secret: !!bool {SECRET}",
        f"client_secret: !!binary {SECRET}",
        f"client_secret: {{{SECRET}: {{}}",
        f"client_secret: {SECRET}: x",
        f"{{client_secret:{SECRET}, url:http://{SECRET}/}}",
        f"client_secret:{SECRET}",
        f"&{SECRET} x: &{SECRET} y: *{SECRET}",
        f"<<: {SECRET}",
        f"? [{SECRET}]\n      : x",
        f"{SECRET}=: 1\n      {SECRET}=: 2",
    ],
)
def test_yaml_that_cannot_be_read_is_not_cited(tmp_path: Path, line: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"servers:\n  a:\n    url: http://h/\n    oauth:\n      {line}\n")
    text = told(lambda path: load_config(path, {}), path)
    assert SECRET not in text
    assert text.startswith(f"{path}: ")
    path.write_text(f"servers:\n  a:\n      {line}\n")
    assert SECRET not in told(load_policy, path)
