"""The model card: what the model is, for whom, from which data, and what was measured, field by field.

A card is a function of three files of the bundle, ``bundle.json``, ``labels.json`` and ``metrics.json``, and of nothing
else: each field names the place that its value is copied from, so that a card can be made again and compared. What was
not measured is printed all the same, as "Not evaluated". The fields follow Mitchell et al. 2019 and the Hub's template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOT_EVALUATED, NOT_STATED = "Not evaluated", "Not stated"
_BUNDLE, _LABELS, _METRICS = "bundle.json", "labels.json", "metrics.json"
_FIGURES = {
    "macro_f1": "Macro-F1",
    "accuracy": "Accuracy",
    "exact_sets": "Cases with exactly the right labels",
    "micro_f1": "Micro-F1",
    "weighted_f1": "Weighted F1",
    "auroc": "AUROC, mean over labels",
    "auprc": "AUPRC, mean over labels",
    "brier": "Brier score",
    "ece": "Calibration error (ECE), debiased",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
}
_OF_LABEL = ("sensitivity", "specificity", "ppv", "npv", "auroc")
_NEVER = (  # what this version cannot measure; a field that is never filled is better than one that is not there
    "Privacy: membership inference",
    "Explanations and their faithfulness",
    "Stress tests: negation, family history, typing errors",
    "Validation at another hospital",
)


@dataclass(frozen=True)
class Field:
    """One line of a card.

    Attributes:
        name: of what.
        text: as it is printed.
        key: ``file#/place`` that it is copied from; empty where there is nothing to copy.
    """

    name: str
    text: str
    key: str = ""


@dataclass(frozen=True)
class Part:
    """A section of a card."""

    title: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Card:
    """A whole card: its title, its sections, and the notices that stand above them."""

    title: str
    notices: tuple[str, ...]
    parts: tuple[Part, ...]
    facts: Mapping[str, Any]


def card_of(bundle: Mapping[str, Any], labels: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> Card:
    """The card of a bundle.

    Args:
        bundle: the content of ``bundle.json``.
        labels: of ``labels.json``.
        metrics: of ``metrics.json``; empty where nothing was measured.
    """
    read = _Reader({_BUNDLE: bundle, _LABELS: list(labels), _METRICS: metrics})
    notices = []
    if bundle["draft"]:
        notices.append("DRAFT: the intended use or its limits are not stated; this model is not to be used.")
    if bundle["provenance"].get("synthetic"):
        notices.append("SYNTHETIC DATA: the figures say nothing about patients.")
    looks = bundle["provenance"].get("look", 1)
    if isinstance(looks, int) and looks > 1:
        notices.append(f"Look {looks} of the test split: choosing by it makes its figures too good.")
    parts = (
        _model(read),
        _use(read),
        _data(read, labels),
        _overall(read, metrics),
        _calibrated(read, metrics),
        _answers(read, metrics),
        _groups(read, metrics),
        *_each(read, metrics),
        Part("Not evaluated", tuple(Field(name, NOT_EVALUATED) for name in _NEVER)),
    )
    facts = {
        "base_model": bundle.get("base_model", {}),
        "labels": len(labels),
        "macro_f1": read.value(f"{_METRICS}#/test/model/macro_f1/value"),
        "source": read.value(f"{_BUNDLE}#/data/source"),
    }
    name = bundle["provenance"].get("study", bundle["kind"])
    return Card(f"Model card: {name} {bundle['version']}", tuple(notices), parts, facts)


class _Reader:
    """Values by their places, and fields made of them."""

    def __init__(self, files: Mapping[str, Any]) -> None:
        self._files = files

    def value(self, key: str) -> Any:
        """What lies at ``file#/place``; None where nothing does."""
        name, _, place = key.partition("#")
        found = self._files[name]
        for step in place.strip("/").split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping) and step in found:
                found = found[step]
            elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
                found = found[int(step)]
            else:
                return None
        return found

    def field(self, name: str, key: str, say: Callable[[Any], str] = str, absent: str = NOT_STATED) -> Field:
        """A field whose value lies at a place."""
        found = self.value(key)
        empty = found is None or found in ("", [], {})
        return Field(name, absent, "") if empty else Field(name, say(found), key)


def figure(value: Mapping[str, Any]) -> str:
    """``0.951 (0.910 to 0.980), N = 180``; one that is too uncertain says so."""
    if value.get("value") is None:
        return "not defined for these cases"
    interval = "" if value.get("low") is None else f" ({value['low']:.3f} to {value['high']:.3f})"
    few = "; too few to say" if value.get("too_few") else ""
    return f"{value['value']:.3f}{interval}, N = {value['n']:,}{few}"


def _step(name: str) -> str:
    """A name as a step of a place (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _listed(values: Any) -> str:
    return "; ".join(str(one) for one in values)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()))


def _model(read: _Reader) -> Part:
    field = read.field
    return Part(
        "The model",
        (
            field("Version", f"{_BUNDLE}#/version"),
            field("Kind", f"{_BUNDLE}#/kind"),
            field("Base model", f"{_BUNDLE}#/base_model/id"),
            field("Licence of the base model", f"{_BUNDLE}#/base_model/licence"),
            field("What that licence asks", f"{_BUNDLE}#/base_model/obligations"),
            field("Of the base model", f"{_BUNDLE}#/base_model/note"),
            field("Training", f"{_BUNDLE}#/training", _pairs),
            field("Versions", f"{_BUNDLE}#/provenance/versions", _pairs),
            field("Looks at the test split", f"{_BUNDLE}#/provenance/look"),
            field("Metrics, SHA-256", f"{_BUNDLE}#/provenance/metrics"),
        ),
    )


def _use(read: _Reader) -> Part:
    return Part(
        "Use",
        (
            read.field("Intended use", f"{_BUNDLE}#/intended_use"),
            read.field("Limits", f"{_BUNDLE}#/limits"),
            read.field("Shortest note answered, words", f"{_METRICS}#/abstention/certificate/fewest_words"),
            read.field(
                "What is read of a note", f"{_BUNDLE}#/moment", lambda _: "what is written before the moment of asking",
                "all of it",
            ),
        ),
    )  # fmt: skip


def _data(read: _Reader, labels: Sequence[Mapping[str, Any]]) -> Part:
    field = read.field
    splits = tuple(
        field(f"Cases, {split}", f"{_BUNDLE}#/data/splits/{split}")
        for split in ("train", "validation", "calibration", "test")
    )
    supports = tuple(
        field(f"Training cases of {one['label']}", f"{_LABELS}#/{place}/support") for place, one in enumerate(labels)
    )
    return Part(
        "The data",
        (
            field("Source", f"{_BUNDLE}#/data/source"),
            field("Licences", f"{_BUNDLE}#/data/licences", _listed),
            field("Consent", f"{_BUNDLE}#/data/consents", _listed),
            field("Synthetic", f"{_BUNDLE}#/provenance/synthetic", lambda yes: "yes" if yes else "no"),
            field("De-identification", f"{_BUNDLE}#/data/deidentification", absent=NOT_EVALUATED),
            field("Division", f"{_BUNDLE}#/data/division"),
            *splits,
            *supports,
        ),
    )


def _overall(read: _Reader, metrics: Mapping[str, Any]) -> Part:
    model = metrics.get("test", {}).get("model", {})
    names = {**_FIGURES, f"top_{metrics.get('top_k', 3)}": f"Among the first {metrics.get('top_k', 3)}"}
    always = ("macro_f1", "auroc", "brier", "ece")
    fields = [
        part
        for name, title in names.items()
        if name in model or name in always
        for part in (
            read.field(title, f"{_METRICS}#/test/model/{name}", figure, NOT_EVALUATED),
            read.field(f"{title}, TF-IDF baseline", f"{_METRICS}#/test/baseline/{name}", figure, NOT_EVALUATED),
        )
    ]
    place = f"{_METRICS}#/test/difference"
    fields += [
        read.field("Macro-F1, model less baseline", f"{place}/macro_f1", figure, NOT_EVALUATED),
        read.field("Against the baseline", f"{place}/verdict", absent=NOT_EVALUATED),
        read.field("McNemar's p", f"{place}/mcnemar/p", lambda p: f"{p:.2g}", NOT_EVALUATED),
        read.field("On rows divided at random, TF-IDF", f"{_METRICS}#/naive/macro_f1", figure, NOT_EVALUATED),
        read.field(
            "Spread over seeds, standard deviation", f"{_METRICS}#/seeds/standard_deviation", _three, NOT_EVALUATED
        ),
    ]
    return Part("Measured on the test split", tuple(fields))


def _three(value: float) -> str:
    return f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:g} %"


def _calibrated(read: _Reader, metrics: Mapping[str, Any]) -> Part:
    return Part(
        "Calibration",
        (
            read.field("Temperature", f"{_METRICS}#/calibration/temperature/model", _three, NOT_EVALUATED),
            read.field("ECE before calibration", f"{_METRICS}#/test/model/ece_uncalibrated", figure, NOT_EVALUATED),
            read.field(
                "ECE that a perfect model would show, 95th percentile",
                f"{_METRICS}#/calibration/ece_if_perfect/high", _three, NOT_EVALUATED,
            ),
        ),
    )  # fmt: skip


def _answers(read: _Reader, metrics: Mapping[str, Any]) -> Part:
    held, place = metrics.get("abstention", {}), f"{_METRICS}#/abstention"
    fields = [
        read.field("At most wrong among answered", f"{place}/certificate/max_error", _percent, NOT_EVALUATED),
        read.field("Confidence of that", f"{place}/certificate/confidence", _percent, NOT_EVALUATED),
        read.field("Answered from a probability of", f"{place}/certificate/threshold", _answered_from, "not certified"),
        read.field("Test cases answered", f"{place}/answered", absent=NOT_EVALUATED),
        read.field("Wrong among them", f"{place}/error", figure, NOT_EVALUATED),
        read.field("Wrong among the surest 80 %", f"{place}/selective/error_at_coverage", figure, NOT_EVALUATED),
        read.field("Area under the risk–coverage curve", f"{place}/selective/aurc", figure, NOT_EVALUATED),
        read.field("Prediction sets, promised coverage", f"{place}/sets/promised", _percent, NOT_EVALUATED),
        read.field("Prediction sets, coverage", f"{place}/sets/coverage", figure, NOT_EVALUATED),
        read.field("Prediction sets, mean size", f"{place}/sets/mean_size", _three, NOT_EVALUATED),
    ]
    for label, one in held.get("cant_miss", {}).get("labels", {}).items():
        inner = f"{place}/cant_miss/labels/{_step(label)}"
        if one["threshold"] is None:
            fields.append(read.field(f"Must not be missed: {label}", f"{inner}/refused"))
            continue
        fields += [
            read.field(f"Must not be missed: {label}, from", f"{inner}/threshold", _three),
            read.field(f"Must not be missed: {label}, sensitivity", f"{inner}/sensitivity", figure),
            read.field(f"Must not be missed: {label}, false alarms per 100", f"{inner}/false_alarms_per_100", figure),
        ]
    if "cant_miss" not in held:
        fields.append(Field("Labels that must not be missed", "none named"))
    fields.append(read.field("Out-of-scope guard", f"{_METRICS}#/scope/lost", figure, NOT_EVALUATED))
    return Part("When it answers", tuple(fields))


def _answered_from(value: Any) -> str:
    """One threshold, or one for each label, which the report lists."""
    return f"{value:.3f}" if isinstance(value, float | int) else "a threshold of each label"


def _groups(read: _Reader, metrics: Mapping[str, Any]) -> Part:
    columns = metrics.get("test", {}).get("subgroups", {}).get("columns", {})
    fields = []
    for column, body in columns.items():
        place = f"{_METRICS}#/test/subgroups/columns/{_step(column)}"
        fields.append(read.field(f"{column}: verdict", f"{place}/verdict"))
        fields += [
            read.field(f"{column}: {group}, called right", f"{place}/groups/{_step(group)}/called_right", figure)
            for group in body["groups"]
        ]
    return Part("Groups of cases", tuple(fields) or (Field("Groups of cases", NOT_EVALUATED),))


def _each(read: _Reader, metrics: Mapping[str, Any]) -> list[Part]:
    """A part for each label."""
    found = []
    for label, body in metrics.get("test", {}).get("model", {}).get("per_label", {}).items():
        place = f"{_METRICS}#/test/model/per_label/{_step(label)}"
        fields = tuple(
            read.field(name.upper() if len(name) < 6 else name.capitalize(), f"{place}/{name}", figure, NOT_EVALUATED)
            for name in _OF_LABEL
            if name in body
        )
        found.append(Part(f"Label: {label}", fields))
    return found
