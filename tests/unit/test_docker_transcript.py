import os
from pathlib import Path

from runtimeimg.builders.docker.stream import KEPT_LOGS, Transcript
from runtimeimg.progress import Silent


def take(*texts: str) -> Transcript:
    transcript = Transcript(Silent(), None)
    for text in texts:
        transcript.take({"stream": text})
    transcript.finish()
    return transcript


def test_lines_are_put_together_from_pieces() -> None:
    with take(
        'Step 2/3 : RUN ["x"]\n', " ---> Run", "ning in 0123456789ab\n", "one", "\r\ntwo\nthr", "ee"
    ) as transcript:
        assert (transcript.step, transcript.instruction) == (2, 'RUN ["x"]')
        assert list(transcript.tail) == ["one", "two", "three"]
        assert transcript.containers == {"0123456789ab"}


def test_the_tail_is_that_of_the_last_step() -> None:
    lines = [f"line {number}\n" for number in range(30)]
    with take("Step 1/2 : RUN x\n", "old\n", "Step 2/2 : RUN y\n", *lines) as transcript:
        assert list(transcript.tail) == [f"line {number}" for number in range(10, 30)]


def test_images_come_from_whole_lines_and_the_id_from_aux_alone() -> None:
    with take(" ---> 0123456789ab\n", "x ---> aaaaaaaaaaaa\n", "Successfully built bbbbbbbbbbbb\n") as transcript:
        transcript.take({"aux": {"ID": "sha256:cc"}})
        transcript.take({"aux": {"ID": 3}})
        transcript.take({"error": "no", "errorDetail": {"message": "no"}})
        assert transcript.images == {"0123456789ab"}
        assert transcript.image_id == "sha256:cc"
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
