#!/bin/bash
# ceph.sh start|stop FOLDER ADDRESS PORT KEY SECRET      an S3 server (Ceph's RADOS gateway, in memory)
#
# One monitor, one storage daemon, one gateway; without manager, systemd and root. Debian packages: ceph-mon ceph-osd radosgw ceph-common.
set -eu
action=$1 folder=$2 address=${3:-127.0.0.1} port=${4:-8100} key=${5:-test} secret=${6:-testsecret}
conf=$folder/ceph.conf
monitor=$((port + 1))

within() {  # within SECONDS COMMAND...
    local tries=$(($1 * 10))
    shift
    for _ in $(seq $tries); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
    echo "timed out: $*" >&2
    return 1
}

write_conf() {
    # mkfs and the monitor must share the uuid, or the monitor ignores the daemon. Mode crc: the gateway cannot use "secure" without keys.
    cat > "$conf" <<CONF
[global]
fsid = $1
mon_initial_members = a
mon_host = [v2:127.0.0.1:$monitor/0]
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_port_min = $((port + 10))
ms_bind_port_max = $((port + 60))
run_dir = $folder
admin_socket = $folder/\$name.asok
pid_file = $folder/\$name.pid
log_file = $folder/log/\$name.log
log_to_stderr = false
mon_cluster_log_file = $folder/log/cluster.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_data_avail_warn = 1
mon_data_avail_crit = 1
crush_location = host=one root=default
keyring = $folder/keyring
[mon]
mon_data = $folder/mon/a
[osd]
osd_data = $folder/osd/0
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 1
osd_class_load_list = *
osd_class_default_list = *
[client.rgw]
rgw_data = $folder/rgw
rgw_frontends = beast endpoint=$address:$port
rgw_thread_pool_size = 32
rgw_num_rados_handles = 1
rgw_run_sync_thread = false
rgw_enable_quota_threads = false
rgw_dynamic_resharding = false
CONF
}

start() {
    local fsid osd
    mkdir -p "$folder"/{mon,osd/0,log,rgw}
    fsid=$(cat /proc/sys/kernel/random/uuid)
    osd=$(cat /proc/sys/kernel/random/uuid)
    write_conf "$fsid"
    {
        ceph-authtool --create-keyring "$folder/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
        ceph-authtool "$folder/keyring" --gen-key -n mon. --cap mon 'allow *'
        ceph-authtool "$folder/keyring" --gen-key -n client.rgw --cap mon 'allow *' --cap osd 'allow *'
        monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$monitor/0]" "$folder/monmap"
    } >/dev/null
    ceph-mon --conf "$conf" --mkfs -i a --monmap "$folder/monmap" --keyring "$folder/keyring"
    ceph-mon --conf "$conf" -i a
    within 20 ceph --conf "$conf" --connect-timeout 20 mon stat
    ceph --conf "$conf" --connect-timeout 20 osd new "$osd" 0 >/dev/null 2>&1
    ceph-osd --conf "$conf" -i 0 --mkfs --osd-uuid "$osd" --no-mon-config >"$folder/log/mkfs.log" 2>&1
    ceph-osd --conf "$conf" -i 0 >"$folder/log/osd.log" 2>&1
    within 30 sh -c "ceph --conf $conf --connect-timeout 20 osd stat | grep -q '1 up'"
    radosgw --conf "$conf" -n client.rgw
    within 60 curl -fs -o /dev/null "http://$address:$port/"
    radosgw-admin --conf "$conf" user create --uid=test --display-name=test --access-key="$key" --secret-key="$secret" --max-buckets=0 \
        >/dev/null 2>"$folder/log/admin.log"
}

stop() {
    for pidfile in "$folder"/*.pid; do
        [ -s "$pidfile" ] || continue
        pid=$(cat "$pidfile")
        case "$(cat "/proc/$pid/comm" 2>/dev/null)" in radosgw | ceph-osd | ceph-mon) kill "$pid" ;; esac
    done
}

"$action"
