"""Calls every operation of the fakes with Alibaba Cloud's own Python SDKs, as a person's script would.

The world is told by ESLINK_WORLD (see sdks_test.go). Requests are the SDKs' model classes; nothing is sent by hand.
"""
import importlib
import json
import os
import re
import time

from alibabacloud_tea_openapi import models as open_api
from alibabacloud_tea_util import models as util

WORLD = json.loads(os.environ["ESLINK_WORLD"])
RUNTIME = util.RuntimeOptions(autoretry=False, read_timeout=20000, connect_timeout=5000)
PACKAGES = {
    "nlb": "alibabacloud_nlb20220430", "privatelink": "alibabacloud_privatelink20200415", "slb": "alibabacloud_slb20140515",
    "elasticsearch": "alibabacloud_elasticsearch20170613", "ecs": "alibabacloud_ecs20140526", "vpc": "alibabacloud_vpc20160428",
    "kms": "alibabacloud_kms20160120", "ram": "alibabacloud_ram20150501",
}


BUSY = re.compile(r"Busy|Processing|[Cc]onfiguring|IncorrectStatus|Conflict$|Concurrent|OperationDenied$|StatusNotSupport|Attaching")


def patiently(call, seconds=60):
    """A resource that is still being changed refuses, and takes the same call a little later."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Exception as error:  # the SDKs have no class of their own for it
            if not BUSY.search(str(getattr(error, "code", ""))) or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


class Product:
    """One product's client; call("CreateX", {"Wire": "names"}) sends a CreateXRequest."""

    def __init__(self, name):
        package = PACKAGES[name]
        self.name = name
        self.models = importlib.import_module(package + ".models")
        config = open_api.Config(access_key_id=WORLD["Key"], access_key_secret=WORLD["Secret"], protocol="http",
                                 endpoint=WORLD["Endpoints"][name], region_id=WORLD["Region"])
        self.client = importlib.import_module(package + ".client").Client(config)
        # create_vswitch, describe_v_switches: where the SDK puts its underscores is its own.
        self.methods = {name.replace("_", ""): name for name in dir(self.client)}

    def call(self, operation, fields=None, *path):
        method = getattr(self.client, self.methods[operation.lower() + "withoptions"])
        request = getattr(self.models, operation[0].upper() + operation[1:] + "Request", None)
        arguments = list(path)
        if request is not None:
            arguments.append(given(request().from_map(fields or {})))
        if self.name == "elasticsearch":
            arguments.append({})  # headers
        response = patiently(lambda: method(*arguments, RUNTIME))
        assert response.status_code == 200, (operation, response.status_code)
        body = getattr(response, "body", None)  # CreateInstanceResponse has none
        return body.to_map() if body is not None else {}


def given(model):
    """from_map makes empty lists of what it was not given, which a constructor does not."""
    for name, value in vars(model).items():
        if value == []:
            setattr(model, name, None)
        elif isinstance(value, list):
            for item in value:
                if hasattr(item, "to_map"):
                    given(item)
        elif hasattr(value, "to_map"):
            given(value)
    return model


def until(what, done, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = done()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("never: " + what)


def refused(code, call):
    try:
        call()
    except Exception as error:  # the SDKs have no class of their own for it
        assert getattr(error, "code", None) == code, error
        return
    raise AssertionError("not refused: " + code)


REGION = {"RegionId": WORLD["Region"]}


def network():
    vpc, ecs = Product("vpc"), Product("ecs")
    assert vpc.call("DescribeVpcs", {**REGION, "VpcId": WORLD["VPC"]})["Vpcs"]["Vpc"][0]["VpcId"] == WORLD["VPC"]
    assert vpc.call("DescribeVSwitches", {**REGION, "VpcId": WORLD["VPC"]})["VSwitches"]["VSwitch"]
    assert vpc.call("DescribeVSwitchAttributes", {**REGION, "VSwitchId": WORLD["VSwitches"][0]})["ZoneId"] == WORLD["Zones"][0]
    found = ecs.call("DescribeInstances", {**REGION, "InstanceIds": json.dumps([WORLD["Host"]])})
    assert found["Instances"]["Instance"][0]["InstanceId"] == WORLD["Host"]
    rule = {**REGION, "SecurityGroupId": WORLD["Group"],
            "Permissions": [{"IpProtocol": "TCP", "PortRange": "9200/9200", "SourceCidrIp": "10.2.0.0/16", "Policy": "accept", "NicType": "intranet", "Priority": "1"}]}
    ecs.call("AuthorizeSecurityGroup", rule)
    assert ecs.call("DescribeSecurityGroupAttribute", {**REGION, "SecurityGroupId": WORLD["Group"], "NicType": "intranet", "Direction": "ingress"})["Permissions"]["Permission"]
    ecs.call("RevokeSecurityGroup", rule)


def secrets():
    kms = Product("kms")
    assert "elastic" in kms.call("GetSecretValue", {"SecretName": WORLD["SecretName"]})["SecretData"]


def roles():
    ram = Product("ram")
    trust = json.dumps({"Version": "1", "Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": ["fc.aliyuncs.com"]}}]})
    may = json.dumps({"Version": "1", "Statement": [{"Action": ["nlb:ListLoadBalancers"], "Effect": "Allow", "Resource": ["*"]}]})
    may2 = json.dumps({"Version": "1", "Statement": [{"Action": ["nlb:ListListeners"], "Effect": "Allow", "Resource": ["*"]}]})
    role, policy = {"RoleName": "py-role"}, {"PolicyName": "py-policy"}
    typed = {**policy, "PolicyType": "Custom"}
    ram.call("CreateRole", {**role, "AssumeRolePolicyDocument": trust, "Description": "of a check"})
    assert ram.call("GetRole", role)["Role"]["RoleName"] == "py-role"
    ram.call("CreatePolicy", {**policy, "PolicyDocument": may})
    ram.call("GetPolicy", typed)
    ram.call("CreatePolicyVersion", {**policy, "PolicyDocument": may2, "SetAsDefault": True})
    assert len(ram.call("ListPolicyVersions", typed)["PolicyVersions"]["PolicyVersion"]) == 2
    ram.call("DeletePolicyVersion", {**policy, "VersionId": "v1"})
    ram.call("AttachPolicyToRole", {**typed, **role})
    assert ram.call("ListPoliciesForRole", role)["Policies"]["Policy"]
    ram.call("DetachPolicyFromRole", {**typed, **role})
    ram.call("DeletePolicy", policy)
    ram.call("DeleteRole", role)


def job(nlb, reply):
    until("job", lambda: nlb.call("GetJobStatus", {"JobId": reply["JobId"]})["Status"] == "Succeeded")


def balancer(nlb):
    assert nlb.call("DescribeZones", REGION)["Zones"]
    made = nlb.call("CreateLoadBalancer", {
        **REGION, "LoadBalancerName": "py-nlb", "AddressType": "Intranet", "VpcId": WORLD["VPC"], "LoadBalancerType": "Network",
        "ZoneMappings": [{"ZoneId": z, "VSwitchId": v} for z, v in zip(WORLD["Zones"], WORLD["VSwitches"])],
        "DeletionProtectionConfig": {"Enabled": False}, "Tag": [{"Key": "eslink", "Value": "py"}]})
    one = {"LoadBalancerId": made["LoadbalancerId"]}
    until("balancer", lambda: nlb.call("GetLoadBalancerAttribute", one)["LoadBalancerStatus"] == "Active")
    until("listed", lambda: nlb.call("ListLoadBalancers", {"Tag": [{"Key": "eslink", "Value": "py"}], "MaxResults": 10})["LoadBalancers"])
    nlb.call("UpdateLoadBalancerProtection", {**one, "DeletionProtectionEnabled": True, "DeletionProtectionReason": "py"})
    refused("OperationDenied.DeletionProtectionEnabled", lambda: nlb.call("DeleteLoadBalancer", one))
    nlb.call("UpdateLoadBalancerProtection", {**one, "DeletionProtectionEnabled": False})
    return one["LoadBalancerId"]


def backends(nlb, balancer_id):
    made = nlb.call("CreateServerGroup", {
        **REGION, "ServerGroupName": "py-group", "ServerGroupType": "Ip", "VpcId": WORLD["VPC"], "Protocol": "TCP", "Scheduler": "Wrr",
        "PreserveClientIpEnabled": False, "HealthCheckConfig": {"HealthCheckEnabled": True, "HealthCheckType": "TCP", "HealthCheckInterval": 5},
        "Tag": [{"Key": "eslink", "Value": "py"}]})
    job(nlb, made)
    group = {"ServerGroupId": made["ServerGroupId"]}
    server = {"ServerId": WORLD["SourceAddress"], "ServerIp": WORLD["SourceAddress"], "ServerType": "Ip", "Port": 9200, "Weight": 100}
    job(nlb, nlb.call("AddServersToServerGroup", {**group, "Servers": [server]}))
    assert nlb.call("ListServerGroupServers", group)["Servers"]
    until("group", lambda: nlb.call("ListServerGroups", {"ServerGroupIds": [made["ServerGroupId"]]})["ServerGroups"])
    made = nlb.call("CreateListener", {
        **REGION, "LoadBalancerId": balancer_id, "ServerGroupId": group["ServerGroupId"], "ListenerProtocol": "TCP", "ListenerPort": 9200,
        "ProxyProtocolEnabled": False, "ListenerDescription": "py"})
    job(nlb, made)
    listener = {"ListenerId": made["ListenerId"]}
    until("listener", lambda: nlb.call("GetListenerAttribute", listener)["ListenerStatus"] == "Running")
    until("listeners", lambda: nlb.call("ListListeners", {"LoadBalancerIds": [balancer_id]})["Listeners"])
    assert nlb.call("GetListenerHealthStatus", listener)["ListenerHealthStatus"]
    job(nlb, nlb.call("StopListener", listener))
    job(nlb, nlb.call("StartListener", listener))
    return group, listener, server


def services(link, balancer_id):
    link.call("OpenPrivateLinkService")
    link.call("CheckProductOpen")
    assert link.call("DescribeZones", {**REGION, "ServiceResourceType": "nlb"})["Zones"]
    resource = {"ResourceType": "nlb", "ResourceId": balancer_id}
    made = link.call("CreateVpcEndpointService", {
        **REGION, "ServiceResourceType": "nlb", "AutoAcceptEnabled": False, "ServiceDescription": "py",
        "Resource": [{**resource, "ZoneId": WORLD["Zones"][0]}], "Tag": [{"Key": "eslink", "Value": "py"}]})
    service = {**REGION, "ServiceId": made["ServiceId"]}
    until("service", lambda: link.call("GetVpcEndpointServiceAttribute", service)["ServiceStatus"] == "Active")
    until("services", lambda: link.call("ListVpcEndpointServices", {**REGION, "Tag": [{"Key": "eslink", "Value": "py"}]})["Services"])
    steady = lambda: link.call("GetVpcEndpointServiceAttribute", service)["ServiceStatus"] == "Active"
    link.call("AttachResourceToVpcEndpointService", {**service, **resource, "ZoneId": WORLD["Zones"][1]})
    until("attached", steady)
    assert link.call("ListVpcEndpointServiceResources", service)["Resources"]
    link.call("DetachResourceFromVpcEndpointService", {**service, **resource, "ZoneId": WORLD["Zones"][1]})
    until("detached", steady)
    link.call("AddUserToVpcEndpointService", {**service, "UserId": int(WORLD["ForeignAccount"])})
    until("user", lambda: link.call("ListVpcEndpointServiceUsers", service)["Users"])
    link.call("RemoveUserFromVpcEndpointService", {**service, "UserId": int(WORLD["ForeignAccount"])})
    return service


def connection(es, link, service, name):
    dest = WORLD["Dest"]
    es.call("CreateVpcEndpoint", {"serviceId": service["ServiceId"], "zoneId": WORLD["Zones"][0]}, dest)
    mine = lambda: [c for c in link.call("ListVpcEndpointConnections", service).get("Connections", []) if c["ConnectionStatus"] != "Deleted"]
    endpoint = until("connection", mine)[0]["EndpointId"]
    one = {**service, "EndpointId": endpoint}
    until("pending", lambda: mine()[0]["ConnectionStatus"] == "Disconnected" or mine()[0]["ConnectionStatus"] == "Pending")
    link.call("EnableVpcEndpointConnection", one)
    until("connected", lambda: mine()[0]["ConnectionStatus"] == "Connected")
    until("endpoints", lambda: es.call("ListVpcEndpoints", {}, dest)["Result"])
    link.call("DisableVpcEndpointConnection", one)
    until("disconnected", lambda: mine()[0]["ConnectionStatus"] == "Disconnected")
    es.call("DeleteVpcEndpoint", None, dest, endpoint)
    until("no connection", lambda: not mine())


def clusters(es):
    dest = WORLD["Dest"]
    active = lambda i=dest: es.call("DescribeInstance", None, i)["Result"]["status"] == "active"
    until("active", active)
    assert len(es.call("ListInstance", {"page": 1, "size": 10})["Result"]) >= 2
    es.call("ListAllNode", {}, dest)
    assert es.call("DescribeElasticsearchHealth", None, dest)["Result"] == "GREEN"
    es.call("EstimatedRestartTime", {"force": False}, dest)
    es.call("ModifyWhiteIps", {"modifyMode": "Cover", "networkType": "PRIVATE", "nodeType": "WORKER",
                               "whiteIpGroup": {"groupName": "py", "ips": ["10.1.2.0/24"], "whiteIpType": "PRIVATE_ES"}}, dest)
    until("active", active)
    es.call("UpdatePrivateNetworkWhiteIps", {"modifyMode": "Append", "body": json.dumps({"whiteIpGroup": {"groupName": "py", "ips": ["10.1.3.0/24"]}})}, dest)
    until("active", active)
    config = es.call("DescribeInstance", None, dest)["Result"]["esConfig"]
    es.call("UpdateInstanceSettings", {"esConfig": {**config, "reindex.remote.whitelist": "10.1.1.1:9200"}, "force": False}, dest)
    assert not active()
    es.call("InterruptElasticsearchTask", {}, dest)
    until("active", active)
    keys = WORLD["Keystore"]
    es.call("UpdateKeystores", {"update": {"xpack.security.authc.realms.ldap.ldap1.secure_bind_password": "x"}}, keys)
    until("keys", lambda: active(keys))
    assert es.call("GetKeystores", None, keys)["Result"]
    es.call("createInstance", {
        "nodeAmount": 3, "esVersion": "7.16_with_X-Pack", "esAdminPassword": "Secret-1x", "paymentType": "postpaid", "instanceCategory": "advanced",
        "nodeSpec": {"spec": "elasticsearch.sn2ne.large", "diskType": "cloud_ssd", "disk": 20},
        "networkConfig": {"type": "vpc", "vpcId": WORLD["VPC"], "vswitchId": WORLD["VSwitches"][0], "vsArea": WORLD["Zones"][0]}})
    es.call("ListActionRecords", {"page": 1, "size": 10}, dest)


def classic(slb):
    assert slb.call("DescribeAvailableResource", {**REGION, "AddressType": "vpc"})["AvailableResources"]
    made = slb.call("CreateLoadBalancer", {
        **REGION, "LoadBalancerName": "py-clb", "AddressType": "intranet", "VpcId": WORLD["VPC"], "VSwitchId": WORLD["VSwitches"][0],
        "MasterZoneId": WORLD["Zones"][0], "PayType": "PayOnDemand", "InstanceChargeType": "PayByCLCU", "DeleteProtection": "off"})
    one = {**REGION, "LoadBalancerId": made["LoadBalancerId"]}
    until("clb", lambda: slb.call("DescribeLoadBalancerAttribute", one)["LoadBalancerStatus"] == "active")
    slb.call("TagResources", {**REGION, "ResourceType": "instance", "ResourceId": [made["LoadBalancerId"]], "Tag": [{"Key": "eslink", "Value": "py"}]})
    until("tags", lambda: slb.call("ListTagResources", {**REGION, "ResourceType": "instance", "ResourceId": [made["LoadBalancerId"]]})["TagResources"].get("TagResource"))
    until("listed", lambda: slb.call("DescribeLoadBalancers", {**REGION, "LoadBalancerId": made["LoadBalancerId"]})["LoadBalancers"]["LoadBalancer"])
    slb.call("SetLoadBalancerDeleteProtection", {**one, "DeleteProtection": "on"})
    slb.call("SetLoadBalancerDeleteProtection", {**one, "DeleteProtection": "off"})
    servers = json.dumps([{"ServerId": WORLD["Host"], "Type": "ecs", "Port": "9200", "Weight": "100"}])  # values are strings, says the document
    group = {**REGION, "VServerGroupId": slb.call("CreateVServerGroup", {**one, "VServerGroupName": "py"})["VServerGroupId"]}
    slb.call("AddVServerGroupBackendServers", {**group, "BackendServers": servers})
    assert slb.call("DescribeVServerGroupAttribute", group)["BackendServers"]
    until("groups", lambda: slb.call("DescribeVServerGroups", one)["VServerGroups"]["VServerGroup"])
    port = {**one, "ListenerPort": 9200}
    slb.call("CreateLoadBalancerTCPListener", {**port, "VServerGroupId": group["VServerGroupId"], "Bandwidth": -1, "HealthCheckInterval": 2, "ProxyProtocolV2Enabled": False})
    status = lambda: slb.call("DescribeLoadBalancerTCPListenerAttribute", port)["Status"]
    slb.call("StartLoadBalancerListener", {**port, "ListenerProtocol": "tcp"})
    until("running", lambda: status() == "running")
    slb.call("DescribeHealthStatus", one)
    slb.call("StopLoadBalancerListener", port)
    until("stopped", lambda: status() == "stopped")
    slb.call("DeleteLoadBalancerListener", {**port, "ListenerProtocol": "tcp"})
    until("settled", lambda: slb.call("DescribeLoadBalancerAttribute", one)["LoadBalancerStatus"] == "active")
    slb.call("RemoveVServerGroupBackendServers", {**group, "BackendServers": servers})
    slb.call("DeleteVServerGroup", group)
    slb.call("DeleteLoadBalancer", one)


def main():
    network()
    secrets()
    roles()
    classic(Product("slb"))
    nlb, link, es = Product("nlb"), Product("privatelink"), Product("elasticsearch")
    balancer_id = balancer(nlb)
    group, listener, server = backends(nlb, balancer_id)
    service = services(link, balancer_id)
    connection(es, link, service, "py")
    clusters(es)
    until("service free", lambda: link.call("GetVpcEndpointServiceAttribute", service)["ServiceStatus"] == "Active")
    link.call("DetachResourceFromVpcEndpointService", {**service, "ResourceType": "nlb", "ResourceId": balancer_id, "ZoneId": WORLD["Zones"][0]})
    until("detached", lambda: link.call("GetVpcEndpointServiceAttribute", service)["ServiceStatus"] == "Active")
    link.call("DeleteVpcEndpointService", service)
    job(nlb, nlb.call("DeleteListener", listener))
    job(nlb, nlb.call("RemoveServersFromServerGroup", {**group, "Servers": [server]}))
    job(nlb, nlb.call("DeleteServerGroup", group))
    until("free", lambda: nlb.call("GetLoadBalancerAttribute", {"LoadBalancerId": balancer_id})["LoadBalancerStatus"] == "Active")
    job(nlb, nlb.call("DeleteLoadBalancer", {"LoadBalancerId": balancer_id}))
    print("all held")


if __name__ == "__main__":
    main()
