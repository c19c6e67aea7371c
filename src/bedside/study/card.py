"""What the card says besides the figures, from protocol and cohort; and whether a study is what its evidence says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.core import evidence
from bedside.core.errors import BundleError, ModelError, StudyError
from bedside.core.files import read_json, sha256_file

if TYPE_CHECKING:
    from bedside.protocol import Protocol
    from bedside.study.study import Study


def card_facts(protocol: Protocol, report: Mapping[str, Any]) -> dict[str, Any]:
    """The base model, the training and the data: counts and names, no case and no path.

    Args:
        protocol: the study's.
        report: ``report.json`` of the cohort.
    """
    sources = report.get("sources", {}).get("each", [])
    plain = {"seed": protocol.study.seed, "method": protocol.train.method}
    return {
        "base_model": _base(protocol.model.base),
        "training": plain,
        "data": {
            "source": Path(str(report["source"]["file"])).name,
            "splits": {name: one["cases"] for name, one in report["splits"].items()},
            "division": str(protocol.split.method),
            "deidentification": str(report.get("deidentification", "")),
            "licences": sorted({one["licence"] for one in sources if one.get("licence")}),
            "consents": sorted({one["consent"] for one in sources if one.get("consent")}),
        },
    }


def _base(name: str) -> dict[str, str]:
    """What is known of the base model; of a folder its name alone, for its path is nobody's business."""
    from bedside.models import catalogue

    try:
        found = catalogue.find(name)
    except ModelError:
        return {"id": Path(name).name}
    if Path(name).expanduser().is_dir():
        return {"id": Path(name).name}
    known = {"id": found.id, "licence": found.licence, "obligations": found.obligations, "note": found.note}
    return {key: value for key, value in known.items() if value}


def faults_of_study(study: Study) -> list[str]:
    """A sentence for each thing in a study that is not what its evidence says; empty where all is well.

    Raises:
        StudyError: nothing was evaluated yet.
    """
    from bedside.governance import recompute

    chain = study.folder / "evidence.jsonl"
    try:
        entries = evidence.read(chain)
    except StudyError as error:
        return [str(error)]
    measured = [entry["body"] for entry in entries if entry["kind"] == "evaluated"]
    if not measured:
        study.bundle()
        raise StudyError(f"{study.folder} has not been evaluated yet; run: bedside evaluate {study.folder}")
    folder, faults, readable = study.path("evaluate"), [], True
    for name, file in (("metrics", "metrics.json"), ("predictions", "predictions.parquet")):
        path = folder / file
        if not path.is_file():
            faults.append(f"{path} is missing; evaluate again.")
        elif sha256_file(path) != measured[-1][name]:
            faults.append(f"{path} was altered: its SHA-256 is not the one in {chain.name}, kind 'evaluated'.")
            readable = readable and name != "predictions"  # figures are not held against predictions that were altered
    if readable and all((folder / file).is_file() for file in ("metrics.json", "predictions.parquet")):
        try:
            faults += recompute(folder / "predictions.parquet", read_json(folder / "metrics.json"))
        except (ValueError, KeyError, TypeError, OSError):
            faults.append(f"{folder / 'metrics.json'} cannot be read any more; evaluate again.")
    return faults


def faults_of_bundle(folder: Path) -> list[str]:
    """A sentence for each thing in a bundle that is not what its checksums, its chain and its figures say."""
    from bedside.bundle import verify_bundle
    from bedside.governance import check_card

    faults = []
    try:
        verify_bundle(folder)
    except BundleError as error:
        faults.append(str(error))
    try:
        evidence.read(folder / "evidence.jsonl")
    except StudyError as error:
        faults.append(str(error))
    try:
        faults += check_card(folder)
    except (ValueError, KeyError, TypeError, OSError, AttributeError):
        faults.append(f"{folder}: bundle.json, labels.json or metrics.json cannot be read any more; package it again.")
    return faults
