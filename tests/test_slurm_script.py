"""``tools/clusters/slurm.sh`` with programs in place of Slurm's and Ray's: exit codes, token, sizes, shared folders, stops.

``tests/cluster/real/test_slurm.py`` runs it on Slurm itself.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cluster_files import NODE, ROOT
from timeouts import TIMEOUT_S

pytestmark = pytest.mark.slow
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for rank in 0 1; do
    if [ -n "${HIDDEN:-}" ] && [ $rank = 1 ]; then export ABAW_VISIBLE=/nowhere/file; fi
    SLURM_PROCID=$rank SLURM_CPUS_ON_NODE=16 SLURM_GPUS_ON_NODE=4 "$@" & tasks[$rank]=$!
done
trap 'kill "${tasks[@]}"' TERM
while wait -n; status=$?; [ $status != 127 ]; do
    if [ $status != 0 ]; then kill "${tasks[@]}"; exit $status; fi
done 2>/dev/null
"""
"""Two tasks; one that fails ends the other, as with --kill-on-bad-exit."""
RAY = """#!/bin/bash
[ "$1" != stop ] || exit 0
echo "RAY_ADDRESS=${RAY_ADDRESS:-}" "$@" >>"$STARTS"
[ -z "${BROKEN:-}" ] || exit 0
if [ "${SLOW:-}" = $SLURM_PROCID ] && mkdir "$STARTS.slow" 2>/dev/null; then exit 0; fi
while [ "$1" != -- ]; do shift; done
shift
if [ $SLURM_PROCID = 0 ]; then
    while [ -n "${SLOW:-}" ] && [ $(wc -l <"$STARTS") -lt 3 ]; do sleep 0.1; done
    "$@"
    exit
fi
while [ -d "$3" ] && [ ! -e "$3/started" ]; do sleep 0.1; done
"""
"""``ray symmetric-run``: the first node runs the command, the other waits; both end with 0 if Ray is broken, and one where its
first start takes too long."""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A function that starts the script in an allocation of two nodes, in a copy of the project's folder."""
    for name in ("HOME", "RAY_TMPDIR", "STARTS"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    project, programs = tmp_path / "project", tmp_path / "project/.venv/bin"
    shutil.copytree(ROOT / NODE, project / NODE)
    (project / NODE / "slurm_nodes.py").write_text("")  # it would connect to Ray
    programs.mkdir(parents=True)
    for name, text in {"srun": SRUN, "ray": RAY, "scontrol": "#!/bin/bash\nprintf 'localhost\\nlocalhost\\n'\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": f"t{os.getpid()}", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "n[1-2]"}

    def start(*command: str, **env: str) -> subprocess.Popen:
        script = ["bash", str(ROOT / "tools/clusters/slurm.sh"), *command]
        pipe = subprocess.PIPE
        return subprocess.Popen(script, cwd=project, env=os.environ | slurm | env, stdout=pipe, stderr=pipe, text=True)

    return start


def test_the_exit_code_is_that_of_the_command(job):
    process = job("bash", "-c", "echo at work; exit 3")
    output, _ = process.communicate()
    assert process.returncode == 3
    assert output.splitlines() == ["at work", "slurm.sh: the command ended with exit code 3"]


def test_the_command_joins_a_ray_with_a_token_that_only_the_user_can_read(job, tmp_path):
    modes = 'stat -c %a "$RAY_AUTH_TOKEN_PATH" "$(dirname "$RAY_AUTH_TOKEN_PATH")"'
    process = job("bash", "-c", f'echo $RAY_ADDRESS $RAY_AUTH_MODE $({modes}) $(wc -c <"$RAY_AUTH_TOKEN_PATH")')
    output, _ = process.communicate()
    assert output.splitlines()[0] == "127.0.0.1:6379 token 600 700 64"
    assert list((tmp_path / "home/.abaw_ray").iterdir()) == [], "the token is deleted with the job"


def test_ray_gets_the_allocation_of_each_node_and_a_folder_that_is_deleted(job, tmp_path):
    process = job("true", ABAW_RAY_OPTIONS="--object-store-memory=1000000000")
    process.communicate()
    starts = (tmp_path / "starts").read_text().splitlines()
    folder = f"/tmp/abaw-t{os.getpid()}"
    options = f"--num-cpus=16 --num-gpus=4 --temp-dir={folder} --object-store-memory=1000000000 --"
    assert len(starts) == 2
    assert all(f"RAY_ADDRESS=127.0.0.1:6379 symmetric-run --address=127.0.0.1:6379 {options}" in line for line in starts)
    assert not Path(folder).exists()


def test_a_ray_that_does_not_start_is_a_failure(job):
    process = job("true", BROKEN="1")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "Ray did not start; see the lines above" in errors
    assert "slurm.sh: the command did not run to its end" in errors


@pytest.mark.parametrize("node", [0, 1])
def test_a_ray_that_does_not_start_at_first_is_started_again(job, tmp_path, node):
    process = job("bash", "-c", "echo at work; exit 3", SLOW=str(node))
    output, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 3
    assert output.splitlines() == ["at work", "slurm.sh: the command ended with exit code 3"]
    assert errors.count("Ray did not start, see the lines above; attempt 2 of 3") == 1
    assert len((tmp_path / "starts").read_text().splitlines()) == 3


@pytest.mark.parametrize("option", [["--storage", "{}"], ["--storage={}"], ["-o", "file://{}"]])
def test_results_that_another_node_cannot_see_are_refused(job, tmp_path, option):
    process = job("touch", str(tmp_path / "ran"), *(word.format(tmp_path / "results") for word in option), HIDDEN="1")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "is not shared by all nodes; choose a shared folder or an object store as --storage" in errors
    assert list((tmp_path / "results").iterdir()) == []


def test_results_in_an_object_store_or_a_shared_folder_are_accepted(job, tmp_path):
    for storage in ("s3://bucket/results", str(tmp_path / "results")):
        process = job("true", "--storage", storage)
        process.communicate()
        assert process.returncode == 0
    assert list((tmp_path / "results").iterdir()) == []


def test_a_signal_before_the_time_limit_stops_the_command_alone(job, tmp_path):
    ready = tmp_path / "ready"
    process = job("bash", "-c", f"trap 'echo stopped; exit 130' TERM; touch {ready}; while :; do sleep 0.1; done")
    while not ready.exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 130
    assert output.splitlines() == ["stopped", "slurm.sh: the command ended with exit code 130"]


def test_wrong_uses_end_with_a_line_that_says_what_to_do(job, tmp_path):
    for process, text in (
        (job(), "no command; add one"),
        (job("true", SLURM_JOB_ID=""), "not in a Slurm job; submit it: sbatch"),
        (job("true", RAY_TMPDIR="/scratch/local/a-long-name/of-the-user"), "is too long for the paths of sockets"),
    ):
        _, errors = process.communicate()
        assert process.returncode in (1, 2)
        assert text in errors


@pytest.mark.parametrize(("nodes", "ready"), [([[True, True]], True), ([[True], [True, False], [True, False, True]], True), ([[True, False]], False)])
def test_the_command_waits_for_nodes_that_are_alive(monkeypatch, capsys, nodes, ready):
    spec = importlib.util.spec_from_file_location("slurm_nodes", ROOT / NODE / "slurm_nodes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    clock, looks = [0.0], iter(nodes)
    latest = []

    def look():
        latest[:] = next(looks, latest)
        return [{"Alive": alive} for alive in latest]

    monkeypatch.setattr(module.ray, "nodes", look)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    assert module.wait_for_nodes(2, 60.0) == ready
    assert ("Ray runs on 1 of 2 nodes after 60 s" in capsys.readouterr().err) == (not ready)
    assert clock[0] == (60.0 if not ready else 2.0 * (len(nodes) - 1))
