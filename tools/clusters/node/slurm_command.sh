#!/usr/bin/env bash
# slurm_command.sh STATE COMMAND...     waits for Ray on all nodes and runs the command of slurm.sh
#
# Writes the command's process id to STATE/pid and its exit code to STATE/exit.
set -u
state=$1
shift

trap : TERM  # Slurm signals all processes; the exit code of the command must still be written
python "$(dirname "${BASH_SOURCE[0]}")/slurm_nodes.py" "$SLURM_JOB_NUM_NODES" "$RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT" || exit 1
touch "$state/started"
"$@" &
echo $! >"$state/pid"
until ! kill -0 $! 2>/dev/null; do
    wait $!
done
wait $!
echo $? >"$state/exit.new"
mv "$state/exit.new" "$state/exit"
