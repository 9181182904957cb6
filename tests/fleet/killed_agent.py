"""An agent that is killed at every step in turn, and the next one that finishes.

A process without threads, so that it can fork: each agent is a child that ends itself at its n-th change of a file.
"""

import itertools
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from edge_ad.bundle import Bundle
from edge_ad.fleet import ArtifactReference, read_origin
from edge_ad.fleet.follow import Follower, FollowOptions

CHANGES = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree", "ctypes.dlsym"}


def main(words: str, root: Path, health: str, trial_s: float, stride: int) -> None:
    template = root.parent.with_name("template")
    shutil.copytree(root.parent, template)
    options = FollowOptions(health=health or None, observe_s=0.0, trial_s=trial_s)
    follower = Follower(ArtifactReference.parse(words), root, [("verifying", Bundle.open)], options)
    for number in itertools.count(0, stride):
        shutil.rmtree(root.parent)
        shutil.copytree(template, root.parent)
        is_over = _is_over(follower, number)
        between = _live(root)
        _run(follower)
        report = {"killed_at": number, "between": between, "after": _live(root), "step": follower.state.step}
        sys.stdout.write(json.dumps({**report, "left": _left(root), "is_over": is_over}) + "\n")
        if is_over:
            return


def _is_over(follower: Follower, number: int) -> bool:
    """Whether an agent ends before its n-th change; otherwise it is killed there."""
    child = os.fork()
    if child == 0:
        left = itertools.count(number, -1)
        sys.addaudithook(lambda event, _: _kill() if event in CHANGES and next(left) == 0 else None)
        _run(follower)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == 0


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _run(follower: Follower) -> None:
    with follower.alone():
        follower.check()


def _live(root: Path) -> str:
    Bundle.open(root)
    origin = read_origin(root)
    return "" if origin is None else origin.digest


def _left(root: Path) -> list[str]:
    kept = {f".{root.name}-follow", root.name}
    hidden = [path.name for path in root.parent.iterdir() if path.name not in kept]
    return hidden + [path.name for path in (root.parent / f".{root.name}-follow").glob("*candidate*")]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))
