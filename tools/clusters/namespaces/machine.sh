#!/bin/bash
# machine.sh NAME ADDRESS STATE VENV PROJECT DISKS     process 1 of a machine made by hosts.py; never returns
#
# Runs inside fresh network, process, mount, host name and IPC namespaces. What is private here: /root, /tmp/ray, /dev/shm, /run, /etc/hosts.
# All else is the developer's own file system, so that the environment and the project are there.
set -eu
name=$1 address=$2 state=$3 venv=$4 project=$5 disks=$6

mount --make-rprivate /
hostname "$name"
# The upper layer in memory: an overlay cannot stand on another one, and containers are made of them.
mkdir -p "$disks/$name/upper" "$disks/$name/work"
mount -t overlay overlay -o "lowerdir=/root,upperdir=$disks/$name/upper,workdir=$disks/$name/work" /root
if [ ! -e "$disks/$name/first-boot" ]; then
    rm -rf /root/.ray /root/.ssh /root/abaw_ray       # of the overlay only: no token and no key of the developer's
    mkdir /root/abaw_ray
    # As if install.sh had run: the environment is the developer's.
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

[ "$name" = lap ] && exec sleep infinity
exec /usr/sbin/sshd -D -f /dev/null -E "$state/$name/sshd.log" -o Port=22 -o "ListenAddress=$address" -o "HostKey=$state/hostkey" \
    -o "AuthorizedKeysFile=$state/id.pub" -o StrictModes=no -o PidFile=none -o UsePAM=no -o PermitRootLogin=yes \
    -o SetEnv=TMPDIR=/tmp/ray -o PasswordAuthentication=no -o PrintMotd=no -o UseDNS=no -o MaxSessions=100 -o MaxStartups=100 -o "Subsystem=sftp internal-sftp"
