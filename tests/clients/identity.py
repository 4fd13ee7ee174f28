"""Logs in with azure-identity, as a program of a customer does, and uses what it gets."""

import json
import os
import sys
import urllib.error
import urllib.request

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import CertificateCredential, ClientSecretCredential, DefaultAzureCredential
from azure.mgmt.loganalytics import LogAnalyticsManagementClient

base, subscription, certificate = sys.argv[1:4]
authority = os.environ["AZURE_AUTHORITY_HOST"]
client_id = os.environ["AZURE_CLIENT_ID"]


def scopes(credential):
    return LogAnalyticsManagementClient(credential, subscription, base_url=base, credential_scopes=[f"{base}/.default"])


# Two variables and two more, and nothing else: no switch, no host of Microsoft's.
bare = DefaultAzureCredential()
for audience in [base, "https://management.azure.com", "https://monitor.azure.com", "https://api.loganalytics.io"]:
    token = bare.get_token(f"{audience}/.default")
    assert token.token.count(".") == 2, token
names = sorted(workspace.name for workspace in scopes(bare).workspaces.list())
print("workspaces", names)

# With the default audience of the client.
default = LogAnalyticsManagementClient(DefaultAzureCredential(), subscription, base_url=base)
assert sorted(workspace.name for workspace in default.workspaces.list()) == names

# By certificate, under the tenant's own id.
tenant = sys.argv[4]
by_certificate = CertificateCredential(
    tenant, client_id, certificate, authority=authority, disable_instance_discovery=True
)
assert sorted(workspace.name for workspace in scopes(by_certificate).workspaces.list()) == names
print("certificate", "fine")

# A wrong secret is told in the words people look for.
wrong = ClientSecretCredential("adfs", client_id, "wrong", authority=authority)
try:
    wrong.get_token(f"{base}/.default")
    raise SystemExit("a wrong secret was taken")
except ClientAuthenticationError as error:
    assert "AADSTS7000215" in str(error), error
    print("wrong", "AADSTS7000215")

# What the caller may not do is refused by name.
try:
    scopes(bare).workspaces.begin_create_or_update("default", "more", {"location": "local"})
    raise SystemExit("a reader made a workspace")
except HttpResponseError as error:
    assert error.status_code == 403 and error.error.code == "AuthorizationFailed", error
    assert "Microsoft.OperationalInsights/workspaces/write" in error.message, error
    print("forbidden", error.error.code)


class Static:
    def __init__(self, token):
        self.token = token

    def get_token(self, *_, **__):
        from azure.core.credentials import AccessToken

        return AccessToken(self.token, 4102444800)


try:
    list(scopes(Static("eyJhbGciOiJub25lIn0.e30.")).workspaces.list())
    raise SystemExit("a token that nobody signed was taken")
except ClientAuthenticationError as error:
    assert error.status_code == 401, error
    assert "authorization_uri" in error.response.headers["WWW-Authenticate"], error.response.headers
    print("challenge", "fine")
