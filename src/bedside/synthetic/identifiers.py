"""Planted identifiers: who a note is about, and the paper it is written on.

All textual types of the HIPAA Safe Harbor list (45 CFR 164.514(b)(2)) are planted, with exact spans. The lists
belong to this room alone; no detector may learn from them. Nobody here exists, and numbers come from ranges that
are kept for examples where such a range exists.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache

from bedside.synthetic.dice import Dice
from bedside.synthetic.knowledge import read_data

_US_DATES = ("{m:02d}/{d:02d}/{y}", "{month} {d}, {y}", "{y}-{m:02d}-{d:02d}", "{m}/{d}/{yy:02d}")
_OTHER_DATES = ("{d:02d}/{m:02d}/{y}", "{d} {mon} {y}", "{d:02d}.{m:02d}.{yy:02d}", "{d} {month} {y}")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


@dataclass(frozen=True)
class Form:
    """A sheet of paper: lines as (literal, slot) pairs, where slot is empty after the last literal."""

    id: str
    header: tuple[tuple[str, str], ...]
    extra: tuple[tuple[tuple[str, str], ...], ...]
    signature: tuple[tuple[str, str], ...]


@cache
def forms(site: str) -> tuple[Form, ...]:
    """The forms that a site uses."""
    return tuple(
        Form(row["id"], _parse(row["header"]), tuple(map(_parse, row["extra"])), _parse(row["signature"]))
        for row in read_data("forms")["forms"]
        if row["site"] == site
    )


def _parse(line: str) -> tuple[tuple[str, str], ...]:
    return tuple((literal, slot or "") for literal, slot, _, _ in string.Formatter().parse(line))


@dataclass(frozen=True)
class Person:
    """What stays the same over a patient's notes."""

    first: str
    last: str
    born: date
    numbers: Dice  # a fresh hand of the same draws gives the same numbers in every note


def person(male: bool, age: int, first_visit: datetime, dice: Dice) -> Person:
    """A patient. The birthday is placed so that the age holds over all of the patient's notes."""
    lists = read_data("names")
    born_at = first_visit.date() - timedelta(days=dice.below(150) + 1)
    day = min(born_at.day, 28)
    return Person(
        dice.pick(lists["male" if male else "female"]),
        dice.pick(lists["surnames"]),
        date(born_at.year - age, born_at.month, day),
        dice,
    )


class Identifiers:
    """Values for the slots of one note's form."""

    def __init__(self, who: Person, fixed: list[float], when: datetime, site: str, dice: Dice) -> None:
        self._who, self._when, self._dice = who, when, dice
        self._fixed = fixed
        self._dates = _US_DATES if site == "Harbour" else _OTHER_DATES

    def value(self, slot: str) -> str:
        """The text of a slot."""
        return str(getattr(self, f"_{slot}")())

    def _own(self, place: int, count: int) -> str:
        """Digits that belong to the patient, the same in every note."""
        return f"{int(self._fixed[place] * 10**count):0{count}d}"

    def _name(self) -> str:
        return f"{self._who.first} {self._who.last}"

    def _last_first(self) -> str:
        return f"{self._who.last}, {self._who.first}"

    def _surname(self) -> str:
        return self._who.last

    def _capitals(self) -> str:
        return self._name().upper()

    def _doctor(self) -> str:
        lists = read_data("names")
        first = self._dice.pick(lists["female"] if self._dice.chance(0.5) else lists["male"])
        last = self._dice.pick(lists["surnames"])
        return f"{first[0]}. {last}" if self._dice.chance(0.4) else f"{first} {last}"

    def _relative(self) -> str:
        lists = read_data("names")
        first = self._dice.pick(lists["female"] if self._dice.chance(0.5) else lists["male"])
        return first if self._dice.chance(0.4) else f"{first} {self._who.last}"

    def _street(self) -> str:
        return f"{1 + int(self._fixed[0] * 2400)} {_of('streets', self._fixed[1])}"

    def _city(self) -> str:
        return _of("cities", self._fixed[2])

    def _zip(self) -> str:
        return f"{self._own(3, 5)}-{self._own(4, 4)}" if self._fixed[5] < 0.25 else self._own(3, 5)

    def _day(self, day: date) -> str:
        month = _MONTHS[day.month - 1]
        return self._dice.pick(self._dates).format(
            d=day.day, m=day.month, y=day.year, yy=day.year % 100, month=month, mon=month[:3]
        )

    def _dob(self) -> str:
        return self._day(self._who.born)

    def _date(self) -> str:
        return self._day(self._when.date())

    def _before(self) -> str:
        return self._day(self._when.date() - timedelta(days=5 + self._dice.below(700)))

    def _phone(self) -> str:
        area, line = self._dice.pick(read_data("names")["areas"]), f"01{self._dice.digits(2)}"
        style = self._dice.pick(("({a}) 555-{n}", "{a}-555-{n}", "{a}.555.{n}", "+1 {a} 555 {n}"))
        return style.format(a=area, n=line)

    def _fax(self) -> str:
        return self._phone()

    def _email(self) -> str:
        letters = (char for char in f"{self._who.first}.{self._who.last}".lower() if char.isascii())
        local = "".join(char for char in letters if char.isalnum() or char == ".")
        return f"{local.strip('.')}{self._own(6, 2)}@{self._dice.pick(read_data('names')['domains'])}"

    def _ssn(self) -> str:
        return f"9{self._own(7, 2)}-{self._own(8, 2)}-{self._own(9, 4)}"

    def _mrn(self) -> str:
        return self._own(10, 7) if self._fixed[11] < 0.6 else f"{self._own(10, 3)}-{self._own(12, 5)}"

    def _plan(self) -> str:
        return f"{self._dice.pick(read_data('names')['plans'])}{self._own(13, 8)}"

    def _account(self) -> str:
        return f"{self._own(14, 4)}-{self._own(15, 6)}" if self._fixed[16] < 0.5 else self._own(14, 9)

    def _license(self) -> str:
        return f"{self._dice.pick(('MD', 'L', 'A', ''))}{self._dice.digits(7)}"

    def _vehicle(self) -> str:
        letters = "ABCDEFGHJKLMNPRSTUVWXYZ"
        plate = "".join(self._dice.pick(letters) for _ in range(3))
        if self._dice.chance(0.6):
            return f"{plate} {self._dice.digits(4)}"
        return f"1{plate}{self._dice.digits(2)}{self._dice.pick(letters)}{self._dice.digits(9)}"

    def _device(self) -> str:
        return f"{self._dice.pick(read_data('names')['devices'])}{self._dice.digits(7)}"

    def _url(self) -> str:
        return f"https://{self._dice.pick(('portal', 'share', 'my'))}.example.org/r/{self._dice.digits(6)}"

    def _ip(self) -> str:
        net = self._dice.pick(("192.0.2", "198.51.100", "203.0.113"))
        return f"{net}.{1 + self._dice.below(254)}"

    def _biometric(self) -> str:
        return f"{self._dice.pick(('BIO', 'FP', 'RT'))}-{self._own(17, 6)}"

    def _other(self) -> str:
        return f"{self._dice.pick(('SUB', 'REG', 'TX'))}{self._dice.digits(5)}{self._dice.pick('ABCDEFGH')}"

    def _employer(self) -> str:
        return _of("employers", self._fixed[18])


def _of(name: str, draw: float) -> str:
    items = read_data("names")[name]
    return str(items[int(draw * len(items))])
