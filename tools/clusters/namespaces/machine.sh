#!/bin/bash
# machine.sh NAME ADDRESS STATE VENV PROJECT DISKS     init process of a machine of hosts.py; does not return
#
# Runs inside new network, process, mount, host name and IPC namespaces. Private to the machine: /root, /tmp/ray, /dev/shm, /run, /etc/hosts.
# Everything else is the real file system, with the Python environment and the project.
set -eu
name=$1 address=$2 state=$3 venv=$4 project=$5 disks=$6

mount --make-rprivate /
hostname "$name"
# The upper layer is in memory: it cannot be on an overlay, and a container's file system is one.
mkdir -p "$disks/$name/upper" "$disks/$name/work"
mount -t overlay overlay -o "lowerdir=/root,upperdir=$disks/$name/upper,workdir=$disks/$name/work" /root
if [ ! -e "$disks/$name/first-boot" ]; then
    rm -rf /root/.ray /root/.ssh /root/abaw_ray       # removed in the overlay only, so that the machine has none of the real tokens and keys
    mkdir /root/abaw_ray
    # Makes install.sh find its work done; the environment is the existing one.
    ln -s "$venv" /root/abaw_ray/.venv
    cat "$project/pyproject.toml" "$project/constraints.txt" | sha256sum > /root/abaw_ray/installed
    touch "$disks/$name/first-boot"
fi
mkdir -p /tmp/ray
mount -t tmpfs -o size=2g,mode=1777 tmpfs /tmp/ray
mount -t tmpfs -o size=512m,mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd
printf '127.0.0.1 localhost\n%s %s\n' "$address" "$name" > "$state/$name/hosts"
mount --bind "$state/$name/hosts" /etc/hosts

[ "$name" = client ] && exec sleep infinity
exec /usr/sbin/sshd -D -f /dev/null -E "$state/$name/sshd.log" -o Port=22 -o "ListenAddress=$address" -o "HostKey=$state/hostkey" \
    -o "AuthorizedKeysFile=$state/id.pub" -o StrictModes=no -o PidFile=none -o UsePAM=no -o PermitRootLogin=yes \
    -o SetEnv=TMPDIR=/tmp/ray -o PasswordAuthentication=no -o PrintMotd=no -o UseDNS=no -o MaxSessions=100 -o MaxStartups=100 -o "Subsystem=sftp internal-sftp"
