"""Stage `compare` of `rare_events.py`: events, forces in their frames, conductivity and lifetimes by each ensemble."""

from __future__ import annotations

import json
import time
import warnings
from collections import deque
from dataclasses import replace

import numpy as np
from radial_dynamics import RadialDynamics
from rare_events_learning import ABLATION, TEMPERATURE, equilibrium, is_over, members_of

import fluxan
from fluxan.active.anharmonicity import HarmonicReference, sigma_a
from fluxan.active.event_comparison import EventTolerance, RelabelledEvent, compare_events, segments_without_events
from fluxan.active.events import EventList
from fluxan.active.lattice_sites import LatticeSites
from fluxan.active.lifetimes import compare_lifetimes, phonon_lifetimes
from fluxan.active.phonon_modes import phonon_modes
from fluxan.active.site_tracker import SiteTracker, TrackingSettings
from fluxan.errors import FluxanError

#: Times between snapshots around hops and between looks at the sites, and the least stay on a new site, ps.
SNAPSHOT, LOOK, STAY = 0.12, 0.24, 0.5
#: Snapshots within this of a hop are frames of the event, ps; hops that are kept of each run, and its most hops.
NEAR, KEPT, MOST = 0.5, 15, 400
#: Time between fluxes, ps; distance within which an atom is a neighbour of a hopping one, Å; guard of segments, ps.
SAMPLE, NEIGHBOUR, GUARD = 0.04, 4.6, 1.0
#: Window of the blocks of lifetimes, ps.
WINDOW = 20.0


def watch(study, fast, picoseconds, seed):
    """Events of one run, snapshots during its hops, (time, atom, frames), and whether it left the crystal.

    It starts from the equilibrium of the reference: models that fail do so in the run, not before it.
    """
    from rare_events import HopCounter

    x, v = equilibrium(study, study.fast, TEMPERATURE, seed)
    tracker = SiteTracker(
        LatticeSites(study.sites, np.array(study.atoms.cell)), ["Ar"] * len(x), settings=TrackingSettings(dwell=STAY)
    )
    counter, ring, kept, seen, lost = HopCounter(study.sites, study.own, fast.lengths), deque(maxlen=25), [], 0, False
    tracker.update(study.frame(x, time=0.0))
    for k in range(1, round(picoseconds / LOOK) + 1):
        for half in (0.5, 0.0):
            mean, _ = fast.run(x, v, SNAPSHOT, temperature=TEMPERATURE)
            ring.append(((k - half) * LOOK, x.copy()))
        if not mean < 3 * TEMPERATURE:
            lost = True
            break
        tracker.update(study.frame(x.copy(), time=k * LOOK))
        counter.look(k * LOOK, x)
        for since, atom, *_ in counter.hops[seen:]:
            if len(kept) < KEPT or fast is study.fast:
                kept.append((since, atom, np.array([y for t, y in ring if abs(t - since) <= NEAR + 1e-6])))
        seen = len(counter.hops)
        if seen >= MOST:
            lost = True
            break
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of frames that are not those of a crystal: counted as lost
        events = tracker.finish()
    return events, kept, lost


def joined(lists):
    """One list of the events of several runs."""
    events = tuple(event for found in lists for event in found.events)
    return replace(lists[0], events=events, start=0.0, duration=sum(found.duration for found in lists))


def watched(study, fast, picoseconds, seed):
    """Events, snapshots by number of the event, and lost runs, of all runs of one model."""
    lists, snapshots, lost, before = [], {}, 0, 0
    for run in range(study.sizes.runs):
        events, kept, gone = watch(study, fast, picoseconds, 100 * seed + run)
        for since, atom, frames in kept:
            near = [k for k, e in enumerate(events.events) if atom in e.atoms and abs(e.time - since) < 3]
            if near and len(frames) > 1:
                snapshots[before + near[0]] = (atom, frames)
        lists.append(events)
        before, lost = before + len(events.events), lost + gone
    return joined(lists), snapshots, lost


def reference_run(study):
    """Events of the reference and frames of its hops, by number of the event; on disk."""
    events, frames = study.folder / "reference-events.jsonl", study.folder / "reference-frames.npz"
    if not events.exists():
        found, snapshots, _ = watched(study, study.fast, study.sizes.reference, 900)
        np.savez(frames, **{f"{k}-{atom}": positions for k, (atom, positions) in snapshots.items()})
        found.write(events)
    names = np.load(frames)
    snapshots = {int(name.split("-")[0]): (int(name.split("-")[1]), names[name]) for name in names.files}
    return EventList.read(events), snapshots


def event_frames(study, snapshots):
    """Positions of the frames of events, the reference's forces, and masks of the moving atoms and neighbours."""
    frames, masks = [], []
    for atom, positions in snapshots.values():
        for x in positions[::2]:
            d = x - x[atom]
            d -= study.fast.lengths * np.rint(d / study.fast.lengths)
            frames.append(x)
            masks.append((d**2).sum(axis=1) < NEIGHBOUR**2)
    forces = [study.fast.forces(x)[1] for x in frames]
    return frames, forces, masks


def force_errors(fast, frames, forces, masks):
    """Root mean square errors of force components in frames of events, meV/Å: all atoms, and those of the event."""
    wrong = [(fast.forces(x)[1] - f) ** 2 for x, f in zip(frames, forces, strict=True)]
    near = np.concatenate([w[m] for w, m in zip(wrong, masks, strict=True)])
    return {"all": 1e3 * float(np.sqrt(np.mean(wrong))), "event": 1e3 * float(np.sqrt(near.mean()))}


def relabelled_events(study, fast, snapshots):
    """Model and reference along the events of the model."""
    found = {}
    for index, (atom, positions) in snapshots.items():
        both = [[one.forces(x)[:2] for x in positions] for one in (fast, study.fast)]
        (e_m, f_m), (e_r, f_r) = ([np.array(part) for part in zip(*rows, strict=True)] for rows in both)
        found[index] = RelabelledEvent(e_m, e_r, f_m[:, [atom]], f_r[:, [atom]])
    return found


def errors_on_test_set(study, fast, name, seed):
    """Root mean square errors on the test set of a loop: forces, eV/Å, and energies less their mean, eV."""
    test = study.loop(name, "published", seed).frames("test")
    pairs = [(fast.forces(t.frame.positions), study.fast.forces(t.frame.positions)) for t in test]
    forces = float(np.sqrt(np.mean([(a[1] - b[1]) ** 2 for a, b in pairs])))
    return forces, float(np.std([a[0] - b[0] for a, b in pairs]))


def events_of(study, fast, key, reference):
    """Rates and comparison of the events of one ensemble; test errors alone where only a part of the rule differs."""
    name, rule, seed = key
    if rule in ABLATION:
        forces, energies = errors_on_test_set(study, fast, name, seed)
        return {"test": {"forces": 1e3 * forces, "energies": 1e3 * energies}}
    events, snapshots, lost = watched(study, fast, study.sizes.model, 200 + 10 * seed)
    forces, energies = errors_on_test_set(study, fast, name, seed)
    relabelled = relabelled_events(study, fast, snapshots)
    tolerance = EventTolerance(forces, energies, temperature=TEMPERATURE)
    found = compare_events(reference, events, relabelled=relabelled, tolerance=tolerance)
    n_false = sum(event.is_false(tolerance) for event in relabelled.values())
    return {
        "test": {"forces": 1e3 * forces, "energies": 1e3 * energies},
        "events": len(events.events),
        "defects": sum(event.kind == "defect" for event in events.events),
        "picoseconds": events.duration,
        "lost": lost,
        "relabelled": len(relabelled),
        "false": n_false,
        "classes": {
            c.name: {"reference": c.n_reference, "model": c.n_model, "missed": c.missed, "excessive": c.excessive}
            for c in found.classes
        },
    }


def constant_energy(study, fast, seed, *, keep=False):
    """Conductivity of a run of constant energy, W/(m K), its error, and its frames."""
    x, v = equilibrium(study, fast, TEMPERATURE, seed)
    fluxes, frames, mean, piece = [], [], [], 2 * SAMPLE
    for k in range(round(study.sizes.kappa / piece)):
        temperature, part = fast.run(x, v, piece, friction=0.0, n_fluxes=2)
        if not temperature < 2 * TEMPERATURE:
            raise ValueError(f"the run left the crystal after {k * piece:.1f} ps")
        fluxes.append(part)
        mean.append(temperature)
        if keep:
            frames.append(study.frame(x.copy(), v.copy(), (k + 1) * piece))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fluxan.green_kubo(
            np.concatenate(fluxes), dt=SAMPLE, volume=float(np.prod(fast.lengths)), temperature=float(np.mean(mean))
        )
    return float(found.kappa), float(found.error), frames


def conductivity(study, fast, seed):
    """Conductivity of several runs and its error, and the frames of the first."""
    runs, first = [], None
    for run in range(study.sizes.runs):
        *found, frames = constant_energy(study, fast, 7000 + 100 * seed + run, keep=run == 0)
        runs.append(found)
        first = first or frames
    values, errors = np.array(runs).T
    return {
        "kappa": float(values.mean()),
        "error": float(np.sqrt((errors**2).sum()) / len(runs)),
        "scatter": float(values.std(ddof=1) / len(runs) ** 0.5) if len(runs) > 1 else None,
        "runs": runs,
    }, first


def relaxed(study):
    """Crystal at rest, by steepest descent with the reference."""
    x = study.atoms.positions.copy()
    for _ in range(3000):
        f = study.fast.forces(x)[1]
        if np.abs(f).max() < 1e-5:
            break
        x += 1.0 * (f - f.mean(axis=0))
    return x


def force_constants(study, x):
    """Force constants of the reference by central differences, (n, n, 3, 3) eV/Å²."""
    n, step = x.size, 0.01
    matrix = np.empty((n, n))
    for k in range(n):
        moved = np.zeros(n)
        moved[k] = step
        plus, minus = (study.fast.forces(x + sign * moved.reshape(-1, 3))[1].ravel() for sign in (1, -1))
        matrix[k] = (minus - plus) / (2 * step)
    matrix = 0.5 * (matrix + matrix.T)
    return matrix.reshape(n // 3, 3, n // 3, 3).transpose(0, 2, 1, 3)


def lifetimes(study, frames, modes):
    """Lifetimes within segments without events, and of the whole run."""
    lattice = LatticeSites(study.sites, np.array(study.atoms.cell))
    tracker = SiteTracker(lattice, ["Ar"] * len(study.atoms), settings=TrackingSettings(dwell=STAY))
    for frame in frames[::2]:
        tracker.update(frame)
    events = tracker.finish()
    window = min(WINDOW, study.sizes.kappa / 4)
    segments = segments_without_events(events, window, GUARD)
    return phonon_lifetimes(frames, modes, window=window, segments=segments), len(events.events)


def table_of(found, n_events):
    """Lifetimes as JSON holds them."""
    kinds = {"within": found.within, "whole": found.whole}
    rows = {
        kind: [[m.harmonic_frequency, m.lifetime, m.relative_error, list(m.flags)] for m in modes]
        for kind, modes in kinds.items()
    }
    return {**rows, "events": n_events, "blocks": found.n_blocks}


def along_event(study):
    """σ^A, true error and spread of the "before" and "published" ensembles along one hop of the reference."""
    x0 = relaxed(study)
    harmonic = HarmonicReference(study.frame(x0), force_constants(study, x0))
    times, frames = hop_run(study)
    forces = np.array([study.fast.forces(x)[1] for x in frames])
    rows = {
        "time": list(times),
        "sigma_a": sigma_a(forces, np.array([harmonic.harmonic_forces(x) for x in frames]), by="frame").tolist(),
    }
    for name in study.failures:
        for rule in ("before", "published"):
            members, _ = members_of(study, name, rule, 0)
            each = np.array([[RadialDynamics([m], study.atoms).forces(x)[1] for x in frames] for m in members])
            wrong = np.linalg.norm(each.mean(axis=0) - forces, axis=2).max(axis=1)
            spread = np.sqrt(((each - each.mean(axis=0)) ** 2).sum(axis=3).mean(axis=0)).max(axis=1)
            rows[f"{name}, {rule}"] = {"error": (1e3 * wrong).tolist(), "spread": (1e3 * spread).tolist()}
    return rows


def hop_run(study):
    """Times, ps, and positions around the first hop of a run of the reference from its equilibrium."""
    from rare_events import HopCounter

    for seed in range(5000, 5050):
        x, v = equilibrium(study, study.fast, TEMPERATURE, seed)
        counter, ring = HopCounter(study.sites, study.own, study.fast.lengths), deque(maxlen=125)
        for k in range(1, 3000):
            study.fast.run(x, v, 0.04, temperature=TEMPERATURE)
            ring.append((0.04 * k, x.copy()))
            if k % 6 == 0:
                counter.look(0.04 * k, x)
            if counter.hops and 0.04 * k > counter.hops[0][0] + 2.2:
                if len(ring) < ring.maxlen:
                    break
                times, frames = zip(*ring, strict=True)
                return np.array(times) - counter.hops[0][0], np.array(frames)
    raise RuntimeError("the reference shows no hop in 6 ns")


def compare(study):
    """Compare all ensembles with the reference; each result is on disk at once."""
    began = time.process_time()
    reference, snapshots = reference_run(study)
    frames, forces, masks = event_frames(study, snapshots)
    print(f"reference: {len(reference.events)} events in {reference.duration / 1000:.1f} ns, {len(frames)} frames")
    (study.folder / "compare").mkdir(exist_ok=True)
    seeds = range(study.sizes.seeds)
    keys = [(name, "before", seed) for name in study.failures for seed in seeds]
    for key in sorted(keys + study.ensembles(), key=lambda k: (k[2], k[0], k[1] not in {"before", "published"})):
        path = study.folder / "compare" / ("-".join(map(str, key)).replace(" ", "-") + ".json")
        if path.exists() or not is_over(study, *key):
            continue
        members, labels = members_of(study, *key)
        fast = RadialDynamics(members, study.atoms)
        row = {"failure": key[0], "rule": key[1], "seed": key[2], "labels": labels}
        row["force errors"] = force_errors(fast, frames, forces, masks) if frames else {"all": None, "event": None}
        row |= events_of(study, fast, key, reference)
        path.write_text(json.dumps(row, indent=1) + "\n")
        events = f", {row['events']} events in {row['picoseconds']:.0f} ps" if "events" in row else ""
        print(f"{key}: {labels} labels{events}, errors {row['force errors']}", flush=True)
    transport(study)
    path = study.folder / "event.json"
    if not path.exists():
        path.write_text(json.dumps(along_event(study)))
    print(f"compare: {time.process_time() - began:.0f} s of CPU")


def transport(study):
    """Conductivity and lifetimes of the reference, and before and after learning."""
    keys = [("reference", "", 0)]
    keys += [(n, rule, k) for k in range(study.sizes.seeds) for n in study.failures for rule in ("before", "published")]
    modes = phonon_modes(force_constants(study, relaxed(study)), study.atoms.get_masses(), degeneracy=0.02)
    old = None
    for number, key in enumerate(keys):
        path = study.folder / "compare" / f"transport-{key[0]}-{key[1]}-{key[2]}.json"
        # The reference's lifetimes are not kept: whatever is missing is compared with them.
        needed = number == 0 and not all((path.parent / f"transport-{n}-{r}-{k}.json").exists() for n, r, k in keys)
        if path.exists() and not needed:
            continue
        members = [study.reference] if key[0] == "reference" else members_of(study, *key)[0]
        row = {"failure": key[0], "rule": key[1], "seed": key[2]}
        try:
            row["kappa"], run = conductivity(study, RadialDynamics(members, study.atoms), number)
            found, n_events = lifetimes(study, run, modes)
            row["lifetimes"] = table_of(found, n_events)
            if not number:
                old = found
            elif old is not None and found.within and old.within:
                row["bands"] = [band._asdict() for band in compare_lifetimes(old, found)[1]]
        except (FluxanError, ValueError, np.linalg.LinAlgError) as error:
            row["failed"] = f"{type(error).__name__}: {error}"
        path.write_text(json.dumps(row) + "\n")
        print(f"{' '.join(map(str, key))}: kappa {row.get('kappa', {}).get('kappa')}", flush=True)
