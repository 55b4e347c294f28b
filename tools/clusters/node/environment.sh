# Environment variables that are the same on every machine of a cluster. Sourced by each command of a cluster file that starts Ray, by login
# shells, and by every shell of the image (Dockerfile).

export ABAW_HOME="${ABAW_HOME:-$HOME/abaw_ray}"
# Put the environment first in PATH, so that a job's `python` is the one with the pinned packages.
export PATH="$ABAW_HOME/.venv/bin:${PATH//"$ABAW_HOME/.venv/bin:"/}"
# Submitted jobs run arbitrary code as this user, so the API requires the token in ~/.ray/auth_token.
export RAY_AUTH_MODE=token
export RAY_USAGE_STATS_ENABLED=0
# Metrics for Prometheus, about 1 % of two CPUs on each machine. Set RAY_enable_metrics_collection=0 to turn them off.
export RAY_enable_metrics_collection="${RAY_enable_metrics_collection:-1}"
# A worker without a GPU must see none; otherwise all such workers use the first GPU.
export RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1
export RAY_event_stats=0
export RAY_io_context_event_loop_lag_collection_interval_ms=0
# If a machine becomes unreachable, calls to it fail after 20 seconds instead of Ray's seven minutes, and the head marks it dead after half a
# minute.
export RAY_grpc_client_keepalive_time_ms=10000
export RAY_grpc_client_keepalive_timeout_ms=10000
export RAY_health_check_initial_delay_ms=5000
export RAY_health_check_period_ms=2000
export RAY_health_check_timeout_ms=5000
export RAY_health_check_failure_threshold=4
# If a worker process cannot start (for example on a full disk), Ray retries on that machine after seconds instead of ten minutes.
export BAD_RUNTIME_ENV_CACHE_TTL_SECONDS=5
# `ray job stop` sends SIGINT and waits a minute, so that training can end cleanly.
export RAY_JOB_STOP_SIGNAL=SIGINT
export RAY_JOB_STOP_WAIT_TIME_S=60
ulimit -n 65536 2>/dev/null || true
