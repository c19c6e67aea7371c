"""PubMed and PMC: what becomes of markup and missing parts, and which files are refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bedside.core.errors import DataError
from bedside.data.readers import files_of, read
from bedside.protocol import DataSection

DOCTYPE = (
    '<?xml version="1.0"?><!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2025//EN" '
    '"https://dtd.example.org/pubmed.dtd">'
)
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE PubmedArticleSet [\n<!ENTITY a "ha">\n<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">\n]>'
    "<PubmedArticleSet><PubmedArticle>&b;</PubmedArticle></PubmedArticleSet>"
)


def pubmed(pmid: str, abstract: str = "<AbstractText>Cough.</AbstractText>", more: str = "", data: str = "") -> str:
    return (
        f'<PubmedArticle><MedlineCitation><PMID Version="1">{pmid}</PMID><Article><Journal><JournalIssue><PubDate>'
        f"<MedlineDate>1998 Dec-1999 Jan</MedlineDate></PubDate></JournalIssue><Title>J</Title></Journal>"
        f"<ArticleTitle>T{pmid}</ArticleTitle><Abstract>{abstract}</Abstract><Language>eng</Language></Article>{more}"
        f"</MedlineCitation>{data}</PubmedArticle>"
    )


def articles(*found: str) -> str:
    return f"{DOCTYPE}<PubmedArticleSet>{''.join(found)}</PubmedArticleSet>"


def pmc(front: str = "", body: str = "", attributes: str = 'article-type="case-report"') -> str:
    return f"<article {attributes}><front><article-meta>{front}</article-meta></front><body>{body}</body></article>"


def table(path: Path):
    return read(DataSection(source=str(path), text="abstract", label="mesh"), Path())


def rows(path: Path) -> list[dict]:
    return table(path).frame.to_dicts()


def test_a_structured_abstract_keeps_its_labels_and_its_inline_markup(write) -> None:
    abstract = (
        '<AbstractText Label="METHODS">We gave <i>E. coli</i> at 10<sup>3</sup>/ml,\n5 kg/m<sup>2</sup>.</AbstractText>'
        '<AbstractText Label="RESULTS">H<sub>2</sub>O &lt; 3 &#956;g <b><i>fell</i></b>.</AbstractText>'
    )
    (row,) = rows(write(articles(pubmed("7", abstract)), "a.xml"))
    assert row["abstract"] == "METHODS:\nWe gave E. coli at 10^3/ml, 5 kg/m2.\n\nRESULTS:\nH2O < 3 μg fell."
    assert (row["pmid"], row["title"], row["journal"], row["year"]) == ("7", "T7", "J", "1998")
    assert (row["language"], row["origin"], row["body"]) == ("eng", "PubMed", "")


def test_headings_types_and_keywords_are_joined(write) -> None:
    more = (
        "<MeshHeadingList><MeshHeading><DescriptorName>Asthma</DescriptorName>"
        '<QualifierName MajorTopicYN="Y">drug therapy</QualifierName></MeshHeading><MeshHeading>'
        '<DescriptorName MajorTopicYN="N">Microscopy, Electron</DescriptorName></MeshHeading></MeshHeadingList>'
        "<KeywordList><Keyword>wheeze</Keyword><Keyword>wheeze</Keyword></KeywordList>"
    )
    data = '<PubmedData><ArticleIdList><ArticleId IdType="pmc">PMC9</ArticleId></ArticleIdList></PubmedData>'
    (row,) = rows(write(articles(pubmed("7", more=more, data=data)), "a.xml"))
    assert (row["mesh"], row["mesh_major"]) == ("Asthma; Microscopy, Electron", "Asthma")
    assert (row["keywords"], row["pmcid"]) == ("wheeze", "PMC9")


def test_a_body_is_its_paragraphs_without_tables_formulas_and_numbered_citations(write) -> None:
    body = (
        '<sec><label>1.</label><title>Case</title><p>A man<sup><xref ref-type="bibr" rid="b">1</xref>,'
        '<xref ref-type="bibr" rid="c">2</xref></sup> had fever [<xref ref-type="bibr">3</xref>]–'
        '[<xref ref-type="bibr">5</xref>]; as <xref ref-type="bibr">Osler (1892)</xref> says.</p>'
        "<fig><caption><p>A film.</p></caption></fig><p>He got <italic>x</italic> 2&#x2009;mg"
        "<table-wrap><table><tr><td>9</td></tr></table></table-wrap>.</p></sec><sec><title>End.</title></sec>"
    )
    front = (
        '<article-id pub-id-type="pmid">5</article-id><article-id pub-id-type="pmc">77</article-id><title-group>'
        '<article-title>A <bold>case</bold></article-title></title-group><pub-date pub-type="pmc-release"><year>2020'
        '</year></pub-date><pub-date pub-type="ppub"><year>2019</year></pub-date><abstract abstract-type="teaser"><p>'
        "Buy!</p></abstract><abstract><title>Background</title><p>Fever.</p></abstract><kwd-group><kwd>fever</kwd>"
        "</kwd-group>"
    )
    (row,) = rows(write(pmc(front, body), "a.nxml"))
    assert row["body"] == "Case:\nA man had fever; as Osler (1892) says.\n\nHe got x 2 mg.\n\nEnd.:"
    assert (row["pmid"], row["pmcid"], row["title"], row["year"]) == ("5", "PMC77", "A case", "2019")
    assert (row["abstract"], row["keywords"]) == ("Background:\nFever.", "fever")
    assert (row["publication_types"], row["origin"]) == ("case-report", "PMC")


def test_a_namespace_says_nothing_and_sets_of_articles_are_read(write) -> None:
    one = pmc(body="<p>Cough.</p>", attributes='xmlns="https://jats.nlm.nih.gov/ns/archiving/1.3/" xml:lang="en"')
    path = write(f'<OAI-PMH xmlns="http://x.org/"><a><m>{one}</m><m>{one}</m></a></OAI-PMH>', "a.xml")
    assert [(row["body"], row["language"]) for row in rows(path)] == [("Cough.", "en")] * 2


def test_a_later_version_replaces_an_earlier_one_and_what_is_no_article_is_counted(tmp_path: Path) -> None:
    books = "<PubmedBookArticle/><DeleteCitation><PMID>3</PMID></DeleteCitation>"
    (tmp_path / "b.xml.gz").write_bytes(
        gzip.compress(articles(pubmed("1", "<AbstractText>New.</AbstractText>")).encode())
    )
    (tmp_path / "a.xml").write_text(articles(pubmed("1"), pubmed("2", ""), books), encoding="utf-8")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.nxml").write_text(pmc(body="<p>Body.</p>"), encoding="utf-8")
    read_in = table(tmp_path)
    assert [(row["pmid"], row["abstract"], row["body"]) for row in read_in.frame.to_dicts()] == [
        ("2", "", ""),
        ("1", "New.", ""),
        ("", "", "Body."),
    ]
    said = " ".join(read_in.observations)
    assert "3 articles" in said and "1 of PMC, 2 of PubMed" in said
    assert "1 an abstract, 1 a body, 0 MeSH headings" in said
    assert "earlier versions of an article that comes again (1)" in said
    assert "chapters of books (1)" in said and "lists of deleted articles (1)" in said


def test_the_files_of_a_folder_are_watched_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(articles(pubmed("1")), encoding="utf-8")
    (tmp_path / "notes.pdf").write_bytes(b"more")
    assert files_of(str(tmp_path), Path()) == {"table/1": tmp_path / "a.xml"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (LAUGHS, r"a\.xml, line 2 declares an entity"),
        (LAUGHS.encode("utf-16"), r"a\.xml, line 2 declares an entity"),
        ('<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><article>&f;</article>', "declares an entity"),
        ('<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;]><article/>', "declares an entity"),
        (f"{articles(pubmed('1'))[:-30]}", r"a\.xml, line 1 is not valid XML"),
        ("<PubmedArticleSet>\n<PubmedArticle>\n</PubmedArticleSet>", r"line 3 is not valid XML \(mismatched tag\)"),
        ("<article>\n&nbsp;</article>", r"line 2 is not valid XML \(undefined entity\)"),
        ("", "is not valid XML"),
        ("no XML", "line 1 is not valid XML"),
        ("<html><body/></html>", "is XML of another kind, its first element is <html>"),
        ("<PubmedArticleSet/>", "holds no article"),
        (f"<article><front/><body>{'<p>' * 5000}{'</p>' * 5000}</body></article>", "nested deeper"),
    ],
)
def test_wrong_files_are_one_sentence(write, content: str | bytes, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        rows(write(content, "a.xml"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(articles(pubmed("1") * 99).encode())[:-40]])
def test_damaged_packing_is_one_sentence(write, content: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.xml\.gz is cut off or damaged"):
        rows(write(content, "a.xml.gz"))


def test_published_files_give_their_articles(shared_data: Path) -> None:
    read_in = table(shared_data / "pubmed_xml")
    assert "read 17 articles of pubmed_xml: 15 XML files, 8 of PMC, 9 of PubMed" in read_in.observations
    found = {(row["origin"], row["pmid"]): row for row in read_in.frame.to_dicts()}
    asthma = found["PubMed", "29768149"]
    assert asthma["abstract"].startswith("BACKGROUND:\nIn patients with mild asthma")
    assert "Randomized Controlled Trial" in asthma["publication_types"]
    assert asthma["mesh_major"].startswith("Asthma; ")
    plos = found["PMC", "17299597"]
    assert (plos["pmcid"], plos["year"], plos["journal"]) == ("PMC1790863", "2007", "PLoS ONE")
    assert plos["body"].startswith("Introduction:\nA persistent question in biology")
    assert all(row["title"] and row["journal"] and row["year"] for row in found.values())
