"""Stages `fit`, `learn` and `compare` of `rare_events.py`: what models of argon make of its rare events, and learning.

Two kinds of failure come from training on frames without events: a model may invent events, or miss them. For each, the
loop of `fluxan.active.loop.learn` starts from the same frames by the published rule and with frames at random; a
third ensemble is fitted to as many frames without events, and further loops show what parts of the rule do.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field

import numpy as np
from radial_dynamics import RadialDynamics, set_seed

from fluxan.active.learn_config import read_learn_config
from fluxan.active.learning_data import LearningFolder
from fluxan.active.loop import learn
from fluxan.potentials.load import load_model
from fluxan.system import Frame
from fluxan.training.fit import MODEL
from fluxan.trajectory.labelled_frame import LabelledFrame
from fluxan.trajectory.labelled_writer import rounded, write_labelled

#: Temperature of exploration and of all comparisons, K; settings of the rules by name of the ensemble.
TEMPERATURE = 75.0
RULES = {
    "published": "",
    "random": 'rule = "random"\n',
    "flux": 'uncertainty = "flux"\n',
    "without P_E": "energies = false\n",
}
#: Rules of which only the errors are compared.
ABLATION = ("flux", "without P_E")
#: An ensemble that only gets more frames without events, and the last one of the loop at random, whatever its labels.
MORE, ALL_RANDOM = "more frames", "random to the end"

#: The reference, which refuses frames in which atoms overlap: a network that is trained on forces of 50 eV/Å knows no
#: other ones.
CAREFUL = """import numpy as np
from fluxan.md.ase import FluxanCalculator


class Careful(FluxanCalculator):
    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        if np.abs(self.results["forces"]).max() > {limit}:
            raise ValueError("a force exceeds {limit} eV/A")


def argon():
    return Careful({path!r})
"""

CONFIG = """[reference]
calculator = "careful:argon"

[start]
structures = ["{folder}/argon.xyz"]
labelled = ["{folder}/{frames}.xyz"]
temperature = {temperature}
frames = 4
test_frames = 20
timestep = 10.0
spacing = 0.5
equilibration = 3.0

[model]
{model}
widths = []

[loss]
energy = 100.0
forces = 1.0
virial = 0.0

[fit]
epochs = {first}
batch_size = 4
learning_rate = 0.01
patience = 1000
average = 0.9

[train]
epochs = {later}

[ensemble]
subsamples = {subsamples}
seeds = 1
seed = {seed}

[explore]
temperature = {temperature}
time = {time}
samples = {samples}
timestep = 10.0
{rule}
[stop]
rounds = {rounds}
tolerance = 1e-6
{labels}
[output]
folder = "{output}"
"""


@dataclass(frozen=True)
class Failure:
    """How models fail: settings of the model, and temperature, K, number and scale of the frames it is trained on.

    Runs of the first and of the last ensemble at random are `longer`, where events are few.
    """

    model: str
    temperature: float
    frames: int
    scale: float = 1.0
    longer: float = 1.0


@dataclass(frozen=True)
class Sizes:
    """How much of everything: times in ps."""

    seeds: int = 2
    subsamples: int = 2
    samples: int = 10
    time: float = 3.0
    rounds: int = 4
    epochs: tuple = (100, 60)
    runs: int = 3
    reference: float = 600.0
    model: float = 250.0
    kappa: float = 200.0
    spacing: float = 1.5
    ablation: int = 1
    limit: float = 1.0


#: Both kinds: networks that have seen no short distances extrapolate them; few linear functions, fitted to frames of a
#: dense crystal, miss events.
FAILURES = {
    "false": Failure(
        'kind = "behler-parrinello"\ncutoff = 6.0\nn_radial = 8\nfirst_shift = 2.5\nhidden = [10, 10]\n'
        'activation = "tanh"',
        60.0,
        12,
    ),
    "missed": Failure('kind = "linear"\ncutoff = 5.8\nn_radial = 7\nfirst_shift = 2.6', 60.0, 12, 0.93, 4.0),
}
QUICK = Sizes(1, 2, 2, 1.0, 1, (10, 10), 1, 60.0, 10.0, 20.0, 0.3, 0, 1e9)


@dataclass
class Study:
    """Folder, crystal and reference of the study."""

    folder: object
    sizes: Sizes
    atoms: object
    sites: np.ndarray
    own: np.ndarray
    reference: object
    failures: dict
    fast: RadialDynamics = field(init=False)

    def __post_init__(self):
        """Make the reference's dynamics."""
        self.fast = RadialDynamics([self.reference], self.atoms)

    def frame(self, x, v=None, time=0.0):
        """A frame of the crystal."""
        return Frame(x, v, np.array(self.atoms.cell), self.atoms.numbers, time=time)

    def loop(self, name, rule, seed):
        """Folder of a loop."""
        return LearningFolder(self.folder / "loops" / f"{name}-{rule.replace(' ', '-')}-{seed}")

    def ensembles(self):
        """All ensembles: failure, rule and seed."""
        few = range(self.sizes.ablation)
        return [
            (name, rule, seed)
            for seed in range(self.sizes.seeds)
            for name in self.failures
            for rule in ("published", "random", MORE, *ABLATION)
            if rule not in ABLATION or (seed in few and name == "missed")
        ]


def equilibrium(study, fast, temperature, seed):
    """Positions and velocities after 20 ps from the crystal at rest."""
    x = study.atoms.positions.copy()
    v = fast.velocities(len(x), 2 * temperature, np.random.default_rng(seed))
    set_seed(seed)
    fast.run(x, v, 20.0, temperature=temperature)
    return x, v


def quiet_frames(study, failure, count, seed):
    """Labelled frames of the reference's dynamics from a run, or several, without an event."""
    from rare_events import LOOK, HopCounter

    found = []
    while len(found) < count:
        seed += 1000
        x, v = equilibrium(study, study.fast, failure.temperature, seed)
        counter, run = HopCounter(study.sites, study.own, study.fast.lengths), []
        counter.look(0.0, x)
        every = max(1, round(study.sizes.spacing / LOOK))
        for k in range(1, every * (count - len(found)) + 1):
            study.fast.run(x, v, LOOK, temperature=failure.temperature)
            counter.look(k * LOOK, x)
            if counter.hops:
                run = run[:-1]  # the hop began some time ago
                break
            if k % every == 0:
                run.append(x.copy())
        found += run if not counter.away else run[:-1]
    return label(study, found[:count], failure.scale)


def label(study, positions, scale):
    """Frames, scaled with their cell, with the reference's energy and forces."""
    atoms = study.atoms.copy()
    atoms.set_cell(atoms.cell * scale)
    fast, frames = RadialDynamics([study.reference], atoms), []
    for x in positions:
        frame = rounded(Frame(scale * x, None, np.array(atoms.cell), atoms.numbers))
        energy, forces, _ = fast.forces(frame.positions)
        frames.append(LabelledFrame(frame, energy, forces, None, None, "event-free"))
    return frames


def fit(study):
    """Frames without events, and the ensembles that are fitted to nothing else."""
    from ase.io import write

    from fluxan.potentials.load import load_model as load

    study.folder.mkdir(parents=True, exist_ok=True)
    text = load("shipped:ar").describe().replace('truncation = "none"', 'truncation = "force"')
    path = study.folder.absolute() / "argon.toml"
    path.write_text(text)
    (study.folder / "careful.py").write_text(CAREFUL.format(path=str(path), limit=study.sizes.limit))
    write(study.folder / "argon.xyz", study.atoms)
    for name, failure in study.failures.items():
        for seed in range(study.sizes.seeds):
            path = study.folder / f"{name}-{seed}.xyz"
            if not path.exists():
                write_labelled(path, quiet_frames(study, failure, failure.frames, 1 + seed))
            if not study.loop(name, "published", seed).records():
                run_loop(study, name, "published", seed, only_fit=True)
            print(f"{name}, seed {seed}: fitted to {failure.frames} frames without events at {failure.temperature:g} K")


def run_loop(study, name, rule, seed, *, only_fit=False, frames=None, labels=None):
    """Run a loop to its end, or to its first fit; the first fit is shared among rules."""
    sizes, failure, loop = study.sizes, study.failures[name], study.loop(name, rule, seed)
    path = study.folder / f"{loop.root.name}.toml"
    limit = 1 if only_fit else labels
    text = CONFIG.format(
        folder=study.folder.absolute(), frames=frames or f"{name}-{seed}", model=failure.model, seed=10 + seed,
        subsamples=sizes.subsamples, temperature=TEMPERATURE, time=sizes.time,
        samples=sizes.samples, first=sizes.epochs[0], later=sizes.epochs[1],
        rule=RULES.get(rule, ""), rounds=sizes.rounds, output=loop.root.absolute(),
        labels="" if limit is None else f"labels = {limit}",
    )  # fmt: skip
    path.write_text(text)
    first = study.loop(name, "published", seed)
    if rule in RULES and rule != "published" and not loop.root.exists():
        for part in ("initial", "data"):
            shutil.copytree(first.root / part, loop.root / part, ignore=shutil.ignore_patterns("round-*"))
        shutil.copytree(first.round(0), loop.round(0), ignore=only_members)
    record = loop.round(0) / "round.json"
    if not only_fit and record.exists() and json.loads(record.read_text())["exploration"] is None and frames is None:
        record.unlink()  # of the stage `fit`, which ended there
    return learn(read_learn_config(path), resume=loop.root.exists())


def only_members(folder, names):
    """Everything but the fits of a round: what a copy leaves out."""
    return [name for name in names if folder.endswith("000") and not name.startswith("member-")]


def learn_all(study):
    """Loops by all rules, and the ensembles that get more frames without events instead."""
    for name, rule, seed in study.ensembles():
        if rule == MORE:
            count = n_labels(study, name, "published", seed)
            failure, frames = study.failures[name], f"{name}-more-{seed}"
            path = study.folder / f"{frames}.xyz"
            if not path.exists():
                old = study.loop(name, "published", seed).frames("initial")[4:]  # behind those of the loop itself
                new = quiet_frames(study, failure, count - len(old) - 4, 500 + seed)
                write_labelled(path, old + new)
            run_loop(study, name, rule, seed, only_fit=True, frames=frames)
        else:
            run_loop(study, name, rule, seed)
        print(f"{name}, {rule}, seed {seed}: {n_labels(study, name, rule, seed)} labels", flush=True)


def n_labels(study, name, rule, seed):
    """Labels that the last members of a loop were trained on."""
    return study.loop(name, rule, seed).records()[-1]["labels"]["total"]


def is_over(study, name, rule, seed):
    """Whether the loop that an ensemble belongs to has ended."""
    records = study.loop(name, {"before": "published", ALL_RANDOM: "random"}.get(rule, rule), seed).records()
    return bool(records) and records[-1]["exploration"] is None


def members_of(study, name, rule, seed):
    """Members of an ensemble, the number of their labels: the last, "before" the first.

    Those at random are of the round whose number of labels is nearest to that of the published rule's last.
    """
    loop = study.loop(name, {"before": "published", ALL_RANDOM: "random"}.get(rule, rule), seed)
    records, number = loop.records(), 0
    if rule == ALL_RANDOM:
        number = len(records) - 1
    elif rule != "before":
        wanted = n_labels(study, name, "published", seed)
        trained = [len(loop.training_frames(k)) for k in range(len(records))]
        number = int(np.abs(np.array(trained) - wanted).argmin())
    folders = [loop.member(number, k) / MODEL for k in range(study.sizes.subsamples)]
    return [load_model(folder) for folder in folders], len(loop.training_frames(number))
