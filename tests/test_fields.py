"""The field dictionary is what the types say."""

from bq.fields import TARGET, dictionary


def test_the_field_dictionary_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == dictionary(), "run python -m bq.fields"


def test_prices_and_volatilities_name_their_unit() -> None:
    page = dictionary()
    assert "| `butterfly.net_debit` | number | $ a share |" in page
    assert "| `garch.current_iv` | number | annual fraction |" in page
    assert "| `butterfly.greeks.theta` | number | $ per calendar day |" in page
