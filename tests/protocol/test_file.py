from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bedside.core.errors import ProtocolError, StudyError
from bedside.protocol import Protocol, load, parse, render

LEAST = '[data]\nsource = "notes.csv"\ntext = "note"\nlabel = "dx"\n'


def test_every_key_is_written_with_its_comment_and_read_back() -> None:
    protocol = parse(LEAST)
    text = render(protocol)
    assert parse(text) == protocol
    lines = text.splitlines()
    for name in Protocol.model_fields:
        section = getattr(protocol, name)
        start = lines.index(f"[{name}]")
        for key, field in type(section).model_fields.items():
            assert field.description, f"{name}.{key}"
            heads = (f"{key} = ", f"# {key} = ", f"[{name}.{key}]", f"# [[{name}.{key}]]")
            place = next(number for number, line in enumerate(lines) if number > start and line.startswith(heads))
            assert lines[place - 1].startswith("# "), f"{name}.{key}"


def test_odd_values_come_back_as_they_were() -> None:
    odd = 'a "b" \\ c\x7f\té\n'
    protocol = parse(LEAST)
    data = protocol.data.model_copy(update={"label": odd, "merge": {odd: "x", "a.b": odd}, "text": ["a", odd]})
    changed = protocol.model_copy(update={"data": data})
    assert parse(render(changed)) == changed
    tomllib.loads(render(changed))


def test_several_sources_come_back_as_they_were_and_their_faults_name_the_key() -> None:
    head = '[data]\ntext = "note"\nlabel = "dx"\n'
    first = '[[data.sources]]\nname = "a"\nsource = "a.csv"\n[data.sources.merge]\n"a b" = "c"\n'
    second = '[[data.sources]]\nname = "b"\nsource = "b.csv"\ntext = ["x", "y"]\npatient = ""\n'
    protocol = parse(head + first + second)
    assert parse(render(protocol)) == protocol
    assert [one.text for one in protocol.data.sources] == [None, ["x", "y"]]
    for content, said in [
        (head, "exactly one of source and [[data.sources]] must be given, and neither is"),
        (head + 'source = "c.csv"\n' + first, "and both are"),
        (head + first + second.replace('"b"', '"a"'), "two of data.sources have the name 'a'"),
        (head + second + 'lable = "dx"\n', "data.sources.0.lable is not a key; did you mean data.sources.0.label?"),
    ]:
        with pytest.raises(ProtocolError) as caught:
            parse(content)
        assert said in str(caught.value)


def test_a_password_in_an_address_is_not_shown_in_a_fault() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse('[data]\ntext = "note"\nlabel = "dx"\nsources = ["postgresql://user:hidden@host/db"]\n')
    assert "hidden" not in str(caught.value)
    assert "user:***@host" in str(caught.value)


def test_all_faults_are_told_at_once_each_with_key_and_value() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(LEAST + '[train]\nepoch = 3\nlearning_rate = 7\n[split]\ntrain = "half"\n', "plan.toml")
    assert len(caught.value.faults) == 3
    text = str(caught.value)
    assert text.startswith("plan.toml has 3 faults:")
    assert "train.epoch is not a key; did you mean train.epochs?" in text
    assert "train.learning_rate = 7: " in text
    assert 'split.train = "half": ' in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LEAST + "[trian]\nepochs = 3\n", "trian is not a key; did you mean train?"),
        (LEAST + "[model]\nepochs = 3\n", "model.epochs is not a key; train.epochs is: move it there"),
        (LEAST + "[split]\ntrain = 0.9\n", "add up to 1.3, not to 1"),
        (LEAST + "[model]\nwindow = 32\noverlap = 20\n", "overlap 20 is more than half of window 32"),
        ('[data]\nsource = "a.csv"\nlabel = "l"\n', "data.text is missing and has no default"),
        ('[data]\nsource = "a.csv"\ntext = "t"\n', "data: label or labels must be given, and neither is"),
        ("[data\n", "is not valid TOML"),
    ],
)
def test_a_fault_says_what_is_right(content: str, said: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(content)
    assert said in str(caught.value)
    assert len(caught.value.faults) == 1


def test_a_folder_without_a_protocol_and_foreign_bytes(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is not a study"):
        load(tmp_path / "protocol.toml")
    (tmp_path / "protocol.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProtocolError, match="is not UTF-8"):
        load(tmp_path / "protocol.toml")


def test_where_a_training_is_logged_does_not_redo_it() -> None:
    from bedside.protocol import TrainSection

    plain = TrainSection().digest()
    assert TrainSection(trackers=["wandb"], checkpoint_seconds=5).digest() == plain
    assert TrainSection(epochs=2).digest() != plain
