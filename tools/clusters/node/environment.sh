# What every machine of a cluster agrees on. Sourced by each command of a cluster file that starts Ray, by the shells of people who log in,
# and by every shell of our image (Dockerfile), so that it stands here once.

export ABAW_HOME="${ABAW_HOME:-$HOME/abaw_ray}"
# The environment first, whatever was put before it, so that a job's `python` is the one with the pinned packages.
export PATH="$ABAW_HOME/.venv/bin:${PATH//"$ABAW_HOME/.venv/bin:"/}"
# A job is code that runs as we do: nobody talks to this Ray without the token in ~/.ray/auth_token.
export RAY_AUTH_MODE=token
export RAY_USAGE_STATS_ENABLED=0
# What Ray would gather about itself for a Prometheus that is not there; who has one says RAY_enable_metrics_collection=1.
export RAY_enable_metrics_collection="${RAY_enable_metrics_collection:-0}"
# A worker that was given no GPU sees none, or all of them would crowd the first one.
export RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1
export RAY_event_stats=0
export RAY_io_context_event_loop_lag_collection_interval_ms=0
# A machine that is lost without a word: whoever called it has an error after 20 seconds, not after Ray's seven minutes, and the head
# gives it up after half a minute.
export RAY_grpc_client_keepalive_time_ms=10000
export RAY_grpc_client_keepalive_timeout_ms=10000
export RAY_health_check_initial_delay_ms=5000
export RAY_health_check_period_ms=2000
export RAY_health_check_timeout_ms=5000
export RAY_health_check_failure_threshold=4
# A machine on which no process could be started, because its disk was full, gets its next try after seconds, not after ten minutes.
export BAD_RUNTIME_ENV_CACHE_TTL_SECONDS=5
# A stopped job is asked, and has a minute to end its training cleanly.
export RAY_JOB_STOP_SIGNAL=SIGINT
export RAY_JOB_STOP_WAIT_TIME_S=60
ulimit -n 65536 2>/dev/null || true
