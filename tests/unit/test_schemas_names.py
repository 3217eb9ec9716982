"""Names of servers, versions and instances: what may travel in a subject."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import validator_for
from pydantic import TypeAdapter, ValidationError

from bus_schemas import subjects
from bus_schemas.names import InstanceId, ServerName, Version, semantic_version, server_name, version_token

ALLOWED = string.ascii_letters + string.digits + "_-"
ONE_TOKEN = re.compile(r"[^\s.*>]+")

allowed_names = st.text(ALLOWED, min_size=1, max_size=64).filter(lambda name: "__" not in name)
versions = st.from_regex(r"\A(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]{0,3})){2}(-[a-z-][a-z0-9-]{0,9}(\.[a-z]{1,3})?)?\Z")

REFUSED_NAMES = {
    "empty": "",
    "double underscore": "a__b",
    "only underscores": "__",
    "dot": "a.b",
    "star": "*",
    "full wildcard": "a>",
    "space": "a b",
    "65 characters": "a" * 65,
    "newline at the end": "a\n",
    "digit of another alphabet": "server٣",
    "letter of another alphabet": "sérver",
    "dollar": "$SRV",
    "slash": "a/b",
    "zero byte": "a\0",
}

# The two lists that semver.org links to (regex101.com/r/vkijKf/1).
VALID_VERSIONS = """
0.0.4 1.2.3 10.20.30 1.1.2-prerelease+meta 1.1.2+meta 1.1.2+meta-valid 1.0.0-alpha 1.0.0-beta 1.0.0-alpha.beta
1.0.0-alpha.beta.1 1.0.0-alpha.1 1.0.0-alpha0.valid 1.0.0-alpha.0valid
1.0.0-alpha-a.b-c-somethinglong+build.1-aef.1-its-okay 1.0.0-rc.1+build.1 2.0.0-rc.1+build.123 1.2.3-beta
10.2.3-DEV-SNAPSHOT 1.2.3-SNAPSHOT-123 1.0.0 2.0.0 1.1.7 2.0.0+build.1848 2.0.1-alpha.1227 1.0.0-alpha+beta
1.2.3----RC-SNAPSHOT.12.9.1--.12+788 1.2.3----R-S.12.9.1--.12+meta 1.2.3----RC-SNAPSHOT.12.9.1--.12
1.0.0+0.build.1-rc.10000aaa-kk-0.1 99999999999999999999999.999999999999999999.99999999999999999 1.0.0-0A.is.legal
"""
INVALID_VERSIONS = """
1 1.2 1.2.3-0123 1.2.3-0123.0123 1.1.2+.123 +invalid -invalid -invalid+invalid -invalid.01 alpha alpha.beta
alpha.beta.1 alpha.1 alpha+beta alpha_beta alpha. alpha.. beta 1.0.0-alpha_beta -alpha. 1.0.0-alpha.. 1.0.0-alpha..1
1.0.0-alpha...1 1.0.0-alpha....1 01.1.1 1.01.1 1.1.01 1.2 1.2.3.DEV 1.2-SNAPSHOT 1.2.31.2.3----RC-SNAPSHOT.12.09.1
1.2-RC-SNAPSHOT -1.0.3-gamma+b7718 +justmeta 9.8.7+meta+meta 9.8.7-whatever+meta+meta
99999999999999999999999.999999999999999999.99999999999999999----RC-SNAPSHOT.12.09.1
"""


@given(allowed_names)
def test_every_allowed_name_is_one_token_of_a_subject(name: str) -> None:
    assert server_name(name) == name
    assert ONE_TOKEN.fullmatch(name)
    assert subjects.cancel(name).split(".") == ["mcp", "v1", "cancel", name]


@pytest.mark.parametrize("name", REFUSED_NAMES.values(), ids=REFUSED_NAMES.keys())
def test_a_name_that_could_not_be_one_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a server's name is"):
        server_name(name)


@given(st.text(string.printable + "éü٣", max_size=70) | st.text(ALLOWED, max_size=70))
def test_the_published_schema_of_a_name_says_what_the_check_says(name: str) -> None:
    adapter = TypeAdapter(ServerName)
    assert validator_for(adapter.json_schema()).is_valid(name) == accepts(adapter, name)


@pytest.mark.parametrize("version", VALID_VERSIONS.split())
def test_a_semantic_version_is_accepted(version: str) -> None:
    assert semantic_version(version) == version
    assert validator_for(TypeAdapter(Version).json_schema()).is_valid(version)


@pytest.mark.parametrize("version", [*INVALID_VERSIONS.split(), "", "1.2.3\n", " 1.2.3", "v1.2.3", "1.2.٣"])
def test_what_is_no_semantic_version_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match="a version is"):
        semantic_version(version)
    assert not validator_for(TypeAdapter(Version).json_schema()).is_valid(version)


def test_a_version_of_more_than_64_characters_is_refused() -> None:
    assert semantic_version("1.0.0-" + "a" * 58)
    with pytest.raises(ValueError, match="a version is"):
        semantic_version("1.0.0-" + "a" * 59)


@given(versions, versions)
def test_no_two_versions_share_a_token(one: str, other: str) -> None:
    assert (version_token(one) == version_token(other)) == (one == other)


@pytest.mark.parametrize("version", VALID_VERSIONS.split())
def test_a_versions_token_is_one_token_and_leads_back_to_it(version: str) -> None:
    token = version_token(version)
    assert ONE_TOKEN.fullmatch(token)
    assert token.replace("_", ".") == version


@pytest.mark.parametrize("instance", ["", "a-b", "a.b", "a_b", "a" * 65, "a\n", "٣", "*"])
def test_an_instance_id_is_letters_and_digits(instance: str) -> None:
    assert accepts(TypeAdapter(InstanceId), "q7x2m9c4k1vd")
    assert not accepts(TypeAdapter(InstanceId), instance)


def accepts(adapter: TypeAdapter[str], value: str) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True
