"""The curves and the page of a run say what its log and its summary say."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bedside import reporting as r
from bedside.training.curves import Log, how_it_was_trained, kept, pictures, smoothed, thinned, write_report

SUMMARY: dict[str, Any] = {
    "base": "tiny",
    "kind": "encoder",
    "epochs": 3,
    "best_epoch": 2,
    "validation_macro_f1": 0.75,
    "validation_loss": 0.5,
    "notes_per_second": 41.1,
    "tokens_per_second": 1735,
    "took": {"seconds": 200.0, "peak_memory_bytes": 2_000_000_000, "energy_joules": 7200.0, "energy_of": "package-0"},
    "seconds": 210.0,
}
SETTINGS: dict[str, Any] = {
    "method": "full",
    "learning_rate": 0.0001,
    "class_weights": True,
    "trained_parameters": 11_427_096,
    "precision_trial": {"name": "bf16", "why": "bf16 because it was faster."},
    "estimate": {"seconds": 180.0, "seconds_low": 120.0, "seconds_high": 300.0, "memory_bytes": 1e9, "disk_bytes": 5e8},
    "seed": 7,
}


class Reader(HTMLParser):
    """Tags that are closed in order, what they refer to, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def lines(steps: int = 30, measure: str = "validation_macro_f1") -> list[dict[str, Any]]:
    """A log of three epochs in which the second is the best."""
    found: list[dict[str, Any]] = [{"epoch": 0, measure: 0.25, "validation_loss": 1.25}]
    for epoch in (1, 2, 3):
        first = (epoch - 1) * steps // 3
        found += [
            {"epoch": epoch, "step": step, "loss": 1 / step, "rate": 1e-4 / step}
            for step in range(first + 1, epoch * steps // 3 + 1)
        ]
        found.append({"epoch": epoch, measure: (0, 0.5, 0.75, 0.625)[epoch], "validation_loss": 1 / (epoch + 1)})
    return found


def write(folder: Path, content: list[dict[str, Any]]) -> Path:
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in content), encoding="utf-8")
    return folder / "log.jsonl"


def read(folder: Path, content: list[dict[str, Any]]) -> Log:
    found = Log.read(write(folder, content))
    assert found is not None
    return found


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    log = read(tmp_path, lines())
    assert log.loss == [(step, pytest.approx(1 / step)) for step in range(1, 31)]
    assert log.rate[-1] == (30, pytest.approx(1e-4 / 30))
    assert log.score == [(0, 0.25), (1, 0.5), (2, 0.75), (3, 0.625)]
    assert [loss for _, loss in log.held_out_loss] == [1.25, 1 / 2, 1 / 3, 1 / 4]
    assert (log.measure, log.fault) == ("macro_f1", "")


def test_a_score_of_another_name_is_found(tmp_path: Path) -> None:
    log = read(tmp_path, lines(measure="validation_mean_average_precision"))
    assert log.measure == "mean_average_precision"
    assert len(log.score) == 4


def test_a_log_that_was_cut_off_or_went_twice_over_steps_is_read(tmp_path: Path) -> None:
    file = write(tmp_path, [*lines(), {"epoch": 3, "step": 30, "loss": 9.0}])
    with file.open("a", encoding="utf-8") as handle:
        handle.write('{"epoch": 4, "st')
    log = Log.read(file)
    assert log is not None
    assert len(log.loss) == 30
    assert log.loss[-1] == (30, 9.0)


def test_there_may_be_no_log(tmp_path: Path) -> None:
    assert Log.read(tmp_path / "log.jsonl") is None
    assert Log.read(write(tmp_path, [])) is None
    assert Log.read(write(tmp_path, [{"epoch": 0, "strength": 0.1, "validation_macro_f1": 0.5}])) is None


def test_smoothing_is_a_weighted_mean_from_the_first_value_on() -> None:
    points = [(1.0, 4.0), (2.0, 1.0), (3.0, 1.0)]
    found = smoothed(points, 3)  # weights halve with each step back
    assert [x for x, _ in found] == [1, 2, 3]
    assert [y for _, y in found] == pytest.approx([4.0, (2 * 1 + 4) / 3, (4 * 1 + 2 * 1 + 4) / 7])
    assert smoothed([(1.0, 0.5)] * 5, 10)[-1][1] == pytest.approx(0.5)


def test_thinning_keeps_every_peak() -> None:
    points = [(float(x), math.sin(x / 500)) for x in range(10_000)]
    points[5_432] = (5432.0, 99.0)
    points[777] = (777.0, -99.0)
    found = thinned(points)
    assert len(found) <= 240
    assert {points[5_432], points[777]} <= set(found)
    assert found == sorted(found)
    assert thinned(points[:200]) == points[:200]


def test_every_curve_has_its_numbers_and_the_best_epoch_is_marked(tmp_path: Path) -> None:
    found = pictures(read(tmp_path, lines()), best=2)
    assert len(found) == 4
    for figure in found:
        page = Reader(figure)
        names = [tag for tag, _ in page.tags]
        assert names.count("svg") == 1
        assert names.count("table") == 1
        assert "script" not in names
        assert next(told for tag, told in page.tags if tag == "svg")["role"] == "img"
    loss, score, held_out, _ = found
    assert loss.count("<polyline") == 2
    assert "smoothed over about 3 steps" in loss
    assert "kept: epoch 2, 0.750" in score
    assert "kept: epoch 2, 0.333" in held_out
    assert re.search(r"<td[^>]*>2</td><td[^>]*>0.750</td><td>kept</td>", score)


def test_the_line_goes_through_the_points() -> None:
    figure = r.lines([r.Curve("a", [(0, 0.0), (1, 1.0), (2, 0.5)])], "t", "x", "y", "", (1.0, 1.0, "top"))
    found = re.search(r'<polyline points="([^"]+)"', figure)
    assert found is not None
    (x0, y0), (x1, y1), (x2, y2) = (map(float, pair.split(",")) for pair in found[1].split())
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y2 == pytest.approx(y2 - y1, abs=0.2)
    assert y1 < y2 < y0
    assert f'<circle cx="{x1:.1f}" cy="{y1:.1f}" r="6"' in figure


@pytest.mark.parametrize(
    "values", [[0.5], [0.5, 0.5], [0.0, 0.0], [1e-7, 2e-7], [0.931, 0.948], [3.0, 4e6], [-1.0, 1.0]]
)
def test_any_range_can_be_drawn(values: list[float]) -> None:
    figure = r.lines([r.Curve("a", [*enumerate(values)])], "t", "x", "y", "")
    assert "nan" not in figure
    places = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', figure)]
    assert len(places) == len(values)
    grid = [float(y) for y in re.findall(r'<line x1="52.0" y1="([\d.]+)"', figure)]
    assert 2 <= len(grid) <= 8
    assert min(grid) - 0.1 <= min(places) <= max(places) <= max(grid) + 0.1


def test_small_numbers_at_an_axis_are_short() -> None:
    figure = r.lines([r.Curve("a", [(1, 2e-4), (2, 5e-5)])], "t", "x", "y", "")
    found = re.findall(r'text-anchor="end">([^<]+)<', figure)
    assert [float(one) for one in found] == sorted(map(float, found))
    assert "1.5e-4" in found
    assert max(map(len, found)) <= 6


def test_a_long_run_makes_a_short_page(tmp_path: Path) -> None:
    figure = pictures(read(tmp_path, lines(60_000)), best=2)[0]
    assert len(figure) < 30_000
    assert figure.count("<tr>") == 41
    assert ">1–1500<" in figure
    assert ">1.000<" in figure  # the highest value of the first stretch


def test_the_page_says_what_the_summary_says(tmp_path: Path) -> None:
    write(tmp_path, lines())
    file = write_report(tmp_path, SUMMARY, SETTINGS, "chest <pain>", synthetic=True)
    assert file == tmp_path / "report.html"
    text = file.read_text("utf-8")
    page = Reader(text)
    assert "chest &lt;pain&gt;" in text
    assert "SYNTHETIC DATA" in page.text
    assert "The weights of epoch 2 of 3 were kept, the best by the validation macro-F1 of 0.750" in page.text
    for said in ("41.1", "1,735", "3 min, from 2 min to 5 min", "2.0 GB", "1.0 GB", "2 Wh", "11,427,096", "0.0001"):
        assert said in page.text, said
    assert "bf16 because it was faster." in page.text
    assert not [tag for tag, told in page.tags if tag == "script" or {"src", "onload"} & set(told)]
    assert [told["href"] for tag, told in page.tags if told.get("href")] == ["#content"]


def test_real_data_are_not_called_synthetic(tmp_path: Path) -> None:
    assert "SYNTHETIC" not in write_report(tmp_path, SUMMARY, SETTINGS, "chest").read_text("utf-8")


def test_a_run_without_a_log_has_a_page_without_curves(tmp_path: Path) -> None:
    text = write_report(tmp_path, {"base": "tfidf", "kind": "tfidf", "validation_macro_f1": 0.5}, {}, "x").read_text()
    assert "<svg" not in text
    assert "0.500" in text
    assert how_it_was_trained(tmp_path) == []


def test_a_run_that_was_stopped_says_why(tmp_path: Path) -> None:
    write(tmp_path, [*lines(), {"epoch": 3, "step": 31, "loss": None, "fault": "the loss is nan"}])
    text = Reader(write_report(tmp_path, {"base": "tiny"}, SETTINGS, "x").read_text("utf-8")).text
    assert "the loss is nan; nothing was kept." in text


def test_what_was_kept_is_told_honestly(tmp_path: Path) -> None:
    log = read(tmp_path, lines())
    assert "was not fine-tuned" in kept({"best_epoch": 0, "epochs": 3}, log)
    assert "0.250" in kept({"best_epoch": 0, "epochs": 3}, log)
    assert "epoch 3 of 3" in kept({"best_epoch": 3, "epochs": 3}, log)


def test_another_page_shows_the_same_curves(tmp_path: Path) -> None:
    write(tmp_path, lines())
    assert how_it_was_trained(tmp_path) == []  # not before the run is done
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY), encoding="utf-8")
    first, *curves = how_it_was_trained(tmp_path)
    assert "epoch 2 of 3" in first
    assert "41.1" not in first  # the page of an evaluation does not depend on the speed of the machine
    assert curves == pictures(read(tmp_path, lines()), best=2)


def test_a_log_of_another_model_is_not_shown(tmp_path: Path) -> None:
    """What an earlier encoder left in the folder of what is TF-IDF now."""
    write(tmp_path, lines())
    (tmp_path / "summary.json").write_text(json.dumps({"base": "tfidf", "kind": "tfidf"}), encoding="utf-8")
    assert how_it_was_trained(tmp_path) == []


def test_the_report_of_an_evaluation_has_a_section_of_it(tmp_path: Path) -> None:
    from bedside.evaluation.report import training

    write(tmp_path, lines())
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY), encoding="utf-8")
    with_run, without = r.Page("Evaluation"), r.Page("Evaluation")
    training(with_run, tmp_path, None)
    training(without, None, None)
    assert "How it was trained" in with_run.html()
    assert "kept: epoch 2, 0.750" in with_run.html()
    assert "How it was trained" not in without.html()
