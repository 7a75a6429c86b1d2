"""Contents that are read while more are set aside: whole entries, those that are missing waited for."""

import threading

import pytest

from runtimeimg.compose.setaside import NotWantedError, SetAside
from runtimeimg.compose.spool import Spool
from runtimeimg.errors import InvalidDocumentError, RuntimeimgError, TransientError

from .test_sparse import prose

ENTRIES = {index: prose(index, 300_000) for index in range(0, 40, 2)}
KEY = "sha256:1"


@pytest.fixture
def aside():
    made = SetAside()
    yield made
    made.close()


def spooled(aside, tmp_path, gates):
    """Set the entries aside, those of `gates` when their event is set."""
    failure = None
    try:
        with Spool(tmp_path) as spool, aside.growing(KEY, spool):
            for index, data in ENTRIES.items():
                if index in gates:
                    gates[index].wait(60)
                spool.take(index, [data[:1000], data[1000:]])
    except BaseException as error:
        failure = error
        raise
    finally:
        aside.over([KEY], failure)


def started(work, *arguments):
    said = []

    def run():
        try:
            work(*arguments)
        except (RuntimeimgError, NotWantedError) as error:
            said.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, said


def test_what_is_there_is_read_before_the_rest_has_come(aside, tmp_path):
    gates = {30: threading.Event()}
    aside.expect([KEY])
    thread, said = started(spooled, aside, tmp_path, gates)
    for index in range(0, 22, 2):
        assert b"".join(aside.pieces(KEY, index, 300_000)) == ENTRIES[index]
    assert thread.is_alive()
    gates[30].set()
    for index in (38, 2, 30, 36, 0):
        assert b"".join(aside.pieces(KEY, index, 300_000)) == ENTRIES[index]
    assert aside.part(KEY, 34, 299_990, 100) == ENTRIES[34][299_990:]
    thread.join()
    assert not said


def test_many_readers_at_any_time_see_what_was_taken(aside, tmp_path):
    aside.expect([KEY])
    wrong = []

    def read(seed):
        order = sorted(ENTRIES, key=lambda index: prose(seed * 1000 + index, 8))
        wrong.extend(index for index in order if aside.part(KEY, index, 0, 300_000) != ENTRIES[index])

    readers = [started(read, seed) for seed in range(8)]
    thread, said = started(spooled, aside, tmp_path, {})
    for one, failed in [*readers, (thread, said)]:
        one.join()
        assert not failed
    assert not wrong


def test_what_ends_it_early_ends_those_who_wait(aside, tmp_path):
    def broken():
        yield ENTRIES[10][:1000]
        raise TransientError("the line is down")

    def failing():
        try:
            with Spool(tmp_path) as spool, aside.growing(KEY, spool):
                for index in range(0, 12, 2):
                    spool.take(index, [ENTRIES[index]] if index < 10 else broken())
        except TransientError as error:
            aside.over([KEY], error)

    aside.expect([KEY])
    thread, _ = started(failing)
    with pytest.raises(TransientError, match="the line is down"):
        list(aside.pieces(KEY, 20, 300_000))
    thread.join()
    assert b"".join(aside.pieces(KEY, 0, 300_000)) == ENTRIES[0]  # what came whole is good


def test_nothing_is_set_aside_for_nobody(aside, tmp_path):
    aside.expect([KEY])
    gates = {20: threading.Event()}
    thread, said = started(spooled, aside, tmp_path, gates)
    list(aside.pieces(KEY, 0, 300_000))
    aside.stop()
    gates[20].set()
    thread.join()
    assert [type(error) for error in said] == [NotWantedError]
    with pytest.raises(NotWantedError):
        list(aside.pieces(KEY, 38, 300_000))


def test_what_was_never_asked_for_and_what_has_another_size(aside, tmp_path):
    spooled(aside, tmp_path, {})
    with pytest.raises(KeyError):
        list(aside.pieces(KEY, 1, 300_000))
    with pytest.raises(KeyError):
        list(aside.pieces("sha256:2", 0, 300_000))
    with pytest.raises(InvalidDocumentError, match="not what its table of contents says"):
        list(aside.pieces(KEY, 2, 299_999))
    assert list(aside.missing(KEY, [0, 1, 2, 3], 5)) == [0, 1, 0, 1, 0]
