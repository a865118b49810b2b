"""Progress: a bar for users, JSON lines for programs."""

import json

import pytest

from bestie.runtime.progress import Progress, close_all, parse_progress, track


def lines_of(capsys: pytest.CaptureFixture) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_progress_ends_with_a_line_that_says_all_is_done(capsys: pytest.CaptureFixture):
    progress = Progress("train_pam", 3, as_json=True)
    for _ in range(3):
        progress.advance(loss=0.123456789)
    progress.close()
    line = lines_of(capsys)[-1]
    assert (line["progress"], line["done"], line["total"]) == ("train_pam", 3, 3)
    assert line["remaining_s"] == 0
    assert line["loss"] == 0.12346


def test_a_json_line_is_read_back(capsys: pytest.CaptureFixture):
    Progress("train_pam", 1, as_json=True).advance(loss=0.5)
    values = parse_progress(capsys.readouterr().err)
    assert values is not None
    assert (values["progress"], values["done"], values["loss"]) == ("train_pam", 1, 0.5)


@pytest.mark.parametrize("line", ["loss 8.5", '{"progress": "x"', '{"progress": "x"}', '{"loss": 1}'])
def test_any_other_line_is_no_progress(line: str):
    assert parse_progress(line) is None


def test_json_lines_come_at_most_twice_a_second(capsys: pytest.CaptureFixture):
    progress = Progress("fast", 1000, as_json=True)
    for _ in range(999):
        progress.advance()
    assert len(lines_of(capsys)) <= 1


def test_steps_of_an_earlier_run_count_as_done_but_not_as_fast(capsys: pytest.CaptureFixture, monkeypatch):
    now = 100.0
    monkeypatch.setattr("bestie.runtime.progress.time.monotonic", lambda: now)
    progress = Progress("resumed", 100, done=90, as_json=True)
    now = 105.0
    progress.advance(5)
    (line,) = lines_of(capsys)
    assert (line["done"], line["rate"], line["remaining_s"]) == (95, 1.0, 5.0)


def test_a_bar_names_its_work(capsys: pytest.CaptureFixture):
    assert list(track([1, 2], "prepare: index")) == [1, 2]
    assert "prepare: index: 100%" in capsys.readouterr().err


def test_an_interrupted_bar_leaves_the_line(capsys: pytest.CaptureFixture):
    progress = Progress("broken off", 10)
    progress.advance()
    assert not capsys.readouterr().err.endswith("\n")
    close_all()
    assert capsys.readouterr().err.endswith("\n")
    close_all()
    assert capsys.readouterr().err == ""
