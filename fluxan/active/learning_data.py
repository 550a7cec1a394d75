"""The data set of a learning loop: plain files in one folder, from which its whole state follows.

config.toml                    settings that the folder was begun with
initial/                       dynamics with the reference, and labels of its frames, one file each
data/initial.xyz, test.xyz     labelled frames before the first round; the latter are never trained on
data/round-000.xyz             labelled frames of each round
rounds/000/member-0/           each member's fit
rounds/000/candidates.xyz      frames that were chosen, exploration.json beside it
rounds/000/labels/00000.json   answers of the reference, failures among them
rounds/000/round.json          the record of a round that is over
index.html                     the page
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fluxan.plain_files import read_json
from fluxan.training.conventions import with_virials
from fluxan.trajectory.labelled_files import LabelUnits, read_labelled

if TYPE_CHECKING:
    from pathlib import Path

    from fluxan.trajectory.labelled_frame import LabelledFrame

#: Units of the files that fluxan writes.
UNITS = LabelUnits(stress="eV/A^3")
#: Sources of frames, as the page shows them; a trajectory's name begins with its source.
INITIAL, GIVEN = "initial", "given"


@dataclass(frozen=True, slots=True)
class LearningFolder:
    """Paths of a loop's files.

    Attributes
    ----------
    root : Path
        The folder.
    """

    root: Path

    @property
    def config(self) -> Path:
        """Settings that the folder was begun with."""
        return self.root / "config.toml"

    @property
    def page(self) -> Path:
        """The page."""
        return self.root / "index.html"

    def data(self, name: str) -> Path:
        """A file of labelled frames: "initial", "test", "round-000"."""
        return self.root / "data" / f"{name}.xyz"

    def round(self, number: int) -> Path:
        """Folder of a round."""
        return self.root / "rounds" / f"{number:03d}"

    def member(self, number: int, member: int) -> Path:
        """Folder of a member's fit in a round."""
        return self.round(number) / f"member-{member}"

    def records(self) -> list[dict[str, Any]]:
        """Records of all rounds that are over, in their order."""
        paths = sorted((self.root / "rounds").glob("*/round.json"))
        return [read_json(path) for path in paths]

    def training_frames(self, before: int) -> list[LabelledFrame]:
        """Frames to train on in a round: the initial ones, and those labelled in the rounds before it."""
        names = ["initial", *(f"round-{number:03d}" for number in range(before))]
        return [item for name in names for item in self.frames(name)]

    def frames(self, name: str) -> list[LabelledFrame]:
        """Labelled frames of one file; none if it is empty."""
        return self.read(self.data(name))

    @staticmethod
    def read(path: Path) -> list[LabelledFrame]:
        """Frames of a file that `write_labelled` made; none if it is empty."""
        if path.stat().st_size == 0:
            return []
        return with_virials(list(read_labelled([path], UNITS)), stated="ase")[0]


def composition_of(frames: list[LabelledFrame]) -> dict[str, int]:
    """Number of frames by source."""
    counts: dict[str, int] = {}
    for item in frames:
        source = source_of(item)
        counts[source] = counts.get(source, 0) + 1
    return counts


def source_of(item: LabelledFrame) -> str:
    """Source of a frame, which the name of its trajectory begins with."""
    return item.trajectory.partition(":")[0]
