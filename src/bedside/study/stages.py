"""The stages in the order that data flows, each with what it depends on and what it leaves.

A stage is handed its own section of the protocol and folders to read and write; it knows nothing of the study.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.core import evidence
from bedside.core.errors import StudyError
from bedside.core.files import read_json, sha256_json
from bedside.core.keys import site_key
from bedside.core.progress import Progress
from bedside.protocol import Protocol
from bedside.study.manifest import Manifest, versions

if TYPE_CHECKING:
    from bedside.data import Cohort
    from bedside.data.moment import Cut

LABEL_OF_MODEL = "main"
EVIDENCE = "evidence.jsonl"
_LINEAR_FEATURES = 100_000  # at most: half words and pairs of words, half characters
_SLACK = 2_000_000  # bytes for reports, manifests and what else is small


@dataclass(frozen=True)
class Setting:
    """What a stage is run with.

    Attributes:
        folder: the study's.
        protocol: the plan.
        progress: told what happens.
        repeats: whether the stage had been finished before, so that this is no resumption of an interrupted one.
    """

    folder: Path
    protocol: Protocol
    progress: Progress
    repeats: bool = False

    def of(self, stage: str) -> Path:
        """The folder of a stage of this study."""
        return self.folder / find(stage).folder

    def cohort(self) -> Cohort:
        """The prepared cases."""
        from bedside.data import Cohort

        return Cohort.load(self.of("prepare"))

    def account(self) -> dict[str, Any]:
        """The counts of the prepared cases (the cohort's report)."""
        counts: dict[str, Any] = read_json(self.of("prepare") / "report.json")
        return counts

    def hashes(self, stage: str) -> dict[str, str]:
        """The SHA-256 of a finished stage's files."""
        manifest = Manifest.read(find(stage).manifest(self.folder))
        return manifest.hashes() if manifest else {}


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: the verb.
        folder: where it writes, in the study.
        products: the files and folders (in its folder) that later stages depend on.
        sections: the sections of the protocol that it is handed.
        after: the stages whose products it reads.
        run: the work itself.
        says: what the user reads while it runs.
        sources: the files outside the study that it reads, by a name for each.
        sealed: whether no file may be added to its folder afterwards, so that the manifest lies beside it.
        room: bytes on the disk that it may need, asked before it begins.
        ready: raises what is known to be missing before any stage has begun.
    """

    name: str
    folder: str
    products: tuple[str, ...]
    sections: tuple[str, ...]
    after: tuple[str, ...]
    run: Callable[[Setting], None]
    says: str
    sources: Callable[[Path, Protocol], dict[str, Path]] = lambda _folder, _protocol: {}
    sealed: bool = False
    room: Callable[[Setting], int] = lambda _setting: 0
    ready: Callable[[Protocol], None] = lambda _protocol: None

    def manifest(self, study: Path) -> Path:
        """Where the stage's manifest lies in a study."""
        place = study / self.folder
        return place.with_name(f"{place.name}.manifest.json") if self.sealed else place / "manifest.json"


def find(name: str) -> Stage:
    """The stage of that name."""
    return next(stage for stage in STAGES if stage.name == name)


def _table(folder: Path, protocol: Protocol) -> dict[str, Path]:
    from bedside.data.sources import files

    return files(protocol.data, folder)


def _weights(_folder: Path, protocol: Protocol) -> dict[str, Path]:
    """The base model's files; a model that is not at hand is told of when training needs it."""
    from bedside.models import weights

    if not weights.installed(protocol.model.base):
        return {}
    place = weights.locate(protocol.model.base)
    files = sorted(place.glob("*.safetensors")) + sorted(place.glob("*.json")) if place else []
    return {f"base/{file.name}": file for file in files}


def _learned_from(folder: Path, protocol: Protocol) -> dict[str, Path]:
    """The base model's files, and those that varied copies are made with."""
    from bedside.study import augmentation

    return {**_weights(folder, protocol), **augmentation.files_of(protocol.augment, folder)}


def _model_at_hand(protocol: Protocol) -> None:
    """An unknown or absent base model is told before a long preparation, not after it."""
    from bedside.models import weights

    if protocol.data.several and protocol.augment.methods:
        raise StudyError(
            "Varied copies (augment.methods) are made and judged by the one label of a case, and this study has "
            "several labels a case (data.labels, data.delimiter); leave augment.methods empty."
        )
    weights.locate(protocol.model.base)


def _room_prepare(setting: Setting) -> int:
    """The cases as Parquet are smaller than the tables, unless those are packed; of a server nothing is known."""
    tables = [path for path in _table(setting.folder, setting.protocol).values() if path.is_file()]
    sizes = [(10 if path.suffix == ".gz" else 2) * path.stat().st_size for path in tables]
    return sum(sizes) + _SLACK if sizes else 0


def _room_linear(setting: Setting) -> int:
    """TF-IDF + logistic regression: a weight of 8 bytes for each feature and label."""
    return 8 * _LINEAR_FEATURES * len(setting.account()["labels"]) + _SLACK


def _room_train(setting: Setting) -> int:
    """The encoder's need is known to training itself, which asks for it."""
    return _room_linear(setting) if setting.protocol.model.base == "builtin:tfidf" else 0


def _room_evaluate(setting: Setting) -> int:
    """Three probabilities of 8 bytes for each label and case of the splits that are asked about."""
    account = setting.account()
    cases: int = sum(account["splits"][split]["cases"] for split in ("calibration", "test"))
    return 3 * 8 * cases * len(account["labels"]) + _SLACK


def _room_package(setting: Setting) -> int:
    """The model once more, written whole before an older bundle makes way."""
    model = setting.of("train") / "model"
    return sum(file.stat().st_size for file in model.rglob("*") if file.is_file()) + _SLACK


def _prepare(setting: Setting) -> None:
    from bedside.data import prepare
    from bedside.study.tokens import counter_of

    protocol = setting.protocol
    cohort = prepare(
        protocol.data,
        protocol.clean,
        protocol.split,
        base=setting.folder,
        seed=protocol.study.seed,
        key=site_key(),
        audit=protocol.audit,
        codes=protocol.package.codes,
        count_tokens=counter_of(protocol.model.base),
        progress=setting.progress,
    )
    if cohort.uncut is not None and cohort.several:
        setting.progress.say(
            "      what is written after the moment of asking is left out; what it adds is measured only where a case "
            "has one label"
        )
    elif cohort.uncut is not None:
        from bedside.study.moment import in_words, with_and_without

        scores = with_and_without(cohort, seed=protocol.study.seed, progress=setting.progress)
        cohort.report["moment"]["scores"] = scores
        setting.progress.say(in_words(scores, protocol.data.moment))
    _spelled(setting, cohort).save(setting.of("prepare"))


def _spelled(setting: Setting, cohort: Cohort) -> Cohort:
    """The cohort with its spelling listed in ``spelling.csv``, and put right where that was asked for and is safe."""
    from bedside.core.files import write_text

    section, place = setting.protocol.spelling, setting.of("prepare") / "spelling.csv"
    place.unlink(missing_ok=True)
    if not section.list and section.correct == "off":
        return cohort
    from bedside.data.spelling import spell

    found = spell(cohort, section, seed=setting.protocol.study.seed, progress=setting.progress)
    found.cohort.report["spelling"] = found.account
    write_text(place, found.table())
    setting.progress.say(f"      {len(found.listed):,} words that look misspelt are listed in {place.name}")
    return found.cohort


def _baseline(setting: Setting) -> None:
    from bedside.training import train_baselines

    seed = setting.protocol.study.seed
    train_baselines(setting.cohort(), setting.of("baseline"), seed=seed, progress=setting.progress)


def _train(setting: Setting) -> None:
    from bedside.study import augmentation
    from bedside.training import train

    protocol, folder = setting.protocol, setting.of("train")
    if protocol.augment.methods:
        augmentation.train_augmented(
            setting.cohort(),
            protocol.augment,
            protocol.model,
            protocol.train,
            folder,
            seed=protocol.study.seed,
            base=setting.folder,
            progress=setting.progress,
        )
        return
    (folder / augmentation.ACCOUNT).unlink(missing_ok=True)
    train(
        setting.cohort(),
        protocol.model,
        protocol.train,
        folder,
        seed=protocol.study.seed,
        study=protocol.study.name,
        progress=setting.progress,
    )


def _evaluate(setting: Setting) -> None:
    from bedside.evaluation import evaluate
    from bedside.models import load_diagnoser
    from bedside.study import augmentation, seeds
    from bedside.study.naive import naive_score

    protocol, cohort = setting.protocol, setting.cohort()
    look = _open_test(setting)
    baselines = setting.of("baseline")
    model = load_diagnoser(setting.of("train") / "model")
    result = evaluate(
        cohort,
        model,
        {name: load_diagnoser(baselines / name) for name in ("majority", "tfidf")},
        protocol.evaluate,
        protocol.answer,
        seed=protocol.study.seed,
        progress=setting.progress,
    )
    result.metrics["naive"] = naive_score(
        cohort,
        resamples=protocol.evaluate.resamples,
        confidence=protocol.evaluate.confidence,
        seed=protocol.study.seed,
        progress=setting.progress,
    )
    varied = setting.of("train") / augmentation.ACCOUNT
    if varied.is_file():
        result.metrics["augmentation"] = read_json(varied)
    chance = seeds.spread(cohort, setting.of("train"), model, setting.progress)
    if chance:
        result.metrics["seeds"] = chance
    folder = setting.of("evaluate")
    result.save(folder, facts=_facts(setting, cohort, look), trained=setting.of("train"))
    chain = setting.folder / EVIDENCE
    measured = {"look": look, "protocol": sha256_json(protocol.model_dump(mode="json")), **_bound(setting, folder)}
    last = evidence.read(chain)[-1]
    if (last["kind"], last["body"]) != ("evaluated", measured):  # else a process was killed after it wrote this
        evidence.append(chain, "evaluated", measured)


def _open_test(setting: Setting) -> int:
    """Write down that the test split is opened, before it is; return the number of this look.

    A look that was interrupted goes on under its own number: the same model on the same cases gives the same figures.
    """
    chain = setting.folder / EVIDENCE
    opened = {
        "protocol": sha256_json(setting.protocol.model_dump(mode="json")),
        "cohort": sha256_json(setting.hashes("prepare")),
        "model": sha256_json(setting.hashes("train")),
    }
    entries = evidence.read(chain)
    earlier = [entry["body"] for entry in entries if entry["kind"] == "test opened"]
    looks = len(earlier)
    interrupted = not setting.repeats or entries[-1]["kind"] == "test opened"
    if earlier and interrupted and earlier[-1] == {"look": looks, **opened}:
        return looks
    evidence.append(chain, "test opened", {"look": looks + 1, **opened})
    if looks:
        setting.progress.warn(
            f"This is look {looks + 1} of the test split; choosing by it makes its figures too good. "
            "Every document says so."
        )
    return looks + 1


def _bound(setting: Setting, folder: Path) -> dict[str, Any]:
    """The hashes that tie figures to data, split, code and weights."""
    from bedside.core.files import sha256_file

    return {
        "cohort": setting.hashes("prepare"),
        "model": setting.hashes("train"),
        "metrics": sha256_file(folder / "metrics.json"),
        "predictions": sha256_file(folder / "predictions.parquet"),
        "versions": versions(),
    }


def _facts(setting: Setting, cohort: Cohort, look: int) -> dict[str, str]:
    """What the report says of the run."""
    protocol = setting.protocol
    return {
        "study": protocol.study.name,
        "source": cohort.report["source"]["file"],
        "base model": protocol.model.base,
        "seed": str(protocol.study.seed),
        "look": str(look),
        "cases sha256": setting.hashes("prepare").get("cases.parquet", ""),
        **({"synthetic": "yes"} if cohort.report.get("synthetic") else {}),
    }


def _moment(cohort: Cohort) -> Cut | None:
    """What was left out because it is written after the moment of asking."""
    from bedside.data.moment import Cut

    found = cohort.report.get("moment")
    return Cut.from_json(found["cut"]) if found else None


def _package(setting: Setting) -> None:
    from bedside.bundle import write_bundle
    from bedside.evaluation import read_answers, read_calibration
    from bedside.models import load_diagnoser
    from bedside.study.card import card_facts

    protocol, cohort = setting.protocol, setting.cohort()
    evaluation = setting.of("evaluate")
    chain = setting.folder / EVIDENCE
    unknown = sorted(set(protocol.package.codes) - set(cohort.labels))
    if unknown:
        setting.progress.warn(
            f"package.codes names labels that no case has, left out of the bundle: {', '.join(unknown)}"
        )
    codes = {label: code for label, code in protocol.package.codes.items() if label in cohort.labels}
    measured = read_json(evaluation / "metrics.json")["test"]["model"]["per_label"]
    if not (protocol.package.intended_use.strip() and protocol.package.limits.strip()):
        setting.progress.warn(
            "The bundle is a draft: state package.intended_use and package.limits in the protocol, then package again."
        )
    write_bundle(
        setting.of("package"),
        diagnoser=load_diagnoser(setting.of("train") / "model"),
        calibration=read_calibration(read_json(evaluation / "calibration.json")),
        abstention=read_answers(read_json(evaluation / "abstention.json")),
        labels_info={
            label: {
                "support": cohort.report["labels"][label]["train"],
                "sensitivity": measured[label]["sensitivity"],
            }
            for label in cohort.labels
        },
        package=protocol.package.model_copy(update={"codes": codes}),
        clean=protocol.clean.model_copy(update={"mask": cohort.report["clean"].get("mask", [])}),
        cut=_moment(cohort),
        shown=protocol.answer.shown,
        provenance={
            "study": protocol.study.name,
            "base": protocol.model.base,
            "synthetic": bool(cohort.report.get("synthetic")),
            "look": evidence.read(chain)[-1]["body"]["look"],
            **_bound(setting, evaluation),
        },
        evidence=chain,
        metrics=evaluation / "metrics.json",
        facts=card_facts(protocol, cohort.report),
    )


STAGES = (
    Stage(
        "prepare",
        "cohort",
        products=("cases.parquet", "report.json", "report.html", "spelling.csv"),
        sections=("data", "clean", "audit", "spelling", "split"),
        after=(),
        run=_prepare,
        says="reads, cleans and divides the cases",
        room=_room_prepare,
        sources=_table,
    ),
    Stage(
        "baseline",
        "runs/baseline",
        products=("majority", "tfidf"),
        sections=(),
        after=("prepare",),
        run=_baseline,
        says="trains what the model must beat: TF-IDF with logistic regression, and the majority",
        room=_room_linear,
    ),
    Stage(
        "train",
        f"runs/{LABEL_OF_MODEL}",
        products=("model", "augmentation.json", "seeds"),
        sections=("model", "train", "augment"),
        after=("prepare",),
        run=_train,
        says="fine-tunes the base model",
        room=_room_train,
        sources=_learned_from,
        ready=_model_at_hand,
    ),
    Stage(
        "evaluate",
        "evaluation",
        products=("metrics.json", "predictions.parquet", "calibration.json", "abstention.json", "report.html"),
        sections=("study", "evaluate", "answer"),
        after=("prepare", "baseline", "train"),
        run=_evaluate,
        says="calibrates, then opens the test split",
        room=_room_evaluate,
    ),
    Stage(
        "package",
        "bundle",
        products=("",),
        sections=("study", "package", "clean", "answer"),
        after=("prepare", "train", "evaluate"),
        run=_package,
        says="writes the deployable bundle",
        room=_room_package,
        sealed=True,
    ),
)
