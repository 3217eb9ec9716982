"""The keys by which NATS knows its users."""

import pytest

from services.runtime.nkeys import UserNkey, new_seed

SEED = "SUAAEWWRMACPBFOEJ5NQNKQ33P6UUU6YSGQJ2KAZ4JQ3OWZ7K23AWBTULQ"
PUBLIC = "UCUMKLZWTL5NWSULREN65SECYXBNK6LCQMLFMUM2OBGGCQ5NXUMWRWQS"


def test_a_seed_has_the_public_key_that_nats_says_it_has() -> None:
    """The pair was made by the package nkeys of the NATS project."""
    assert UserNkey(SEED).public_key == PUBLIC


def test_every_seed_is_new_and_of_a_user() -> None:
    first, second = new_seed(), new_seed()
    assert first != second
    assert UserNkey(first).public_key.startswith("U")


@pytest.mark.parametrize(
    "wrong",
    ["", "SU", PUBLIC, SEED[:-1], SEED + "A", SEED.lower(), SEED.replace("WR", "RW", 1)],
    ids=["nothing", "short", "a public key", "cut", "longer", "lower case", "two letters exchanged"],
)
def test_what_is_no_seed_is_refused_without_being_quoted(wrong: str) -> None:
    with pytest.raises(ValueError, match="seed of a user") as refused:
        UserNkey(wrong)
    assert len(wrong) < len("SU and") or wrong not in str(refused.value)
