"""A mock AWS: moto provides EC2, IAM and S3, machines of ``hosts.py`` are the instances, and spot machines can be interrupted."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import yaml
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import InstanceBackend
from moto.server import ThreadedMotoServer

from tools.clusters.namespaces.hosts import CLIENT, PROJECT, Hosts

FIRST_MACHINE = 4
"""moto assigns the addresses of a subnet in order, from the fourth on."""
METADATA_ADDRESS = "169.254.169.254"
WORKERS = {"cpu_spot": 2, "cpu_on_demand": 1}
"""Node types whose machines start, and how many; they have two CPUs. The shipped on-demand type has GPUs, and is changed to one without."""
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-west-2", "AWS_EC2_METADATA_DISABLED": "true"}


class MetadataServer(ThreadingHTTPServer):
    """EC2's instance metadata service. ``notices``: instance address -> time of its spot interruption."""

    daemon_threads = True

    def __init__(self, address: str) -> None:
        notices: dict[str, str] = {}
        self.notices = notices

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self.reply(200, "token")

            def do_GET(self) -> None:
                at = notices.get(self.client_address[0])
                if at and self.path == "/latest/meta-data/spot/instance-action":
                    self.reply(200, f'{{"action": "terminate", "time": "{at}"}}')
                else:
                    self.reply(404, "")

            def reply(self, code: int, text: str) -> None:
                self.send_response(code)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__((address, 80), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class MockAws:
    """An AWS account, and ``cluster.yaml`` with its placeholders filled in (``file``)."""

    def __init__(self, hosts: Hosts, machines: int) -> None:
        """Start the servers and ``machines`` machines, the maximum number of instances. Must be called in the client's network."""
        self.hosts, self.machines = hosts, {f"n{number}" for number in range(FIRST_MACHINE, FIRST_MACHINE + machines)}
        for name in sorted(self.machines):
            hosts.boot(name)
        hosts.add_address(METADATA_ADDRESS)
        self.metadata = MetadataServer(METADATA_ADDRESS)
        self.server = ThreadedMotoServer(hosts.address(CLIENT), 5055, verbose=False)
        self.server.start()
        self.url = f"http://{hosts.address(CLIENT)}:5055"
        self.env = KEYS | {"AWS_ENDPOINT_URL": self.url}
        self.ec2 = self.client("ec2")
        self.has_spot_capacity = True
        """Whether spot instances can be started; else AWS answers ``InsufficientInstanceCapacity``. On-demand instances always can."""
        self._run_instances = InstanceBackend.run_instances
        InstanceBackend.run_instances = self._run_if_capacity()
        self.file = hosts.state / "aws.yaml"
        self.file.write_text(yaml.safe_dump(self._cluster_config()))

    def client(self, service: str) -> Any:
        """Return a boto3 client of the account."""
        return boto3.client(service, region_name="us-west-2", endpoint_url=self.url, aws_access_key_id="k", aws_secret_access_key="s")

    def _cluster_config(self) -> dict:
        """Return ``cluster.yaml`` with the account's ids, two worker types (spot, on demand) of two CPUs, and an idle timeout of half a minute."""
        config = yaml.safe_load((PROJECT / "cluster.yaml").read_text())
        on_demand = config["available_node_types"]["cpu_on_demand"] = config["available_node_types"].pop("gpu_on_demand")
        on_demand["node_config"]["InstanceType"] = "m7i.4xlarge"
        config["provider"]["prices"]["usd_per_hour"]["m7i.4xlarge on demand"] = 0.83
        vpc = self.ec2.create_vpc(CidrBlock=f"{self.hosts.net.rsplit('.', 1)[0]}.0.0/16")["Vpc"]["VpcId"]
        subnet = self.ec2.create_subnet(VpcId=vpc, CidrBlock=f"{self.hosts.net}.0/24", AvailabilityZone="us-west-2a")["Subnet"]["SubnetId"]
        group = self.ec2.create_security_group(GroupName="abaw", Description="abaw", VpcId=vpc)["GroupId"]
        self.ec2.create_key_pair(KeyName="abaw")
        iam = self.client("iam")
        config["provider"] |= {"availability_zone": "us-west-2a", "use_internal_ips": True}
        config["auth"] = {"ssh_user": "root", "ssh_private_key": str(self.hosts.state / "id")}
        for name, node_type in config["available_node_types"].items():
            settings = node_type["node_config"]
            profile = settings["IamInstanceProfile"]["Arn"].rsplit("/", 1)[-1]
            if profile not in [existing["InstanceProfileName"] for existing in iam.list_instance_profiles()["InstanceProfiles"]]:
                iam.create_instance_profile(InstanceProfileName=profile)
            settings |= {"SubnetIds": [subnet], "SecurityGroupIds": [group], "KeyName": "abaw", "IamInstanceProfile": {"Name": profile}}
            if name != config["head_node_type"]:
                node_type |= {"resources": {"CPU": 2, "memory": 8 << 30}, "idle_timeout_s": 30, "max_workers": WORKERS.get(name, 0)}
        for key in ("head_start_ray_commands", "worker_start_ray_commands"):
            exports = " ".join(f"export {name}={value};" for name, value in (self.env | {"AUTOSCALER_UPDATE_INTERVAL_S": "2"}).items())
            lines = [line for line in config[key] if "head_watch.py" not in line]  # it would shut down the machine that has the namespaces
            config[key] = [f"{exports} {line.replace('ray start', 'ray start --object-store-memory=150000000')}" for line in lines]
        return config

    def _run_if_capacity(self) -> Any:
        """Return moto's method that starts instances, which fails for spot instances while there is no capacity."""

        def run_instances(backend: Any, *args: Any, **options: Any) -> Any:
            if self.has_spot_capacity or not options.get("instance_market_options"):
                return self._run_instances(backend, *args, **options)
            text = f"We currently do not have sufficient {options.get('instance_type')} capacity in the Availability Zone you requested (us-west-2a)."
            raise EC2ClientError("InsufficientInstanceCapacity", text)

        return run_instances

    def instances(self) -> dict[str, str]:
        """Return the state of each instance by its address."""
        instances = [item for reservation in self.ec2.describe_instances()["Reservations"] for item in reservation["Instances"]]
        return {item["PrivateIpAddress"]: item["State"]["Name"] for item in instances if item.get("PrivateIpAddress")}

    def interrupt(self, name: str) -> None:
        """Terminate a spot machine, as AWS does after its notice."""
        address = self.hosts.address(name)
        filters = [{"Name": "private-ip-address", "Values": [address]}]
        reservations = self.ec2.describe_instances(Filters=filters)["Reservations"]
        self.ec2.terminate_instances(InstanceIds=[item["InstanceId"] for reservation in reservations for item in reservation["Instances"]])
        self.hosts.power_off(name)
        self.machines.remove(name)

    def close(self) -> None:
        """Stop the servers and the machines."""
        InstanceBackend.run_instances = self._run_instances
        self.metadata.shutdown()
        self.metadata.server_close()
        self.server.stop()
        for name in self.machines:
            self.hosts.power_off(name)
