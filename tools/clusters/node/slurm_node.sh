#!/usr/bin/env bash
# slurm_node.sh STATE ADDRESS COMMAND...     the task of slurm.sh on each node: Ray, and on the first node the command
#
# STATE is a folder that all nodes share, ADDRESS that of Ray's head. Ends with 0 once the command was started, so that the loss of one node does
# not end the others.
set -u
LIMIT_S=600  # until Ray runs on all nodes
state=$1 address=$2
shift 2
here=$(dirname "${BASH_SOURCE[0]}")
tmp=${RAY_TMPDIR:-/tmp}/abaw-$SLURM_JOB_ID

fail() {
    echo "$(hostname): $1" >&2
    exit 2
}

[ -r "$state/token" ] || fail "$state is not visible here; the home folder must be shared by all nodes"
[ -z "$ABAW_VISIBLE" ] || [ -e "$ABAW_VISIBLE" ] || fail "$(dirname "$ABAW_VISIBLE") is not shared by all nodes; choose a shared folder or an object store as --storage"
# Sockets are created 70 characters below; their paths may have 107.
[ ${#tmp} -le 36 ] || fail "RAY_TMPDIR=$RAY_TMPDIR is too long for the paths of sockets; choose one of at most 20 characters"
mkdir -p -m 700 "$tmp" || fail "cannot write to $tmp; set RAY_TMPDIR to a folder on this node's disk"
export TMPDIR=$tmp
unset RAY_TMPDIR
# Without it, the command starts a Ray of its own; so does Ray's launcher, which waits for the nodes there, if
# --temp-dir is not the default.
export RAY_ADDRESS=$address

# Slurm ends every process of the step, but not where it follows parents: Ray's daemons on the head have none. The node belongs to this job.
clean_up() {
    ray stop --force >/dev/null 2>&1
    rm -rf "$tmp" 2>/dev/null || { sleep 3; rm -rf "$tmp"; }
    if [ "$SLURM_PROCID" = 0 ] && [ -d "$state" ]; then touch "$state/stopped"; fi
}
stopped=""
trap 'stopped=yes' TERM
trap clean_up EXIT

# Whether the command has not begun. Ray's launcher returns 0 also when Ray did not start. The folder is deleted when the job ends, and Slurm then
# ends the other nodes.
not_started() {
    [ -z "$stopped" ] && [ -d "$state" ] && [ ! -e "$state/started" ]
}

# Ray gives itself 30 s to start on a node, which is too short where its files come from a slow or busy file system; the next attempt finds them in
# memory. The launcher's own wait for all nodes (--min-nodes) counts nodes that have died, so slurm_command.sh waits for them.
for attempt in 1 2 3; do
    export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=$((LIMIT_S > SECONDS ? LIMIT_S - SECONDS : 1))
    ray symmetric-run --address="$address" \
        --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --temp-dir="$tmp" ${ABAW_RAY_OPTIONS:-} \
        -- bash "$here/slurm_command.sh" "$state" "$@"
    not_started || exit 0
    if [ "$attempt" = 3 ] || [ "$SECONDS" -ge "$LIMIT_S" ]; then break; fi
    echo "$(hostname): Ray did not start, see the lines above; attempt $((attempt + 1)) of 3" >&2
    ray stop --force >/dev/null 2>&1
    not_started || exit 0
done
echo "$(hostname): Ray did not start; see the lines above" >&2
exit 1
