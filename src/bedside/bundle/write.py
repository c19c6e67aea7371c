"""A bundle from the parts of a study: weights, labels, calibration, abstention, evidence, checksums.

The same inputs give the same bytes: no time, host name or path is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.bundle.answer import ICD_10_CM
from bedside.bundle.verify import SUMS, list_files, sums_text
from bedside.core.errors import BundleError
from bedside.core.files import atomic_folder, read_json, sha256_file, write_bytes, write_text
from bedside.protocol import CleanSection, PackageSection

if TYPE_CHECKING:
    from bedside.data.moment import Cut
    from bedside.evaluation import Abstention, Calibration, LabelAnswers, LabelCalibration
    from bedside.models import Diagnoser

SCHEMA = 1
_OWN_FILES = (
    "labels.json",
    "calibration.json",
    "abstention.json",
    "bundle.json",
    "evidence.jsonl",
    "metrics.json",
    SUMS,
)
_ICD_10_CM = re.compile(r"[A-Z][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?")


def write_bundle(
    folder: Path,
    *,
    diagnoser: Diagnoser,
    calibration: Calibration | LabelCalibration,
    abstention: Abstention | LabelAnswers,
    labels_info: Mapping[str, Mapping[str, Any]],
    package: PackageSection,
    clean: CleanSection,
    shown: int,
    provenance: Mapping[str, Any],
    cut: Cut | None = None,
    evidence: Path | None = None,
    metrics: Path | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write a bundle, whole or not at all; one that lay there is replaced.

    Args:
        folder: where.
        diagnoser: the trained model; saves its own weights and tokenizer.
        calibration: from the calibration split.
        abstention: the certified thresholds.
        labels_info: by label: ``support`` (training cases) and ``code`` (ICD-10-CM); both may be absent.
        package: what the bundle says of itself; its codes go before those of ``labels_info``.
        clean: how text was cleaned before training, and will be before each answer.
        shown: diagnoses in an answer, unless the asker says otherwise.
        provenance: ``study`` (the name), SHA-256 of cohort, split, weights and metrics, ``versions``, ``look``,
            and ``synthetic: true`` where the training data were synthetic. JSON-able; no times.
        cut: what is written after the moment of asking: left out before training, as it will be before each answer.
        evidence: the chain of evidence to copy.
        metrics: ``metrics.json`` to copy: figures alone, no case.
        facts: what the card says besides: ``base_model``, ``training`` and ``data``. JSON-able; counts, no case.

    Raises:
        BundleError: a code is not of ICD-10-CM's form, or is given to a label that the model does not know.
    """
    labels = _label_entries(diagnoser.labels, labels_info, package.codes)
    with atomic_folder(folder) as place:
        diagnoser.save(place)
        taken = [name for name in _OWN_FILES if (place / name).exists()]
        if taken:
            raise RuntimeError(f"a diagnoser of kind {diagnoser.kind} saved {taken[0]}, which the bundle writes itself")
        _write_sorted(place / "labels.json", labels, sort=False)
        _write_sorted(place / "calibration.json", calibration.to_json())
        _write_sorted(place / "abstention.json", abstention.to_json())
        _write_sorted(
            place / "bundle.json", _description(diagnoser, package, clean, cut, shown, provenance, facts or {})
        )
        for source in (evidence, metrics):
            if source is not None:
                write_bytes(place / source.name, source.read_bytes())
        _write_card(place)
        for file in place.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)
        sums = {name: sha256_file(place / name) for name in list_files(place)}
        write_bytes(place / SUMS, sums_text(sums))


def _description(
    diagnoser: Diagnoser,
    package: PackageSection,
    clean: CleanSection,
    cut: Cut | None,
    shown: int,
    provenance: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of ``bundle.json``."""
    return {
        "schema": SCHEMA,
        "kind": diagnoser.kind,
        "several": diagnoser.several,
        "version": package.version,
        "intended_use": package.intended_use,
        "limits": package.limits,
        "draft": not (package.intended_use.strip() and package.limits.strip()),
        "clean": clean.model_dump(mode="json"),
        **({"moment": cut.to_json()} if cut else {}),
        "shown": shown,
        "provenance": dict(provenance),
        **facts,
    }


def _write_card(place: Path) -> None:
    """The model card, from the files that lie there."""
    from bedside.governance import card_of, render

    measured = place / "metrics.json"
    metrics = read_json(measured) if measured.is_file() else {}
    card = card_of(read_json(place / "bundle.json"), read_json(place / "labels.json"), metrics)
    for name, content in render(card).items():
        write_text(place / name, content)


def _label_entries(
    labels: tuple[str, ...], info: Mapping[str, Mapping[str, Any]], codes: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The content of ``labels.json``, in the order of every probability matrix."""
    for label in [*info, *codes]:
        if label not in labels:
            raise BundleError(
                f"package.codes or the label table names {label!r}, which the model does not know; "
                f"its labels are: {', '.join(labels)}"
            )
    return [_label_entry(label, info.get(label, {}), codes.get(label)) for label in labels]


def _label_entry(label: str, info: Mapping[str, Any], code: str | None) -> dict[str, Any]:
    spaced = label.replace("_", " ").strip()
    entry: dict[str, Any] = {"label": label, "display": spaced[:1].upper() + spaced[1:]}
    code = code or info.get("code")
    if code is not None:
        if not _ICD_10_CM.fullmatch(code):
            raise BundleError(f"package.codes: {code!r} of {label!r} is not an ICD-10-CM code such as J18.9; mend it.")
        entry["codes"] = [{"system": ICD_10_CM, "code": code}]
    if info.get("support") is not None:
        entry["support"] = int(info["support"])
    return entry


def _write_sorted(path: Path, value: Any, *, sort: bool = True) -> None:
    """Write JSON whose bytes do not depend on the order in which a mapping was filled."""
    write_text(path, json.dumps(value, indent=2, sort_keys=sort, ensure_ascii=False, allow_nan=False) + "\n")
