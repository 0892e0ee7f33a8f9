"""Hash many passwords with scrypt, on a pool of processes, while the event loop goes on."""

import argparse
import hashlib
import secrets
import time

import anyio

import actors


def hash_password(password: str) -> str:
    """Return the salt and the scrypt hash of *password*, as text; takes about a twentieth of a second."""
    salt = secrets.token_bytes(16)
    key = hashlib.scrypt(password.encode(), salt=salt, n=16384, r=8, p=1, maxmem=64 << 20, dklen=32)
    return f"{salt.hex()}${key.hex()}"


def check_password(password: str, stored: str) -> bool:
    """Return whether *password* is the one that *stored* was made from."""
    salt, _, key = stored.partition("$")
    found = hashlib.scrypt(
        password.encode(), salt=bytes.fromhex(salt), n=16384, r=8, p=1, maxmem=64 << 20, dklen=32
    )
    return secrets.compare_digest(found.hex(), key)


async def main(count: int, workers: int | None) -> None:
    """Hash *count* passwords, and show that the loop was free meanwhile."""
    async with actors.System() as system:
        pool = await system.start(actors.pool(name="hashing", size=workers))
        passwords = [secrets.token_urlsafe(12) for _ in range(count)]
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await anyio.sleep(0.01)
                turns += 1

        stored: list[str] = []
        began = time.perf_counter()
        async with anyio.create_task_group() as beside:
            beside.start_soon(count_turns)
            stored = [text async for text in pool.map(hash_password, passwords)]
            beside.cancel_scope.cancel()
        seconds = time.perf_counter() - began
        print(f"{count} passwords in {seconds:.2f} s, {count / seconds:.0f} a second")
        print(f"the event loop turned {turns} times meanwhile")
        print("the first one is right:", await pool.run(check_password, passwords[0], stored[0]))
        print("another one is not:", await pool.run(check_password, "guess", stored[0]))
        stats = await pool.stats()
        print(
            f"half of them took up to {stats.run.p50 * 1000:.0f} ms on {len(stats.workers)} workers"
        )


def positive(text: str) -> int:
    """Return a number of 1 or more, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {number}")
    return number


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", type=positive, default=60, metavar="N")
    arguments.add_argument(
        "--workers", type=positive, metavar="N", help="as many as there are CPUs"
    )
    chosen = arguments.parse_args()
    actors.run(main, chosen.count, chosen.workers)
