"""Where settings come from, and what they may be."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from services.runtime.http_settings import HttpSettings
from services.runtime.nkeys import new_seed
from services.runtime.settings import CommonSettings, SettingsError, read_settings
from services.runtime.store_settings import StoreSettings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*CommonSettings.model_fields, *HttpSettings.model_fields]:
        monkeypatch.delenv(f"BUSBAR_{name.upper()}", raising=False)
        monkeypatch.delenv(f"BUSBAR_{name.upper()}_FILE", raising=False)


def test_without_variables_the_defaults_hold() -> None:
    settings = HttpSettings()
    assert settings.config == Path("busbar.yaml")
    assert settings.nats_url.get_secret_value() == "nats://127.0.0.1:4222"
    assert settings.log_level == "INFO"
    assert (settings.host, settings.allowed_hosts) == ("127.0.0.1", ())


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("BUSBAR_CONFIG", "/etc/busbar.yaml", "config", Path("/etc/busbar.yaml")),
        ("BUSBAR_NATS_URL", "nats://a,nats://b", "nats_url", SecretStr("nats://a,nats://b")),
        ("BUSBAR_LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
        ("BUSBAR_HOST", "::", "host", "::"),
        ("BUSBAR_ALLOWED_HOSTS", "a.example, b.example,", "allowed_hosts", ("a.example", "b.example")),
        ("BUSBAR_ALLOWED_ORIGINS", "https://a", "allowed_origins", ("https://a",)),
        ("BUSBAR_ANNOUNCE_S", "0", "announce_s", 0.0),
        ("BUSBAR_DRAIN_TIMEOUT_S", "1.5", "drain_timeout_s", 1.5),
        ("BUSBAR_SEND_TIMEOUT_S", "2", "send_timeout_s", 2.0),
    ],
)
def test_a_variable_sets_its_field_and_so_does_the_file_it_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, variable: str, text: str, field: str, value: object
) -> None:
    assert getattr(HttpSettings(), field) != value
    monkeypatch.setenv(variable, text)
    assert getattr(HttpSettings(), field) == value
    monkeypatch.delenv(variable)
    file = tmp_path / "value"
    file.write_text(f"  {text} \nanother line\n", encoding="utf-8")
    monkeypatch.setenv(f"{variable}_FILE", str(file))
    assert getattr(HttpSettings(), field) == value


def test_a_variable_goes_before_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text("nats://file")
    monkeypatch.setenv("BUSBAR_NATS_URL", "nats://variable")
    monkeypatch.setenv("BUSBAR_NATS_URL_FILE", str(file))
    assert CommonSettings().nats_url.get_secret_value() == "nats://variable"


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("BUSBAR_LOG_LEVEL", "LOUD"),
        ("BUSBAR_ANNOUNCE_S", "-1"),
        ("BUSBAR_DRAIN_TIMEOUT_S", "0"),
        ("BUSBAR_DRAIN_TIMEOUT_S", "soon"),
    ],
)
def test_a_value_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValidationError):
        HttpSettings()


def test_a_secret_is_not_in_what_settings_print() -> None:
    settings = CommonSettings(nats_url=SecretStr("nats://user:hunter2@host"))
    assert "hunter2" not in f"{settings!r} {settings}"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        CommonSettings().log_level = "DEBUG"  # type: ignore[misc]


def test_the_stores_url_is_secret_and_an_empty_one_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUSBAR_REDIS_URL", raising=False)
    monkeypatch.delenv("BUSBAR_REDIS_URL_FILE", raising=False)
    assert StoreSettings().store_url is None
    monkeypatch.setenv("BUSBAR_REDIS_URL", "")
    assert StoreSettings().store_url is None
    monkeypatch.setenv("BUSBAR_REDIS_URL", "redis://:hunter2@host")
    assert StoreSettings().store_url == "redis://:hunter2@host"
    assert "hunter2" not in f"{StoreSettings()!r}"


def test_the_nkey_comes_from_a_file_and_is_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seed = new_seed()
    (tmp_path / "seed").write_text(f"{seed}\n")
    monkeypatch.setenv("BUSBAR_NATS_NKEY_FILE", str(tmp_path / "seed"))
    assert read_settings(CommonSettings).nats_credentials.nkey_seed == seed
    assert seed not in repr(read_settings(CommonSettings))
    assert seed not in repr(read_settings(CommonSettings).nats_credentials)
    (tmp_path / "seed").write_text(seed[:-1])
    with pytest.raises(SettingsError, match=r"BUSBAR_NATS_NKEY: .*seed of a user") as refused:
        read_settings(CommonSettings)
    assert seed[:-1] not in str(refused.value)


def test_a_certificate_that_is_not_there_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUSBAR_NATS_CA_FILE", "/nowhere/ca.pem")
    with pytest.raises(SettingsError, match="BUSBAR_NATS_CA_FILE"):
        read_settings(CommonSettings)
