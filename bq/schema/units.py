"""The units of the numbers on the wire, and how much of an answer is asked for."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

Detail: TypeAlias = Literal["summary", "default", "full"]


def number(unit: str, text: str) -> Meta:
    """Describe a number by its unit and its meaning."""
    return Meta(description=text, extra={"unit": unit}, extra_json_schema={"x-unit": unit})


Price: TypeAlias = Annotated[float, number("$ a share", "price of the share")]
Premium: TypeAlias = Annotated[float, number("$ a share", "price of an option position, commission included")]
Vol: TypeAlias = Annotated[float, number("annual fraction", "volatility: 0.2 is 20 %")]
Percent: TypeAlias = Annotated[float, number("%", "per cent")]
Probability: TypeAlias = Annotated[float, number("fraction", "probability between 0 and 1")]
Days: TypeAlias = Annotated[float, number("sessions", "trading days")]
