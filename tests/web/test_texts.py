"""The page's texts: one table a language, nothing missing, nothing left over, a text for every word of the API."""

import re
import typing
from pathlib import Path

import pytest

import bq
from bq import schema
from bq.errors import HTTP_STATUS

BQ = Path(bq.__file__).parent
WEB = BQ / "web" / "js"
LINE = re.compile(r'  "([\w.-]+)": "((?:[^"\\]|\\.)+)",')
LANGUAGES = ("en", "zh")


def table(language: str) -> dict[str, str]:
    lines = (WEB / "texts" / f"{language}.js").read_text(encoding="utf-8").splitlines()
    inside = lines[lines.index("export default {") + 1 : lines.index("};")]
    found = [LINE.fullmatch(line) for line in inside if line]
    assert all(found), [line for line, match in zip([line for line in inside if line], found, strict=True) if not match]
    pairs = [(match[1], match[2]) for match in found if match]
    assert len(dict(pairs)) == len(pairs), "a key occurs twice"
    return dict(pairs)


TABLES = {language: table(language) for language in LANGUAGES}
SOURCE = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted(WEB.rglob("*.js")) if path.parent.name != "texts"
)


def singular(keys):
    """Forms for one of something: Chinese has none."""
    return {key for key in keys if key.endswith(".one")}


def test_both_languages_have_the_same_keys():
    english, chinese = set(TABLES["en"]), set(TABLES["zh"])

    assert len(english) > 300
    assert english - singular(english) == chinese


def test_a_text_has_the_same_blanks_in_both_languages():
    def blanks(text):
        return sorted(set(re.findall(r"\{(\w+)\}", text)))

    differing = {key for key in TABLES["zh"] if blanks(TABLES["en"][key]) != blanks(TABLES["zh"][key])}

    assert differing == set()


def test_chinese_texts_are_chinese():
    plain = {key for key, text in TABLES["zh"].items() if not re.search(r"[\u4e00-\u9fff]", text)}
    meant = re.compile(
        r"(legs\.head|greek)\.(delta|gamma|vega|theta)|shell\.otherLanguage|source\.yahoo|probability\.interval"
    )

    assert {key for key in plain if not meant.fullmatch(key)} == set()


def test_every_key_that_is_asked_for_is_there():
    asked = set(re.findall(r'\bt\("([\w.]+)"', SOURCE))

    assert len(asked) > 100
    assert asked - set(TABLES["en"]) == set()


def test_every_text_is_asked_for():
    whole = set(re.findall(r'"([\w.]+)"', SOURCE))
    parts = {found for found in re.findall(r"`([\w.]+\.)\$\{", SOURCE)}
    parts |= {f"{name}." for name in re.findall(r'\btCode\("(\w+)"', SOURCE)}
    unused = {
        key
        for key in TABLES["en"]
        if key.removesuffix(".one") not in whole and not any(key.startswith(part) for part in parts)
    }

    assert unused == set()


@pytest.mark.parametrize(
    ("prefix", "struct", "field"),
    [
        ("form", schema.Fourier, "butterfly_type"),
        ("trend", schema.Fourier, "trend_direction"),
        ("cycle", schema.Fourier, "cycle_position"),
        ("level", schema.Analysis, "risk_level"),
        ("confidence", schema.Score, "confidence_level"),
        ("recommendation", schema.Score, "recommendation"),
        ("size", schema.TradeSuggestion, "position_size"),
        ("timing", schema.TradeSuggestion, "entry_timing"),
        ("grade", schema.Quality, "grade"),
        ("percentile", schema.Quality, "iv_percentile_of"),
        ("legs", schema.Leg, "type"),
        ("arbitrage", schema.Arbitrage, "kind"),
    ],
)
def test_every_word_of_an_analysis_has_a_text(prefix, struct, field):
    words = typing.get_args(typing.get_type_hints(struct)[field])

    assert words
    assert [word for word in words if f"{prefix}.{word}" not in TABLES["en"]] == []


def test_every_action_has_a_tone():
    actions = typing.get_args(typing.get_type_hints(schema.TradeSuggestion)["action"])

    assert [one for one in actions if f"verdict.{one.lower()}" not in TABLES["en"]] == []
    assert [one for one in actions if f"{one}:" not in (WEB / "verdict.js").read_text()] == []


def test_every_signal_and_every_part_of_the_score_has_a_name():
    signals = [f"signal.{name}" for name in schema.Signals.__struct_fields__]
    parts = [f"score.{name}" for name in schema.Components.__struct_fields__]

    assert [key for key in signals + parts if key not in TABLES["en"]] == []


CANNOT_HAPPEN = {"method_not_allowed", "request_timeout", "length_required", "unsupported_media_type"}
"""Problems that the page's own requests do not run into."""


def test_every_problem_has_a_text_and_a_remedy():
    codes = set(HTTP_STATUS) - CANNOT_HAPPEN

    assert {code for code in codes if f"error.{code}" not in TABLES["en"]} == set()
    assert {code for code in codes if f"remedy.{code}" not in TABLES["en"]} == set()


def emitted(pattern: str, *folders: str) -> set[str]:
    root = BQ
    text = "\n".join(path.read_text() for folder in folders for path in sorted((root / folder).glob("*.py")))
    return set(re.findall(pattern, text))


def test_every_reason_for_a_grade_has_a_text():
    codes = emitted(r'"((?:bars|quotes|vendor)_[a-z_]+)"', "market")

    assert len(codes) > 15
    assert {code for code in codes if f"quality.{code}" not in TABLES["en"]} == {"vendor_iv"} & codes


def test_every_reason_against_a_recommendation_has_a_text():
    codes = emitted(r'reasons\.append\("(\w+)"\)', "analysis") - emitted(r'Reason\("(\w+)"', "analysis", "market")
    flags = emitted(r'flags\.append\("(\w+)"\)', "analysis")
    risks = emitted(r'"(risk_[a-z_]+)"', "analysis")

    assert {"expected_value_not_positive"} <= codes
    assert {code for code in codes | flags if f"reason.{code}" not in TABLES["en"]} == set()
    assert {flag for flag in flags if f"flag.{flag}" not in TABLES["en"]} == set()
    assert {risk for risk in risks if f"risk.{risk}" not in TABLES["en"]} == set()
