"""Rule packs: good ones load, bad ones are refused with the place of the mistake and what was expected there."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path

import pytest

from detectors.fix import to_us
from detectors.rules import dated
from hanhtrinh.rule_packs import LoadedPack, RulePackError, load_pack

VN = (resources.files("detectors.rules") / "vn.toml").read_text(encoding="utf-8")


def changed(tmp_path: Path, old: str, new: str, count: int = 1) -> str:
    """The path of a pack like Vietnam's with one text replaced."""
    assert old in VN
    path = tmp_path / "changed.toml"
    path.write_text(VN.replace(old, new, count), encoding="utf-8")
    return str(path)


def refused(name_or_path: str, *overrides: str) -> str:
    with pytest.raises(RulePackError) as caught:
        load_pack(name_or_path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def midnight(year: int, month: int, day: int) -> int:
    """Midnight in Viet Nam, which is seven hours ahead of UTC."""
    return to_us(datetime(year, month, day, tzinfo=UTC)) - 7 * 3600 * 1_000_000


def test_the_pack_of_vietnam_has_the_numbers_of_the_design() -> None:
    pack = load_pack().pack
    (speeding,) = pack.speeding
    assert (speeding.min_excess_kmh, speeding.exit_after_s, speeding.max_gap_s) == (5.0, 10, 90)
    assert (speeding.min_fixes, speeding.min_duration_s) == (2, 20)
    assert (pack.activity.moving_kmh, pack.activity.max_silence_s, pack.activity.still_m) == (3, 300, 200)
    for rule in load_pack().hours.continuous.rules:
        assert (rule.limit_s, rule.rest_s) == (14_400, 900)
        assert rule.rest_s_by_kind == {"taxi": 300, "city_bus": 300}
        assert rule.source


@pytest.mark.parametrize(
    ("moment_us", "version"),
    [
        (midnight(2000, 1, 1), "2009-07-01"),
        (midnight(2025, 1, 1) - 1, "2009-07-01"),
        (midnight(2025, 1, 1), "2025-01-01"),
        (midnight(2026, 7, 1) - 1, "2025-01-01"),
        (midnight(2026, 7, 1), "2026-07-01"),
        (midnight(2040, 1, 1), "2026-07-01"),
    ],
)
def test_versions_change_at_local_midnight(moment_us: int, version: str) -> None:
    assert load_pack().hours.continuous.at(moment_us).valid_from == date.fromisoformat(version)


def speeding_rules(loaded: LoadedPack) -> list[tuple[int, float]]:
    rules = dated(loaded.pack.speeding, loaded.midnight_us)
    return [(begins_us, rule.max_gap_s) for begins_us, rule in zip(rules.begins_us, rules.rules, strict=True)]


def test_a_pack_may_be_a_file(tmp_path: Path) -> None:
    loaded = load_pack(changed(tmp_path, "max_gap_s = 90", "max_gap_s = 300"))
    assert speeding_rules(loaded) == [(midnight(2015, 1, 1), 300)]


def test_an_override_changes_a_number_and_is_told() -> None:
    loaded = load_pack("vn", ["speeding.max_gap_s=300", "activity.still_m=99.5"])
    assert speeding_rules(loaded) == [(midnight(2015, 1, 1), 300)]
    assert loaded.pack.activity.still_m == 99.5
    assert loaded.overrides == {"speeding.max_gap_s": 300.0, "activity.still_m": 99.5}
    assert load_pack().overrides == {}


def test_an_override_changes_every_dated_version() -> None:
    rules = load_pack("vn", ["continuous_driving.rest_s=600"]).hours.continuous.rules
    assert [rule.rest_s for rule in rules] == [600, 600, 600]


def test_the_rest_of_one_kind_and_the_limit_of_one_class_can_be_overridden() -> None:
    loaded = load_pack("vn", ["continuous_driving.rest_s_by_kind.taxi=120", "speed_classes.heavy.default_kmh=60"])
    assert {rule.rest_us("taxi") for rule in loaded.hours.continuous.rules} == {120_000_000}
    assert {rule.rest_us("city_bus") for rule in loaded.hours.continuous.rules} == {300_000_000}
    assert loaded.pack.speed_classes["heavy"].default_kmh == 60


def test_the_last_of_two_overrides_of_one_number_counts() -> None:
    loaded = load_pack("vn", ["speeding.max_gap_s=300", "speeding.max_gap_s=60"])
    assert loaded.overrides == {"speeding.max_gap_s": 60.0}


@pytest.mark.parametrize(
    "override",
    ["speeding.max_gap_s", "speeding.max_gap_s=", "speeding.max_gap_s=soon", "speeding.max_gap_s=-1",
     "speeding.max_gap_s=nan", "speeding.max_gap_s=inf", "=5", ""],
)  # fmt: skip
def test_an_override_that_is_no_name_and_number_is_refused(override: str) -> None:
    message = refused("vn", override)
    assert "rule override" in message
    assert "speeding.max_gap_s" in message


@pytest.mark.parametrize("name", ["speeding.max_gap", "max_gap_s", "speeding", "name", "checks.earliest", "x.y.z"])
def test_an_override_of_a_number_that_is_not_there_lists_those_that_are(name: str) -> None:
    message = refused("vn", f"{name}=1")
    assert f"rule override {name}: no such number in pack 'vn'" in message
    for known in ("speeding.max_gap_s", "activity.moving_kmh", "speed_classes.car.default_kmh", "checks.jump_kmh"):
        assert known in message


def test_a_slip_of_the_pen_is_told_what_was_meant() -> None:
    assert "no such number in pack 'vn': did you mean speeding.max_gap_s? There are:" in refused(
        "vn", "speeding.max_gaps=1"
    )


def test_a_whole_number_stays_one() -> None:
    (rule,) = load_pack("vn", ["speeding.min_fixes=3"]).pack.speeding
    assert rule.min_fixes == 3
    assert "min_fixes" in refused("vn", "speeding.min_fixes=2.5")


def test_an_unknown_name_is_refused_and_the_known_ones_are_named() -> None:
    message = refused("atlantis")
    assert "'atlantis'" in message
    assert re.search(r"\bvn\b", message)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "missing.toml" in refused(str(tmp_path / "missing.toml"))


@pytest.mark.parametrize("text", ["this is not toml", "a = 1\na = 2"])
def test_what_is_not_toml_is_refused_with_the_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    message = refused(str(path))
    assert "not TOML" in message
    assert "(at " in message


def test_what_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(b'name = "\xff"')
    assert "not TOML" in refused(str(path))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("max_gap_s = 90", "max_gapp_s = 90", "max_gapp_s"),
        ("max_gap_s = 90", "", "max_gap_s: Field required"),
        ("max_gap_s = 90", 'max_gap_s = "soon"', "max_gap_s: Input should be a valid number"),
        ("max_gap_s = 90", "max_gap_s = nan", "max_gap_s: Input should be a finite number"),
        ("max_gap_s = 90", "max_gap_s = inf", "max_gap_s: Input should be a finite number"),
        ("min_fixes = 2", "min_fixes = 2.5", "min_fixes: Input should be a valid integer"),
        ("valid_from = 2015-01-01", 'valid_from = "one day"', "valid_from: Input should be a valid date"),
        ("[activity]", "[activities]", "activity: Field required"),
        ("source = ", "# source = ", "source: Field required"),
        ('time_zone = "Asia/Ho_Chi_Minh"', 'time_zone = "Nowhere/Land"', "'Nowhere/Land' is not a known zone"),
        ('unregistered_class = "car"', 'unregistered_class = "tank"', "'tank' is none of car, heavy"),
        ("valid_to = 2025-01-01", "valid_to = 2024-12-31", "valid_to is 2024-12-31, expected 2025-01-01"),
        ("valid_to = 2025-01-01", "", "valid_to is None, expected 2025-01-01"),
        (
            "valid_from = 2015-01-01",
            "valid_from = 2015-01-01\nvalid_to = 2025-01-01",
            "speeding: the version valid from 2015-01-01 ends on 2025-01-01 and none follows: leave valid_to out",
        ),
        ('source = "Circular 71', 'valid_to = 2030-01-01\nsource = "Circular 71', "silence: the version valid from"),
    ],
)
def test_a_wrong_pack_is_refused_with_the_place_and_what_was_expected(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    path = changed(tmp_path, old, new)
    message = refused(path)
    assert told in message
    assert path in message


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("car = { default_kmh = 80, highest_kmh = 120 }", "car = { default_kmh = 130, highest_kmh = 120 }", "highest"),
        ("max_gap_s = 90", "max_gap_s = -1", "max_gap_s"),
        ("min_fixes = 2", "min_fixes = 0", "min_fixes"),
        ("min_excess_kmh = 5.0", "min_excess_kmh = -5.0", "min_excess_kmh"),
        ("limit_s = 14400", "limit_s = -1", "limit_s"),
        ('time_zone = "Asia/Ho_Chi_Minh"', 'time_zone = "Asia"', "'Asia' is not a known zone"),
        ("over_kmh = 35", "over_kmh = 15", "over_kmh"),
    ],
)
def test_a_pack_that_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert told in refused(changed(tmp_path, old, new))


def test_a_pack_without_a_version_of_a_rule_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    without = re.sub(r"\[\[speeding\]\].*?(?=\n# Four hours)", "", VN, flags=re.DOTALL)
    path.write_text("speeding = []\n" + without, encoding="utf-8")
    assert "speeding" in refused(str(path))
