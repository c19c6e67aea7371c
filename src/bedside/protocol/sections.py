"""The sections of a protocol, one model per stage.

A stage is handed its own section and no other. Every key has a default and a description; the description is
the comment that ``bedside init`` writes beside it, so the two cannot drift apart.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from bedside.core.files import sha256_json

Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Column = Annotated[str, StringConstraints(min_length=1)]


class Section(BaseModel):
    """What every section has in common: no unknown keys, no silent conversions, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def digest(self) -> str:
        """The SHA-256 of the section's values: when it changes, what depends on the section is redone."""
        return sha256_json(self.model_dump(mode="json"))


class StudySection(Section):
    """What the study is."""

    name: str = Field("study", min_length=1, description="a short name, printed on every document")
    seed: int = Field(42, ge=0, description="the same seed and data give the same split, weights and figures")


class SourceSection(Section):
    """One of several sources. A column that is not named here has the name that it has under ``[data]``."""

    name: str = Field(min_length=1, description="a short name, kept with each of its cases in the column 'source'")
    source: str = Field(min_length=1, description="as data.source")
    query: str | None = Field(None, description="as data.query")
    text: Column | list[Column] | None = Field(None, description="its column for data.text; as many as there")
    label: Column | None = Field(None, description="its column for data.label")
    patient: str | None = Field(None, description="its column for data.patient; '' where it has none")
    case_id: str | None = Field(None, description="its column for data.case_id; '' where it has none")
    time: str | None = Field(None, description="its column for data.time; '' where it has none")
    site: str | None = Field(None, description="its column for data.site; '' where it has none")
    rename: dict[str, str] = Field(
        default_factory=dict, description="other columns, to be read under another name: {'alter' = 'age'}"
    )
    merge: dict[str, str] = Field(
        default_factory=dict, description="its labels to be read as another: {'Grippe' = 'Influenza'}"
    )
    encoding: str = Field("auto", description="as data.encoding")
    separator: str = Field("auto", description="as data.separator")
    sheet: str | None = Field(None, description="as data.sheet")
    licence: str = Field("", description="under which it may be used; it goes into the report")
    consent: str = Field("", description="on what ground the patients' texts may be used; it goes into the report")


class DataSection(Section):
    """Where the cases come from, and which column is what."""

    source: str = Field(
        "",
        description="the notes: .csv, .tsv, .xlsx, .jsonl, .parquet, .xml (csv and xml may be .gz), FHIR: a file or a "
        "folder, a folder of MIMIC, of PubMed or PMC, or of the datasets library, hf:owner/name on the Hub, or a "
        "database's URL (sqlite:///notes.db), which 'env:NAME' takes from an environment variable",
    )
    query: str | None = Field(None, description="of a database: the SELECT whose rows are the cases")
    text: Column | list[Column] = Field(
        description="the column with the note; a list of columns is joined in that order, with their names as headings"
    )
    label: str = Field("", description="the column with the diagnosis")
    labels: list[Column] = Field(
        default_factory=list,
        description="several columns instead of one, for cases with several labels: each holds a label, or yes or no",
    )
    delimiter: str | None = Field(
        None,
        min_length=1,
        description="between the labels in a cell, for cases with several labels; 'list' for JSON or Python lists",
    )
    patient: Column | None = Field(
        None, description="the column that names the patient; one patient never crosses a split"
    )
    case_id: Column | None = Field(None, description="the column that names the case (else the row number)")
    time: Column | None = Field(None, description="the column with the time of the note")
    site: Column | None = Field(None, description="the column with the hospital or ward")
    moment: Literal["", "triage", "admission", "discharge"] = Field(
        "", description="when the model is asked; sections, notes and columns that are written later are left out"
    )
    note_type: Column | None = Field(
        None, description="the column with the type of note, by name or LOINC code; it says when a note is written"
    )
    written: dict[Column, Literal["triage", "admission", "discharge", "after"]] = Field(
        default_factory=dict, description="columns that are not at hand from the start, and when they are written"
    )
    language: Literal["auto", "en", "es", "fr"] = Field(
        "auto", description="of the notes, for rules that depend on it; 'auto' looks, and says what it saw"
    )
    keep: list[Column] = Field(
        default_factory=list, description="other columns to keep with the case, for subgroups: age, sex, ward"
    )
    positive: str | None = Field(None, description="for two labels: the one that means 'has it' (else the rarer one)")
    merge: dict[str, str] = Field(
        default_factory=dict, description="labels to be read as another: {'htn' = 'Hypertension'}"
    )
    label_codes: dict[str, str] = Field(
        default_factory=dict,
        description="for labels that are codes: their system, 'icd9cm' or 'icd10', and the level to roll them up to: "
        "'code', 'three' (characters), 'chapter', or a .csv file with the columns code and label",
    )
    rare: str | int = Field(
        "refuse",
        description="labels too small for every split: 'refuse', 'drop', 'merge:Other', or the fewest cases allowed",
    )
    unlabelled: Literal["drop", "refuse", "none"] = Field(
        "drop", description="rows without a label are dropped and counted, refused, or read as 'none of these'"
    )
    encoding: str = Field("auto", description="of a text file; 'auto' looks at the bytes and says what it saw")
    separator: str = Field("auto", description="between columns of a csv: ',' ';' '|' or a tab; 'auto' looks")
    sheet: str | None = Field(None, description="of a workbook; the first if not given")
    note_types: list[str] = Field(
        default_factory=list,
        description="of FHIR and MIMIC: the types of notes to take, by code or name; empty takes all",
    )
    same_patients: bool = Field(
        False, description="of several sources: whether equal ids of patients and cases are the same everywhere"
    )
    sources: list[SourceSection] = Field(
        default_factory=list, description="several sources instead of one, each under its own [[data.sources]]"
    )

    @property
    def several(self) -> bool:
        """Whether a case may have several labels."""
        return bool(self.labels) or self.delimiter is not None

    @model_validator(mode="after")
    def _one_label(self) -> DataSection:
        if bool(self.label) == bool(self.labels):
            both = "both are" if self.label else "neither is"
            raise ValueError(f"label or labels must be given, and {both}: one column with the diagnosis, or several")
        if self.labels and self.sources:
            raise ValueError("labels cannot be joined over several sources: put them into one column, with a delimiter")
        return self

    @model_validator(mode="after")
    def _one_way(self) -> DataSection:
        if bool(self.source) == bool(self.sources):
            both = "both are" if self.source else "neither is"
            raise ValueError(f"exactly one of source and [[data.sources]] must be given, and {both}")
        names = [one.name for one in self.sources]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two of data.sources have the name '{twice}'")
        return self

    @field_validator("label_codes")
    @classmethod
    def _label_codes(cls, value: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(value) - {"system", "level"})
        if unknown:
            raise ValueError(f"has the key '{unknown[0]}', and knows system and level")
        if value and value.get("system") not in {"icd9cm", "icd10"}:
            raise ValueError("needs system = 'icd9cm' or 'icd10'")
        if value.get("level", "three") not in {"code", "three", "chapter"} and not value["level"].endswith(".csv"):
            raise ValueError("level must be 'code', 'three', 'chapter' or a file that ends in .csv")
        return value

    @field_validator("rare")
    @classmethod
    def _rare(cls, value: str | int) -> str | int:
        if isinstance(value, int):
            if value < 1:
                raise ValueError("must be at least 1")
        elif value not in {"refuse", "drop"} and not (value.startswith("merge:") and value[6:].strip()):
            raise ValueError("must be 'refuse', 'drop', 'merge:NAME' or a number")
        return value

    def text_columns(self) -> list[str]:
        """The text columns as a list, one or several."""
        return [self.text] if isinstance(self.text, str) else list(self.text)


class CleanSection(Section):
    """How the text is made uniform. Numbers, units, negations, punctuation and case are never touched."""

    unicode: Literal["NFC", "off"] = Field("NFC", description="one form for letters that Unicode can write in two ways")
    whitespace: bool = Field(True, description="odd spaces become spaces, line ends become \\n, blank runs shrink")
    controls: bool = Field(True, description="invisible control and zero-width characters are removed")
    mojibake: bool = Field(True, description="letters that were read in the wrong encoding are put right (ftfy)")
    abbreviations: Literal["keep", "expand", "expand:en", "expand:es", "expand:fr"] = Field(
        "keep", description="sure ones are written out; 'expand' tells each note's language, 'expand:en' names it"
    )
    boilerplate: list[Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]] = Field(
        default_factory=list, description="SHA-256 of shared passages to leave out, as report.json lists them"
    )
    mask: list[str] = Field(
        default_factory=list,
        description="phrases replaced by [DIAGNOSIS]; audit.leaks = 'mask' adds those of all labels",
    )


class AuditSection(Section):
    """What is asked of the labels before anyone trains on them."""

    cases: int = Field(
        20_000, ge=0, description="cases that a model judges the labels of, at most; groups are drawn whole; 0 for none"
    )
    leaks: Literal["report", "mask"] = Field(
        "report", description="texts that name a label are counted, or every name is replaced by [DIAGNOSIS]"
    )
    synonyms: dict[str, list[str]] = Field(
        default_factory=dict,
        description="what else a label is called: {'Myocardial infarction' = ['MI', 'heart attack']}",
    )


class SpellingSection(Section):
    """Words of the training texts that look misspelt. Nothing is corrected unless that was measured to be safe."""

    list: bool = Field(False, description="list suggestions in cohort/spelling.csv: words of two patients at least")
    correct: Literal["off", "measured"] = Field(
        "off", description="'measured' corrects training texts where planted slips show that precision beyond doubt"
    )
    precision: float = Field(0.98, ge=0.9, lt=1, description="of corrections, at least; its lower bound at 95 % counts")
    known_from: int = Field(5, ge=2, description="patients whose notes hold a word, that it counts as known here")


class SplitSection(Section):
    """How cases are divided. Patients and duplicates are never cut apart."""

    train: Share = Field(0.60, description="share of cases to learn from")
    validation: Share = Field(0.10, description="share to choose the best epoch on")
    calibration: Share = Field(0.15, description="share to fit probabilities and abstention on")
    test: Share = Field(0.15, description="share that is opened once, at the end")
    near_duplicate: float = Field(
        0.7,
        gt=0,
        le=1,
        description="texts whose sets of words overlap this much (Jaccard) stay on one side; 1 means exact only",
    )
    method: Literal["random", "temporal", "site", "given"] = Field(
        "random", description="'temporal' tests on the latest cases, 'site' on whole sites, 'given' follows a column"
    )
    test_sites: list[Column] = Field(
        default_factory=list, description="of method 'site': the sites held out whole, as data.site spells them"
    )
    column: Column | None = Field(
        None, description="of method 'given': the column that says train, validation, calibration or test"
    )
    repair: bool = Field(
        False, description="where what is given cuts a patient or duplicates apart: mend it and count, or refuse"
    )
    folds: int | Column = Field(
        0, description="folds for cross-validation besides: how many, or the column that numbers them; 0 for none"
    )

    @field_validator("folds")
    @classmethod
    def _folds(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value != 0 and not 2 <= value <= 100:
            raise ValueError(f"{value} is neither 0 (none) nor from 2 to 100")
        return value

    @model_validator(mode="after")
    def _belongs(self) -> SplitSection:
        if self.test_sites and self.method != "site":
            raise ValueError(f"test_sites is for method = 'site', and method is '{self.method}'")
        if (self.column is not None) != (self.method == "given"):
            if self.column is None:
                raise ValueError("method = 'given' needs column, the column that says each case's part")
            raise ValueError(f"column is for method = 'given', and method is '{self.method}'")
        if self.repair and self.method != "given" and isinstance(self.folds, int):
            raise ValueError("repair is for what is given: method = 'given', or folds that name a column")
        return self

    @model_validator(mode="after")
    def _sum(self) -> SplitSection:
        total = self.train + self.validation + self.calibration + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"train, validation, calibration and test add up to {total:g}, not to 1")
        return self

    def shares(self) -> dict[str, float]:
        """The four shares by the name of their split, in order."""
        return {
            "train": self.train,
            "validation": self.validation,
            "calibration": self.calibration,
            "test": self.test,
        }


class ModelSection(Section):
    """Which model learns."""

    base: str = Field(
        "builtin:minilm",
        min_length=1,
        description="builtin:minilm, builtin:tfidf, a folder with safetensors, or a Hub id (bedside models list)",
    )
    window: int = Field(
        256, ge=16, le=8192, description="tokens read at once; a longer note is read in overlapping windows"
    )
    overlap: int = Field(32, ge=0, description="tokens that neighbouring windows share")
    pooling: Literal["auto", "mean", "cls", "own"] = Field(
        "auto",
        description="how token vectors become one: their mean, the first one, or as the architecture's own "
        "classification head does it; 'auto' takes what suits the base model",
    )
    windows: Literal["mean", "learned"] = Field(
        "mean", description="how the windows of a long note become one: all alike, or by weights that are learned"
    )
    pretrained: bool = Field(True, description="false starts from random weights, to see what pre-training is worth")

    @model_validator(mode="after")
    def _overlap(self) -> ModelSection:
        if self.overlap * 2 > self.window:
            raise ValueError(f"overlap {self.overlap} is more than half of window {self.window}")
        return self


class TrainSection(Section):
    """How it learns."""

    method: Literal["full", "lora", "qlora", "probe"] = Field(
        "full",
        description="what is trained: every weight, low-rank adapters (LoRA), those over a base in 4 bits (QLoRA), or "
        "a linear head alone (probe)",
    )
    epochs: int = Field(6, ge=1, le=1000, description="at most; training stops when validation no longer improves")
    patience: int = Field(
        4, ge=1, description="epochs without a better validation macro-F1 before it stops; the last ones gain most"
    )
    learning_rate: Rate | Literal["auto"] = Field(
        "auto", description="the highest rate, after warm-up; 'auto' goes by the method and the size of the model"
    )
    weight_decay: float = Field(0.01, ge=0, lt=1, description="AdamW's")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the rate rises")
    layer_decay: float = Field(1.0, gt=0, le=1, description="each layer's rate is that of the one above times this")
    freeze: int = Field(0, ge=0, description="lowest layers that stay as they are, with the embeddings; 0 for none")
    batch_tokens: int = Field(1536, ge=64, description="tokens in a batch: many short notes or few long ones")
    step_notes: int = Field(
        16, ge=1, description="notes behind a step at least; batches of long notes are added up until there are as many"
    )
    warm_start: bool = Field(
        True, description="start the head from a logistic regression on the untouched model's vectors"
    )
    loss: Literal["cross_entropy", "focal"] = Field(
        "cross_entropy", description="for cases with several labels it is taken over yes and no of each label"
    )
    focal_gamma: float = Field(2.0, ge=0, le=10, description="of the focal loss: how little sure cases count")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="share of certainty taken from the label")
    class_weights: Literal["auto", "on", "off"] = Field(
        "auto", description="weigh rare labels up; 'auto' when the largest has over three times the smallest"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="inside the base model; on a CPU it takes half the speed")
    head_dropout: float = Field(0.1, ge=0, lt=1, description="before the head")
    lora_rank: int = Field(16, ge=1, le=1024, description="of the adapters")
    lora_alpha: float = Field(32.0, gt=0, description="of the adapters; what they add is scaled by alpha / rank")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="of the adapters")
    lora_targets: list[Column] = Field(
        default_factory=list,
        description="names of the layers that get adapters; empty takes those of the architecture, 'all-linear' all",
    )
    seeds: int = Field(
        1, ge=1, le=20, description="trainings from different seeds; the first is kept, the others show the spread"
    )
    compile: bool = Field(False, description="compile the model (torch.compile), kept only where a trial shows a gain")
    gradient_checkpointing: bool = Field(
        False, description="compute the activations twice instead of keeping them: less memory, a third slower"
    )
    checkpoint_seconds: float = Field(
        60.0, ge=0, description="work that a crash may cost, at most; 0 writes a checkpoint after every step"
    )
    trackers: list[Literal["wandb", "mlflow", "tensorboard"]] = Field(
        default_factory=list, description="where to log besides the run's own folder; each is an extra"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="'auto' takes bf16 where a short trial shows that it is faster here"
    )
    device: str = Field("auto", min_length=1, description="'auto' (cuda, mps, cpu: it says which), or one of them")
    threads: int = Field(0, ge=0, description="CPU threads; 0 takes all cores")

    def digest(self) -> str:
        """The SHA-256 of what changes the result; where it is logged, and how often it is saved, do not."""
        return sha256_json(self.model_dump(mode="json", exclude={"trackers", "checkpoint_seconds"}))


class AugmentSection(Section):
    """Varied copies of the training cases. Numbers, units, negations and sides are never altered."""

    methods: list[Literal["synonyms", "abbreviations", "typos", "ocr", "case", "order", "translation"]] = Field(
        default_factory=list, description="how copies are varied, each copy in one of these ways; empty makes none"
    )
    copies: int = Field(1, ge=1, le=20, description="of each training case")
    share: float = Field(
        0.1, gt=0, le=0.5, description="of a text's words that are varied in all ways but the order of sentences"
    )
    compare: bool = Field(
        True, description="train a second time without the copies, so that the report says whether they helped"
    )
    wordnet: str | None = Field(None, description="a folder with WordNet's data files, for more synonyms")
    translate: list[str] = Field(
        default_factory=list, description="two models on this machine, there and back: ['folder en-es', 'folder es-en']"
    )

    @model_validator(mode="after")
    def _two_ways(self) -> AugmentSection:
        if "translation" in self.methods and len(self.translate) != 2:
            raise ValueError(
                f"'translation' needs two models in augment.translate, and there are {len(self.translate)}"
            )
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("a method stands twice in augment.methods")
        return self


class EvaluateSection(Section):
    """How it is measured, on the test split."""

    resamples: int = Field(2000, ge=100, le=100000, description="bootstrap resamples behind each interval")
    confidence: float = Field(0.95, ge=0.5, lt=1, description="of the intervals")
    top_k: int = Field(3, ge=1, description="a case counts as found when its label is among the first k")
    by: list[Column] = Field(
        default_factory=list,
        description="columns whose groups are compared, 'sex+age' joins two; empty: all that data.keep names and that "
        "have few values, and the length of the notes",
    )
    false_alarms_per_miss: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="of a label, how many false alarms are as bad as one miss: {'Sepsis' = 10}; the net benefit there",
    )
    prevalence: dict[str, Share] = Field(
        default_factory=dict,
        description="of a label where the model will be used: {'Sepsis' = 0.02}; PPV and NPV there",
    )


class AnswerSection(Section):
    """When the model says that it does not know."""

    max_error: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="at most this share wrong among answered, certified on the calibration split",
    )
    confidence: float = Field(0.95, ge=0.5, lt=1, description="of that certificate")
    coverage: float = Field(
        0.9, ge=0.5, lt=1, description="the share of cases whose prediction set holds the true diagnosis"
    )
    cant_miss: list[str] = Field(
        default_factory=list,
        description="labels that must not be missed: each gets a threshold of its own, and is shown from there on "
        "whatever its rank",
    )
    min_sensitivity: float = Field(
        0.95, gt=0, lt=1, description="of each of them, certified on the calibration split, or refused with the reason"
    )
    calibration: Literal["auto", "temperature", "vector", "isotonic"] = Field(
        "temperature",
        description="of probabilities, on the calibration split; auto takes vector (scale and shift for each label) "
        "or isotonic (a curve for each) where better by more than chance; cases with several labels have curves anyway",
    )
    shown: int = Field(5, ge=1, description="diagnoses shown in an answer")


class PackageSection(Section):
    """What the bundle says of itself."""

    version: str = Field("0.1.0", min_length=1, description="of this model")
    intended_use: str = Field(
        "", description="who uses it, for which patients, at which moment; empty marks the bundle as a draft"
    )
    limits: str = Field(
        "", description="for whom, where and for what it is not to be used; empty marks the bundle as a draft"
    )
    codes: dict[str, str] = Field(default_factory=dict, description="ICD-10-CM code of each label, where there is one")


class ServeSection(Section):
    """How it is served."""

    host: str = Field("127.0.0.1", min_length=1, description="the address to listen on; loopback by default")
    port: int = Field(8000, ge=0, le=65535, description="0 takes a free one")
    max_bytes: int = Field(1_048_576, ge=1024, description="largest request")
    deadline_seconds: float = Field(10.0, gt=0, description="a request that waits longer is answered 504")
    max_batch: int = Field(32, ge=1, description="notes answered together")
    queue: int = Field(256, ge=1, description="notes waiting; beyond it a request is answered 503")


class Protocol(Section):
    """A whole protocol."""

    study: StudySection = Field(default_factory=StudySection)
    data: DataSection
    clean: CleanSection = Field(default_factory=CleanSection)
    audit: AuditSection = Field(default_factory=AuditSection)
    spelling: SpellingSection = Field(default_factory=SpellingSection)
    split: SplitSection = Field(default_factory=SplitSection)
    model: ModelSection = Field(default_factory=ModelSection)
    train: TrainSection = Field(default_factory=TrainSection)
    augment: AugmentSection = Field(default_factory=AugmentSection)
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    answer: AnswerSection = Field(default_factory=AnswerSection)
    package: PackageSection = Field(default_factory=PackageSection)
    serve: ServeSection = Field(default_factory=ServeSection)
