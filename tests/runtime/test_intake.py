"""How many messages of clients are let in: all while the broker keeps up, as many as are answered once it does not."""

from __future__ import annotations

from dagbox.broker.intake import BATCH, FLOOR, FLOOR_S, LEAST, WAITING, Intake


def behind(now: float = 0.0) -> Intake:
    intake = Intake()
    intake.note_taken(BATCH, False, WAITING, now)
    return intake


def test_while_it_keeps_up_it_takes_what_there_is() -> None:
    intake = Intake()
    for emptied, waiting in ((True, 10 * WAITING), (False, WAITING - 1), (False, 0)):
        intake.note_taken(BATCH, emptied, waiting, 0.0)
        assert intake.allowance(0.0) == BATCH


def test_once_it_is_behind_an_answer_lets_a_message_in() -> None:
    intake = behind()
    assert intake.allowance(0.001) == 0
    intake.note_answered(LEAST - 1)
    assert intake.allowance(0.001) == 0
    intake.note_answered(1)
    assert intake.allowance(0.001) == LEAST
    intake.note_taken(LEAST, False, WAITING, 0.002)
    assert intake.allowance(0.003) == 0
    intake.note_answered(10 * BATCH)
    assert intake.allowance(0.004) == BATCH


def test_what_is_let_in_without_answers_is_little_and_comes_often() -> None:
    """One second at all messages: the floor, and no more."""
    intake, now, taken = behind(), 0.0, 0
    while now < 1.0:
        now += 0.001
        allowance = intake.allowance(now)
        if allowance:
            taken += allowance
            intake.note_taken(allowance, False, WAITING, now)
    assert 0.9 * FLOOR / FLOOR_S <= taken <= FLOOR / FLOOR_S


def test_it_takes_all_again_once_the_socket_was_empty_or_little_waits() -> None:
    for emptied, waiting in ((True, WAITING), (False, WAITING - 1)):
        intake = behind()
        intake.note_answered(1)
        intake.note_taken(1, emptied, waiting, 0.5)
        assert intake.allowance(0.5) == BATCH
