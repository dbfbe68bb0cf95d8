"""The picture of a node: taking polls, standing still, catching up. No clock, no thread, no Textual."""

from __future__ import annotations

from dagbox.tui.polling.model import HISTORY
from dagbox.tui.polling.picture import Picture
from tests.tui import sample


def test_polls_change_the_model_in_their_order() -> None:
    picture = Picture()
    assert picture.take([sample.poll(0), sample.poll(1)])
    assert picture.model.at == sample.BEGIN + 1
    assert len(picture.model.total.at) == 2


def test_a_frozen_picture_keeps_polls_and_catches_up_on_all_of_them() -> None:
    picture = Picture()
    picture.take([sample.poll(0)])
    picture.freeze()
    for second in range(1, 5):
        assert not picture.take([sample.poll(second)])
    assert picture.model.at == sample.BEGIN
    assert picture.behind == 4
    picture.thaw()
    assert picture.behind == 0
    assert [at - sample.BEGIN for at in picture.model.total.at] == [0, 1, 2, 3, 4]


def test_a_picture_that_is_frozen_for_long_keeps_the_last_polls_only() -> None:
    picture = Picture()
    picture.freeze()
    for second in range(HISTORY + 5):
        picture.take([sample.poll(second % 180) | {"at": float(second)}])
    assert picture.behind == HISTORY
    picture.thaw()
    assert picture.model.total.at[0] == 5.0


def test_a_seek_is_seen_in_a_frozen_picture_and_drops_what_was_kept() -> None:
    picture = Picture()
    picture.take([sample.poll(0)])
    picture.freeze()
    picture.take([sample.poll(1)])
    assert picture.take([{"reset": True}, sample.poll(100)]) is True
    picture.thaw()
    assert [at - sample.BEGIN for at in picture.model.total.at] == [100]


def test_a_loss_is_told_once_until_the_node_is_back() -> None:
    picture = Picture()
    picture.take([sample.poll(0)])
    assert picture.lose("gone")
    assert not picture.lose("still gone")
    picture.take([sample.poll(1)])
    assert picture.lose("gone again")


def test_a_poll_that_is_not_understood_is_a_loss_and_the_next_one_mends_it() -> None:
    picture = Picture()
    picture.take([sample.poll(0)])
    picture.take([sample.poll(1) | {"workers": 5}])
    assert "not a DagBox message" in picture.model.lost
    assert picture.model.at == sample.BEGIN
    picture.take([sample.poll(2)])
    assert not picture.model.lost
