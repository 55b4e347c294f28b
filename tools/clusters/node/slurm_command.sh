#!/usr/bin/env bash
# slurm_command.sh STATE COMMAND...     runs the command of slurm.sh; writes its process id to STATE/pid and its exit code to STATE/exit
set -u
state=$1
shift

trap : TERM  # Slurm signals all processes; the exit code of the command must still be written
touch "$state/started"
"$@" &
echo $! >"$state/pid"
until ! kill -0 $! 2>/dev/null; do
    wait $!
done
wait $!
echo $? >"$state/exit.new"
mv "$state/exit.new" "$state/exit"
