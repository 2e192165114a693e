import threading

from rag.lane import Lane


def test_who_waits_goes_first_when_the_holder_gives_way() -> None:
    lane, order = Lane(), []

    def wait_and_note() -> None:
        with lane:
            order.append("other")

    other = threading.Thread(target=wait_and_note)
    with lane:
        other.start()
        while not lane.waiting:
            pass
        order.append("holder")
        lane.give_way()
        order.append("holder again")
    other.join()
    assert order == ["holder", "other", "holder again"]


def test_giving_way_to_nobody_keeps_the_lane() -> None:
    lane = Lane()
    with lane:
        lane.give_way()
        assert lane.waiting == 0
    with lane:
        pass


def test_work_that_can_be_left_undone_waits_for_an_idle_lane() -> None:
    lane = Lane()
    assert lane.wait_until_idle(0)
    with lane:
        assert not lane.wait_until_idle(0)
    assert lane.wait_until_idle(0)
