"""Which encoding a text file is in: by its first bytes, then strict UTF-8, then by the evidence in the letters.

Nothing is decoded with replacement characters: a file that does not decode is refused with the row.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from bedside.core.errors import DataError

Opener = Callable[[], IO[bytes]]

_CHUNK = 1 << 20
_SAMPLE = 1 << 18
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NAMES = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8 with a byte-order mark", "ascii": "ASCII"}
# Letters that a Turkish export needs and a western European one hardly: dotless i, soft g and s with a cedilla
# lie at the bytes of ð ý þ Ý Þ Ð.
_TURKISH = re.compile(rb"[\xf0\xfd\xfe\xdd\xde\xd0]")
_NOT_TURKISH = re.compile(rb"[\xe6\xc6\xe3\xc3\xb3\xb9]")
# Signs in cp1252 (² ³ ¹ ¿ £ ¥ and the like) that are letters in cp1250; between two letters they can only be letters.
_CENTRAL = re.compile(rb"(?<=[A-Za-z])[\xb3\xb9\xbf\xa3\xa5\x9c\x9f\xbe\x9e\x8c](?=[a-z])")
_OTHER_SCRIPTS = [
    *("cp1251", "cp1253", "cp1255", "cp1256", "koi8_r", "cp874"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
]


def find_encoding(opener: Opener, file: str, wanted: str) -> tuple[str, bool]:
    """The encoding of a file, and whether it is a guess.

    Args:
        opener: opens the file's (decompressed) bytes.
        file: its name, for sentences.
        wanted: ``data.encoding``; anything but ``"auto"`` is taken as it is.

    Raises:
        DataError: the named encoding is unknown or does not fit, naming the line.
    """
    if wanted != "auto":
        return _named(opener, file, wanted), False
    with opener() as handle:
        start = handle.read(_SAMPLE)
    for mark, name in _BOMS:
        if start.startswith(mark):
            _check(opener, file, name)
            return name, False
    wide = _wide(start)
    if wide:
        _check(opener, file, wide)
        return wide, False
    if _first_fault(opener, "utf-8") is None:
        return "utf-8", False
    guess = _guess(b"".join(_foreign_lines(opener)))
    _check(opener, file, guess)
    return guess, True


def encoding_text(name: str) -> str:
    """An encoding's name as a person writes it."""
    return _NAMES.get(name, name.upper() if name.startswith("utf") else name)


def _named(opener: Opener, file: str, wanted: str) -> str:
    """The encoding that the protocol names, checked against the whole file."""
    try:
        name = codecs.lookup(wanted).name
    except LookupError:
        raise DataError(
            f"data.encoding = '{wanted}' is no encoding that Python knows; use 'auto', 'utf-8', 'cp1252' or another."
        ) from None
    _check(opener, file, name)
    with opener() as handle:
        marked = handle.read(3) == codecs.BOM_UTF8
    return "utf-8-sig" if name == "utf-8" and marked else name


def _check(opener: Opener, file: str, name: str) -> None:
    """Refuse a file that does not decode, by the line."""
    line = _first_fault(opener, name)
    if line is not None:
        raise DataError(
            f"{file} is not {encoding_text(name)}: line {line:,} holds bytes that do not decode; "
            "set data.encoding to the encoding it was exported in, or export it as UTF-8."
        )


def _first_fault(opener: Opener, name: str) -> int | None:
    """The first line that does not decode, or None."""
    decoder = codecs.getincrementaldecoder(name)("strict")
    line = 1
    with opener() as handle:
        while True:
            piece = handle.read(_CHUNK)
            try:
                line += decoder.decode(piece, final=not piece).count("\n")
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
            if not piece:
                return None


def _wide(start: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of mostly western text is zero."""
    sample = start[:2000]
    if len(sample) < 4:
        return None
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if odd > 0.6 * half and even < 0.1 * half:
        return "utf-16-le"
    if even > 0.6 * half and odd < 0.1 * half:
        return "utf-16-be"
    return None


def _foreign_lines(opener: Opener) -> Iterator[bytes]:
    """Up to a sample's worth of lines that hold bytes beyond ASCII."""
    taken = 0
    with opener() as handle:
        for line in handle:
            if not line.isascii():
                yield line
                taken += len(line)
                if taken > _SAMPLE:
                    return


def _guess(sample: bytes) -> str:
    """The likeliest single-byte or East Asian encoding of lines that are not UTF-8."""
    high = sum(byte >= 0x80 for byte in sample)
    letters = high + sum(chr(byte).isalpha() for byte in sample if byte < 0x80)
    if high > 0.3 * letters and len(sample) >= 8:
        from charset_normalizer import from_bytes

        best = from_bytes(sample[:65536], cp_isolation=_OTHER_SCRIPTS).best()
        if best is not None:
            return str(best.encoding)
    turkish, not_turkish = len(_TURKISH.findall(sample)), len(_NOT_TURKISH.findall(sample))
    if turkish >= 0.1 * high and turkish > not_turkish and _decodes(sample, "cp1254"):
        return "cp1254"
    if len(_CENTRAL.findall(sample)) >= 0.1 * high and _decodes(sample, "cp1250"):
        return "cp1250"
    return "cp1252" if _decodes(sample, "cp1252") else "latin-1"


def _decodes(sample: bytes, name: str) -> bool:
    """Whether all of the sample is valid in this encoding."""
    try:
        sample.decode(name)
    except UnicodeDecodeError:
        return False
    return True


def opener_of(path: Path) -> Opener:
    """How to open a file's bytes, through gzip where its name says so."""
    import gzip

    if path.suffix.lower() == ".gz":
        return lambda: gzip.open(path, "rb")  # type: ignore[return-value]
    return lambda: path.open("rb")
