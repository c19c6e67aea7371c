"""PubMed and PMC articles: .xml and .nxml, packed (.gz) or not, one file or a folder of them, at any depth.

An article is a row. It is read as the file passes by and then let go, so that what is held is the rows, never a tree.
A label is not among the columns by nature: MeSH headings, publication types and keywords are what an article is about.

Refused: a file that declares entities of its own. A few lines of them can grow to gigabytes of text ("billion laughs"),
and no PubMed or PMC file needs one. The DTD that a DOCTYPE names is never fetched.

Formats: NLM's PubMed DTD (https://dtd.nlm.nih.gov/ncbi/pubmed/) and JATS, ANSI/NISO Z39.96, of PMC's open-access files.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import Element, ParseError, iterparse
from xml.parsers import expat

from bedside.core.errors import DataError
from bedside.core.progress import Progress
from bedside.data.readers.encoding import opener_of
from bedside.data.readers.records import table_of
from bedside.data.table import Table
from bedside.data.wording import counted
from bedside.protocol import DataSection

COLUMNS = (
    *("pmid", "pmcid", "title", "abstract", "body", "mesh", "mesh_major", "publication_types", "keywords"),
    *("journal", "year", "language", "origin"),
)
_NAMES = (".xml", ".nxml", ".xml.gz", ".nxml.gz")
_PIECE = 1 << 16
_ROOTS = frozenset({"PubmedArticleSet", "PubmedArticle", "MedlineCitationSet", "MedlineCitation", "article"})
_SETS = frozenset({"pmc-articleset", "OAI-PMH", "articles", "collection"})  # that PMC's articles come in
_BLOCKS = frozenset({"p", "list-item", "disp-quote", "def", "term", "verse-line", "sec", "list"})
# No prose: pictures and tables, formulas, and the numbers of sections and lists.
_SILENT = frozenset(
    {"table-wrap", "fig", "fig-group", "math", "tex-math", "graphic", "media", "supplementary-material", "label"}
)
_MARK, _HEAD = "\x01", "\x02"  # of a numbered citation, and of a title's end: signs that no XML can hold
_CITED = re.compile(rf"\s*[\[(]*{_MARK}(?:[\s,;–\])\[(-]*{_MARK})*[\])]*")
_YEAR = re.compile(r"\b(1[5-9]|20)\d\d\b")


@dataclass
class _Seen:
    """What the files held, counted while they pass."""

    records: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    out: Counter[str] = field(default_factory=Counter)

    def take(self, record: dict[str, str]) -> None:
        """Keep an article; a later version of one that is there replaces it, as PubMed's update files mean it."""
        name = record["pmid"] or record["pmcid"] or f"#{len(self.records)}"
        key = (record["origin"], name)
        if self.records.pop(key, None) is not None:
            self.out["earlier versions of an article that comes again"] += 1
        self.records[key] = record


def holds(folder: Path) -> bool:
    """Whether a folder holds files of this format, by their names."""
    return bool(files_in(folder))


def files_in(folder: Path) -> list[Path]:
    """The files below a folder, in the order of their paths."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.name.lower().endswith(_NAMES) and not file.name.startswith(".") and file.is_file()
    )


def read(path: Path, data: DataSection, progress: Progress) -> Table:
    """Read a file or a folder.

    Raises:
        DataError: a file is malformed (by its line), declares entities, is packed badly, or holds no article.
    """
    files = files_in(path) if path.is_dir() else [path]
    seen = _Seen()
    with progress.task(f"reading {path.name}", unit="articles") as task:
        for file in files:
            for record in _articles(file, seen):
                seen.take(record)
                task.advance()
    records = list(seen.records.values())
    if not records:
        left = "".join(f"; left out: {count:,} {name}" for name, count in seen.out.items())
        raise DataError(f"{path.name} holds no article of PubMed or PMC ({counted(len(files), 'file')}{left}).")
    facts = {"format": "pubmed_xml", "files": len(files), "bytes": sum(file.stat().st_size for file in files)}
    return table_of(records, COLUMNS, path.name, facts, _says(records, path.name, len(files), seen.out))


def _articles(file: Path, seen: _Seen) -> Iterator[dict[str, str]]:
    """The articles of a file.

    Raises:
        DataError: it cannot be read; one sentence.
    """
    opener = opener_of(file)
    try:
        with opener() as raw:
            root = _prolog(raw, file.name)
        if root not in _ROOTS | _SETS:
            raise DataError(
                f"{file.name} is XML of another kind, its first element is <{root}>; known are PubMed "
                "(<PubmedArticleSet>) and PMC (<article>)."
            )
        with opener() as raw:
            yield from _stream(raw, root, seen)
    except (ParseError, expat.ExpatError) as error:
        line = error.position[0] if isinstance(error, ParseError) else error.lineno
        what = expat.errors.messages.get(error.code, "malformed")
        raise DataError(f"{file.name}, line {line:,} is not valid XML ({what}); download it again.") from None
    except RecursionError:
        raise DataError(f"{file.name} is nested deeper than any article is; download it again.") from None
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, PermissionError):
            raise DataError(f"{file} may not be read by this user; ask for the right to read it.") from None
        raise DataError(f"{file.name} is cut off or damaged; download it again.") from None


class _Found(Exception):
    """The first element, which ends the prolog."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


def _prolog(raw: IO[bytes], name: str) -> str:
    """Read up to the first element and return its name without a namespace.

    Entities can be declared only before it, and expat reports each declaration before it expands one.

    Raises:
        DataError: an entity is declared.
    """
    parser = expat.ParserCreate()

    def refuse(*_declaration: object) -> None:
        raise DataError(
            f"{name}, line {parser.CurrentLineNumber:,} declares an entity (<!ENTITY), which can grow without end and "
            "which no PubMed or PMC file needs; it is not read: download it from the source, or remove the declaration."
        )

    def stop(tag: str, _attributes: object) -> None:
        raise _Found(tag.rpartition(":")[2])

    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = stop
    try:
        while piece := raw.read(_PIECE):
            parser.Parse(piece, False)
        parser.Parse(b"", True)
    except _Found as found:
        return found.name
    return ""  # not reached: expat refuses a document without an element


def _stream(raw: IO[bytes], root_name: str, seen: _Seen) -> Iterator[dict[str, str]]:
    """Each article as it ends; what has been read is let go."""
    units = dict(_UNITS)
    if root_name.startswith("MedlineCitation"):  # of PubMed's older files, without a shell around each
        units["MedlineCitation"] = _pubmed
    for _, element in iterparse(raw):  # noqa: S314 - see _prolog
        element.tag = element.tag.rpartition("}")[2]  # a namespace says nothing that the name does not
        unit = units.get(element.tag)
        if unit is None:
            continue
        if isinstance(unit, str):
            seen.out[unit] += 1
        else:
            yield unit(element)
        element.clear()  # an empty one stays with its parent, about 100 bytes


def _pubmed(article: Element) -> dict[str, str]:
    """An article of PubMed."""
    citation = article if article.tag == "MedlineCitation" else article.find("MedlineCitation")
    citation = Element("MedlineCitation") if citation is None else citation
    ids = article.findall("PubmedData/ArticleIdList/ArticleId")
    headings = citation.findall("MeshHeadingList/MeshHeading")
    major = [one for one in headings if any(part.get("MajorTopicYN") == "Y" for part in one)]
    return {
        "pmid": _text_at(citation, "PMID"),
        "pmcid": next((_text(one) for one in ids if one.get("IdType") == "pmc"), ""),
        "title": _text_at(citation, "Article/ArticleTitle") or _text_at(citation, "Article/VernacularTitle"),
        "abstract": "\n\n".join(_labelled(citation.findall("Article/Abstract/AbstractText"))),
        "mesh": _joined(one.find("DescriptorName") for one in headings),
        "mesh_major": _joined(one.find("DescriptorName") for one in major),
        "publication_types": _joined(citation.findall("Article/PublicationTypeList/PublicationType")),
        "keywords": _joined(citation.findall("KeywordList/Keyword")),
        "journal": _text_at(citation, "Article/Journal/Title") or _text_at(citation, "MedlineJournalInfo/MedlineTA"),
        "year": _pubmed_year(citation),
        "language": _joined(citation.findall("Article/Language")),
        "origin": "PubMed",
    }


def _labelled(parts: list[Element]) -> list[str]:
    """The sections of a structured abstract, each under its label."""
    texts = [(part.get("Label", "").strip(), _text(part)) for part in parts]
    return [f"{label}:\n{text}" if label else text for label, text in texts if text]


def _pubmed_year(citation: Element) -> str:
    """The year of the issue, also where it is written as a season or a span; else of the electronic article."""
    places = ("Article/Journal/JournalIssue/PubDate/Year", "Article/Journal/JournalIssue/PubDate/MedlineDate")
    for place in (*places, "Article/ArticleDate/Year"):
        found = _YEAR.search(_text_at(citation, place))
        if found:
            return found[0]
    return ""


def _pmc(article: Element) -> dict[str, str]:
    """An article of PMC."""
    meta = article.find("front/article-meta")
    meta = Element("article-meta") if meta is None else meta
    ids = {one.get("pub-id-type"): _text(one) for one in meta.findall("article-id")}
    pmc = (ids.get("pmcid") or ids.get("pmc") or "").upper().removeprefix("PMC")
    subjects = meta.findall("article-categories/subj-group[@subj-group-type='heading']/subject")
    body = article.find("body")
    kinds = [article.get("article-type", ""), *map(_text, subjects)]
    language = next((value for name, value in article.items() if name.rpartition("}")[2] == "lang"), "")
    return {
        "pmid": ids.get("pmid", ""),
        "pmcid": f"PMC{pmc}" if pmc else "",
        "title": _text_at(meta, "title-group/article-title"),
        "abstract": _pmc_abstract(meta),
        "body": "" if body is None else _prose(body),
        "publication_types": "; ".join(dict.fromkeys(filter(None, kinds))),
        "keywords": _joined(one for group in meta.findall("kwd-group") for one in group.iter("kwd")),
        "journal": _text(next((one for one in article.iterfind("front/journal-meta//journal-title")), None)),
        "year": _pmc_year(meta),
        "language": language,
        "origin": "PMC",
    }


def _pmc_abstract(meta: Element) -> str:
    """The abstract; a teaser, a graphical one or an editor's summary only where there is no other."""
    found = meta.findall("abstract")
    plain = [one for one in found if one.get("abstract-type") is None]
    return "\n\n".join(filter(None, map(_prose, plain or found[:1])))


def _pmc_year(meta: Element) -> str:
    """The earliest year of publication; the day of release in PMC may be years later."""
    dates = [one for one in meta.findall("pub-date") if one.get("pub-type") != "pmc-release"]
    years = [found[0] for one in dates if (found := _YEAR.search(_text_at(one, "year")))]
    return min(years, default="")


_UNITS: dict[str, Callable[[Element], dict[str, str]] | str] = {
    "PubmedArticle": _pubmed,
    "article": _pmc,
    "PubmedBookArticle": "chapters of books",
    "DeleteCitation": "lists of deleted articles",
}


def _prose(element: Element) -> str:
    """Paragraphs under the titles of their sections, without tables, figures, formulas and numbered citations."""
    parts: list[str] = []
    _walk(element, parts)
    text = re.sub(rf"\s*{_HEAD}\s*", ":\n", _uncited("".join(parts)))
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _text(element: Element | None) -> str:
    """All text of an element on one line, inline markup resolved."""
    if element is None:
        return ""
    parts: list[str] = []
    _walk(element, parts)
    return " ".join(_uncited("".join(parts)).replace(_HEAD, ": ").split())


def _uncited(text: str) -> str:
    """Text without numbered citations, and the brackets and commas around them."""
    return _CITED.sub("", text) if _MARK in text else text


def _walk(element: Element, parts: list[str]) -> None:
    """Add an element's text and its parts', in order."""
    if element.text:
        parts.append(_flat(element.text))
    for child in element:
        _child(child, parts)
        if child.tail:
            parts.append(_flat(child.tail))


def _child(child: Element, parts: list[str]) -> None:
    """Add one part: a block on lines of its own, a title with a colon, a power with its sign."""
    if child.tag in _SILENT:
        return
    if child.tag == "xref" and child.get("ref-type") == "bibr" and not any(map(str.isalpha, "".join(child.itertext()))):
        parts.append(_MARK)
    elif child.tag == "sup":
        _power(child, parts)
    elif child.tag == "title":
        title = _text(child).rstrip(":")
        parts.append(f"\n\n{title}{_HEAD}" if title else "")
    elif child.tag in _BLOCKS:
        parts.append("\n")
        _walk(child, parts)
        parts.append("\n")
    else:
        _walk(child, parts)


def _power(sup: Element, parts: list[str]) -> None:
    """A raised number after a number is a power: 10<sup>3</sup> is 10^3 and never 103."""
    text = _text(sup)
    before = next((part[-1] for part in reversed(parts) if part), "")
    raised = before.isdigit() and re.match(r"[-+−–]?\d", text) is not None
    parts.append(f"^{text}" if raised else text)


def _flat(text: str) -> str:
    """Text whose own line ends are spaces, as they are in XML."""
    return text.replace("\n", " ").replace("\t", " ").replace("\r", " ")


def _text_at(element: Element, path: str) -> str:
    """The text of the first element at a path, or nothing."""
    return _text(element.find(path))


def _joined(elements: Iterable[Element | None]) -> str:
    """The texts of elements, each once, separated as MeSH terms can be: a term may hold a comma."""
    return "; ".join(dict.fromkeys(filter(None, map(_text, elements))))


def _says(records: list[dict[str, str]], file: str, files: int, out: Counter[str]) -> list[str]:
    """What was read, what articles lack, and what was left out."""
    origins = Counter(one["origin"] for one in records)
    shares = ", ".join(f"{count:,} of {name}" for name, count in sorted(origins.items()))
    said = [f"read {counted(len(records), 'article')} of {file}: {counted(files, 'XML file')}, {shares}"]
    names = {"abstract": "an abstract", "body": "a body", "mesh": "MeSH headings", "keywords": "keywords"}
    have = ", ".join(f"{sum(bool(one.get(name)) for one in records):,} {what}" for name, what in names.items())
    said.append(f"of these, {have}")
    if out:
        said.append("left out: " + ", ".join(f"{name} ({count:,})" for name, count in out.most_common()))
    return said
