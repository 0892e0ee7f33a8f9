"""Coverage-guided fuzzing of the receiving half of a link, by atheris: `guided_fuzzing FOLDER SECONDS`.

The first byte chooses whether what follows is a stream of frames or the body of one, and which cargo
came ahead. What no bytes may bring about ends the process with a traceback and the input in FOLDER.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore] # installed by who wants it

with atheris.instrument_imports(include=["actors.transport"]):
    from actors import transport
    from tests.transport.fuzz import Judge, corpus, framed, no_imports
    from tests.transport.sample_values import Registered

LARGEST = 4096


def main(folder: Path, seconds: float) -> None:
    """Fuzz for so long; atheris ends the process."""
    transport.register(Registered, lambda thing: thing.value, Registered)
    warnings.simplefilter("ignore", ResourceWarning)
    seeds = folder / "corpus"
    seeds.mkdir()
    with corpus() as made, no_imports():
        judge = Judge(made)
        for number, talk in enumerate(made.talks):
            (seeds / f"{number}-body").write_bytes(bytes([number]) + talk.body)
            stream = b"".join(map(framed, (*talk.introductions, talk.body)))
            (seeds / f"{number}-stream").write_bytes(bytes([number | 0x80]) + stream)

        def one(data: bytes) -> None:
            if not data:
                return
            talk = made.talks[data[0] % 0x80 % len(made.talks)]
            if data[0] & 0x80:
                judge.read(talk, (), [data[1:]])
            else:
                judge.read(talk, talk.introductions, [framed(data[1:])])

        options = [f"-max_total_time={int(seconds)}", f"-max_len={LARGEST}", "-rss_limit_mb=2048"]
        arguments = [
            sys.argv[0],
            *options,
            # Of the wall's clock, on a machine that may be busy; the judge looks at the processor's.
            "-timeout=300",
            f"-artifact_prefix={folder}/",
            str(seeds),
        ]
        atheris.Setup(arguments, one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
