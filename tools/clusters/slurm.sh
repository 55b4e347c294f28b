#!/usr/bin/env bash
#SBATCH --job-name=abaw-ray
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@180
# Starts Ray on all nodes of a Slurm allocation and runs a command on the first one. Submit it in the project's folder:
#
#   sbatch --nodes=2 --gpus-per-node=4 --time=24:00:00 tools/clusters/slurm.sh \
#     python jobs/pipeline.py paper --storage /shared/you/results --cluster-size gpu-2x4
#
# The project's folder, the home folder and the results must be on storage that all nodes share; the results may also be in an object store. The exit
# code of the job is that of the command. The same line continues an unfinished run; with `--dependency=singleton` several of them wait for each other.
# A stop with time to end:  scancel --batch --signal=TERM JOB
#
# Nodes are requested exclusively: ports of two Rays on one node can collide, and `ray stop`, with which Ray's launcher ends, ends every Ray of the
# user on the node. 180 s before the time limit Slurm signals this script, which stops the command as Ctrl-C does.
#
# Environment: RAY_TMPDIR, a folder on each node's own disk (/tmp); ABAW_RAY_OPTIONS, further options of `ray start`.
set -u

fail() {
    echo "slurm.sh: $1" >&2
    exit 2
}

# Print the results' location in a command line; empty if it is not given.
storage_of() {
    local previous="" argument storage=""
    for argument in "$@"; do
        case $previous in --storage | --output | -o | --storage.uri) storage=$argument ;; esac
        case $argument in --storage=* | --output=* | --storage.uri=*) storage=${argument#*=} ;; esac
        previous=$argument
    done
    echo "$storage"
}

[ -n "${SLURM_JOB_ID:-}" ] || fail "not in a Slurm job; submit it: sbatch --nodes=2 tools/clusters/slurm.sh python jobs/pipeline.py smoke"
[ $# -gt 0 ] || fail "no command; add one, for example: python jobs/pipeline.py smoke --storage /shared/you/results"
[ -f tools/clusters/node/slurm_node.sh ] || fail "$PWD is not the project's folder; submit there, or add --chdir to sbatch"

export ABAW_HOME=$PWD  # the environment of `make setup`
. tools/clusters/node/environment.sh
command -v ray >/dev/null || fail "ray not found; run make setup in $PWD, or activate the environment before sbatch"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0  # a node is signaled when the job ends; by default it then waits 30 s for a head that is gone

# A token of this job: other users of the network cannot submit code to its Ray.
state=$HOME/.abaw_ray/slurm-$SLURM_JOB_ID
visible=""
trap 'rm -rf "$state" ${visible:+"$visible"}' EXIT
rm -rf "$state"  # of a job that was requeued
(umask 077 && mkdir -p "$state" && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$state/token") || fail "cannot write to $state; free space there"
unset RAY_AUTH_TOKEN
export RAY_AUTH_TOKEN_PATH=$state/token

storage=$(storage_of "$@")
storage=${storage#file://}
if [ -n "$storage" ] && [[ $storage != *://* ]]; then
    mkdir -p "$storage" && visible=$(mktemp "$(realpath "$storage")/.visible-XXXXXX") || fail "cannot write to $storage; choose another --storage"
fi
export ABAW_VISIBLE=$visible

# The address by which the other nodes reach this one. The node's name may resolve to a loopback address on the node itself.
peer=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 2p)
address=$(python -c 'import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.connect((sys.argv[1], 9))
    print(probe.getsockname()[0])' "${peer:-localhost}") || fail "no route to node $peer; see the lines above"

stop() {
    if [ -s "$state/pid" ]; then kill -TERM "$(cat "$state/pid")"; else kill -TERM "$step"; fi 2>/dev/null
}
trap stop TERM

# A step without --cpu-bind=none may be bound to one CPU, because it has one task per node.
srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=1 --input=none \
    bash tools/clusters/node/slurm_node.sh "$state" "$address:6379" "$@" &
step=$!
until [ -s "$state/exit" ] || ! kill -0 "$step" 2>/dev/null; do
    sleep 1
done
# The head stops Ray; Slurm ends the other nodes with this script.
for _ in $(seq 60); do
    if [ -e "$state/stopped" ] || ! kill -0 "$step" 2>/dev/null; then break; fi
    sleep 1
done
# Ray's launcher returns 0 also when Ray did not start, so the command's own record counts.
if [ ! -s "$state/exit" ]; then
    echo "slurm.sh: the command did not run to its end, because Ray did not start on all nodes or a node failed; see the lines above, and submit again" >&2
    exit 1
fi
code=$(cat "$state/exit")
echo "slurm.sh: the command ended with exit code $code"
exit "$code"
