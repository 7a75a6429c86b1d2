import os
from pathlib import Path

from runtimeimg.builders.docker.stream import KEPT_LOGS, Transcript
from runtimeimg.progress import Silent
from runtimeimg.remains import Note


class Noted(Note):
    """Keeps in memory what is noted."""

    def __init__(self) -> None:
        super().__init__(None, None)
        self.lines: list[dict[str, object]] = []

    def add(self, **facts: object) -> None:
        self.lines.append(facts)


def take(*texts: str, note: Note | None = None) -> Transcript:
    transcript = Transcript(Silent(), None, note or Noted())
    for text in texts:
        transcript.take({"stream": text})
    transcript.finish()
    return transcript


def test_lines_are_put_together_from_pieces() -> None:
    note = Noted()
    texts = 'Step 2/3 : RUN ["x"]\n', " ---> Run", "ning in 0123456789ab\n", "one", "\r\ntwo\nthr", "ee"
    with take(*texts, note=note) as transcript:
        assert (transcript.step, transcript.instruction) == (2, 'RUN ["x"]')
        assert list(transcript.tail) == ["one", "two", "three"]
    assert note.lines == [{"step": 'RUN ["x"]'}, {"container": "0123456789ab"}, {"settled": True}]


def test_the_tail_is_that_of_the_last_step() -> None:
    lines = [f"line {number}\n" for number in range(30)]
    with take("Step 1/2 : RUN x\n", "old\n", "Step 2/2 : RUN y\n", *lines) as transcript:
        assert list(transcript.tail) == [f"line {number}" for number in range(10, 30)]


def test_images_come_from_whole_lines_and_the_id_from_aux_alone() -> None:
    note, found = Noted(), f"sha256:{'c' * 64}"
    texts = " ---> 0123456789ab\n", "x ---> aaaaaaaaaaaa\n", "Successfully built bbbbbbbbbbbb\n"
    with take(*texts, note=note) as transcript:
        transcript.take({"aux": {"ID": found}})
        transcript.take({"aux": {"ID": 3}})
        transcript.take({"error": "no", "errorDetail": {"message": "no"}})
        assert note.lines == [{"image": "0123456789ab"}, {"settled": True}, {"image": "c" * 12}]
        assert transcript.image_id == found
        assert transcript.error == "no"


def test_the_log_holds_all_and_only_the_latest_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    for number in range(KEPT_LOGS + 5):
        with take(f"first {number} \udc80\n", *["more\n"] * 50) as transcript:
            path = Path(transcript.keep_log(folder))
        os.utime(path, (number, number))
        assert path.read_text().splitlines()[0].startswith(f"first {number} ")
        assert len(path.read_text().splitlines()) == 51
    assert len(list(folder.iterdir())) == KEPT_LOGS


def test_podman_is_understood() -> None:
    note = Noted()
    lines = '[1/2] STEP 1/1: FROM x AS builder\n--> 0123456789ab\n[2/2] STEP 2/5: RUN ["x"]\nsaid\n--> bbbbbbbbbbbb\n'
    with take(lines, "Successfully built bbbbbbbbbbbb\n", note=note) as transcript:
        assert (transcript.step, transcript.instruction) == (0, 'RUN ["x"]')
        assert list(transcript.tail) == ["said", "Successfully built bbbbbbbbbbbb"]
    noted = [{"step": "FROM x AS builder"}, {"image": "0123456789ab"}, {"step": 'RUN ["x"]'}, {"image": "bbbbbbbbbbbb"}]
    assert note.lines == [*noted, {"settled": True}]
