"""Units of measurement, money and counted things: what words after a number say of it.

A unit has a scale within its dimension, so that 1 m and 100 cm are the same quantity and 10 m and
10 cm are not. A noun that is no unit (`apples`) is kept as such. Words that change the number
(`million`, `dozen`) are no units; words that may (`more`, `times`) are not understood.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from resources.verifiers.answers.notation.phrases import words
from resources.verifiers.answers.notation.tokens import Token
from resources.verifiers.answers.notation.tree import Unread


@dataclass(frozen=True)
class Unit:
    """`dimension`: base quantities with exponents, empty for a noun that is no unit; `scale`: one
    of it in base quantities; `shift`: where its zero lies (temperatures)."""

    text: str
    dimension: tuple[tuple[str, int], ...] = ()
    scale: Fraction = Fraction(1)
    shift: Fraction = Fraction(0)

    @property
    def known(self) -> bool:
        return bool(self.dimension)


# name: (dimension, scale); spellings divided by spaces, the long ones also with a plural s.
_TABLE = """
length 1 m meter metre
length 1/100 cm cms centimeter centimetre
length 1/1000 mm millimeter millimetre | length 1000 km kms kilometer kilometre
length 254/10000 in inch inches | length 3048/10000 ft foot feet
length 9144/10000 yd yard | length 1609344/1000 mi mile
mass 1 g gm gms gram | mass 1000 kg kgs kilogram kilo | mass 1/1000 mg milligram
mass 45359237/100000 lb lbs pound | mass 45359237/1600000 oz ounce
mass 1000000 tonne
time 1 s sec secs second | time 60 min mins minute | time 3600 h hr hrs hour
time 86400 day | time 604800 wk week | time 1/1000 ms millisecond
month 1 month | month 12 year yr yrs | month 120 decade | month 1200 century centuries
liquid 1 l L liter litre | liquid 1/1000 ml mL milliliter millilitre cc
gallon 1 gallon gal | gallon 1/4 quart qt | gallon 1/8 pint | gallon 1/16 cup
angle 1 degree deg | radian 1 radian rad | turn 1 revolution
force 1 N newton | energy 1 J joule | energy 1000 kJ kilojoule
power 1 W watt | power 1000 kW kilowatt | voltage 1 V volt | current 1 A amp ampere
frequency 1 Hz hertz | pressure 1 Pa pascal | byte 1 byte | byte 1/8 bit
dollar 1 dollar USD buck | dollar 1/100 cent penny pennies | euro 1 euro EUR | sterling 1 sterling
rupee 1 rupee Rs rs Re INR | yen 1 yen JPY | yuan 1 yuan RMB CNY | peso 1 peso
forenoon 1 am AM | afternoon 1 pm PM
percent 1 % percent pct percentage
"""
_MULTIPLIERS = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "dozen": 12, "dozens": 12, "lakh": 10**5, "crore": 10**7, "gross": 144, "score": 20,
}  # fmt: skip
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
LETTERS = frozenset(words("m g s h L l N J W V A C F K"))  # units, or variables
_NONE = frozenset(["unit", "units", "st", "nd", "rd", "th"])
_UNCLEAR = frozenset(
    words(
        "of to out more less fewer than times time's plus minus over point by from at about around "
        "approximately nearly almost not no is are was be or and but if half halves quarter third "
        "quarters thirds fourths fifths tenths remainder modulo mod base choose divided multiplied "
        "factorial double twice triple pair pairs the a an each because so since where when with "
        "without for either neither both none left hundredths ones tens hundreds thousands"
    )
)
_MAX_WORDS = 3


def _read() -> dict[str, Unit]:
    found: dict[str, Unit] = {}
    for entry in re.split(r"[|\n]", _TABLE.strip()):
        dimension, scale, *spellings = entry.split()
        unit = Unit(spellings[0], ((dimension, 1),), Fraction(scale))
        for spelling in spellings:
            found[spelling] = unit
            if len(spelling) > 2:
                found[spelling + "s"] = unit
    zero, size = Fraction(27315, 100), Fraction(5, 9)
    found["celsius"] = Unit("\u00b0C", (("temperature", 1),), Fraction(1), zero)
    found["fahrenheit"] = Unit("\u00b0F", (("temperature", 1),), size, zero - 32 * size)
    speed = (("length", 1), ("time", -1))
    found["mph"] = Unit("mph", speed, found["mile"].scale / 3600)
    found["kph"] = found["kmph"] = Unit("km/h", speed, Fraction(1000, 3600))
    found["kelvin"] = found["kelvins"] = Unit("K", (("temperature", 1),))
    return found


UNITS = _read()
PERCENT, DEGREE, RADIAN = UNITS["percent"], UNITS["degree"], UNITS["radian"]
CELSIUS, FAHRENHEIT = UNITS["celsius"], UNITS["fahrenheit"]
_TEMPERATURES = {"c": CELSIUS, "f": FAHRENHEIT, "celsius": CELSIUS, "fahrenheit": FAHRENHEIT}
MONEY = frozenset(["dollar", "euro", "sterling", "rupee", "yen", "yuan", "peso"])


def word(text: str) -> Unit | None:
    """The unit of one word, or None. Abbreviations count as they are written, words in any case."""
    return UNITS.get(text) or (UNITS.get(text.lower()) if len(text) > 3 else None)


def read(tokens: Sequence[Token]) -> tuple[int, Unit | None]:
    """What tokens after a number say: what to multiply it by, and its unit.

    Raises Unread for words that may say something else of the number.
    """
    factor, rest = 1, list(tokens)
    while rest and rest[0].text.lower() in _MULTIPLIERS:
        factor *= _MULTIPLIERS[rest.pop(0).text.lower()]
    if len(rest) == 1 and rest[0].text in _NONE:
        return factor, None
    if not rest:
        return factor, None
    measured = _measured(rest)
    return factor, measured if measured is not None else _noun(rest)


def _noun(tokens: Sequence[Token]) -> Unit | None:
    texts = [token.text for token in tokens]
    said = " ".join(texts)
    if any(token.kind not in ("word", "name") and token.text != "/" for token in tokens):
        raise Unread(f"{said!r} after a number")
    unclear = [text for text in texts if text.lower() in _UNCLEAR]
    if unclear or len(texts) > _MAX_WORDS:
        raise Unread(f"{said!r} after a number")
    return (
        None
        if texts[-1] in _NONE and len(texts) == 2 and texts[0] in _POWERS
        else Unit(_singular(said))
    )


def _singular(text: str) -> str:
    """One spelling of a noun and its plural."""
    text = text.lower().removesuffix("'s")
    for ending, instead in (
        ("ies", "y"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("xes", "x"),
        ("sses", "ss"),
        ("s", ""),
    ):
        if text.endswith(ending) and len(text) > len(ending) + 2 and not text.endswith("ss"):
            return text[: -len(ending)] + instead
    return text


def _measured(tokens: Sequence[Token]) -> Unit | None:
    """A product of known units with powers: m/s^2, square feet, miles per hour; None for others."""
    if len(tokens) == 2 and word(tokens[0].text) is DEGREE:
        return _TEMPERATURES.get(tokens[1].text.lower())
    dimension: dict[str, int] = {}
    scale, sign, waiting, place = Fraction(1), 1, 1, 0
    units = 0
    while place < len(tokens):
        text = tokens[place].text
        place += 1
        if text in ("/", "per"):
            sign = -1
            continue
        if text in ("*", "\u00b7", "."):
            continue
        if text.lower() in _POWERS and text.lower() in ("square", "sq", "cubic", "cu"):
            waiting = _POWERS[text.lower()]
            continue
        unit = word(text)
        if unit is None or unit.shift:
            return unit if len(tokens) == 1 else None
        power, place = _power(tokens, place)
        exponent = sign * power * waiting
        scale *= unit.scale**exponent
        for name, times in unit.dimension:
            dimension[name] = dimension.get(name, 0) + times * exponent
        units += 1
        waiting = 1
    kept = tuple(sorted((name, times) for name, times in dimension.items() if times))
    if not units or not kept:
        return None
    return Unit(" ".join(token.text for token in tokens), *_with_volume(kept, scale))


def _power(tokens: Sequence[Token], place: int) -> tuple[int, int]:
    """The exponent written after a unit, and where it ends."""
    texts = [token.text for token in tokens[place : place + 4]]
    if texts[:1] and texts[0] in ("squared", "cubed"):
        return _POWERS[texts[0]], place + 1
    if texts[:1] == ["^"]:
        if len(texts) > 1 and texts[1].isdigit():
            return int(texts[1]), place + 2
        if len(texts) > 3 and texts[1] == "{" and texts[2].isdigit() and texts[3] == "}":
            return int(texts[2]), place + 4
        raise Unread("the power of a unit")
    return 1, place


def _with_volume(
    dimension: tuple[tuple[str, int], ...], scale: Fraction
) -> tuple[tuple[tuple[str, int], ...], Fraction]:
    """Litres as cubic metres, so that 1 L is 1000 cm^3."""
    if dimension == (("liquid", 1),):
        return (("length", 3),), scale / 1000
    return dimension, scale
