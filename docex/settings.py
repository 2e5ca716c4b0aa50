"""Settings of a node: from the environment (``DOCEX_…``), with the command line on top."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from docex.core.access import Role
from docex.core.access_token import DEFAULT_ROLES

MIN_TOKEN = 20
"""Characters of the shortest API token that is taken: an empty variable must not open the node to everyone."""


class NodeSettings(BaseSettings):
    """What `docex serve` needs. Each field can be given as ``DOCEX_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="DOCEX_", extra="ignore")

    data: Path = Field(Path("docex-data"), description="folder for database, documents and the API token")
    keystore: Path = Field(Path("keystore"), description="the member's keystore")
    rpc: str = Field("http://127.0.0.1:8545", description="JSON-RPC URL of a ledger node")
    deployment: Path = Field(Path("deployment.json"), description="what `docex ledger deploy` wrote")
    parts: Literal["all", "api", "worker"] = Field("all", description="what this process runs")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    connections: int = Field(768, ge=8, le=1 << 20, description="connections that a process has at most")
    connections_per_address: int = Field(
        256, ge=1, le=1 << 20, description="connections from one address at most; behind a proxy, all come from its own"
    )
    database: str | None = Field(None, description="SQLAlchemy URL; SQLite in the data folder by default")
    azure_storage: SecretStr | None = Field(None, description="Azure Blob connection string; a folder by default")
    azure_container: str = Field("docex", description="container for the packets")
    azure_timeout: float = Field(
        60.0, gt=0, le=3600, description="seconds that Azure Blob may keep silent before a request is tried again"
    )
    confirmations: int = Field(3, ge=1, le=1000, description="blocks on top of an anchor before it is final")
    interval: float = Field(0.25, gt=0, le=60, description="seconds between two looks for work")
    max_document_size: int = Field(16 << 30, gt=0, description="bytes of the largest document taken")
    transfer_patience: int | None = Field(
        None, ge=60, description="seconds after which a transfer without a receipt expires; never by default"
    )
    header_patience: int = Field(
        7 * 24 * 3600, ge=0, description="seconds to ask for the header of a fair transfer before it is withheld"
    )
    api_token: SecretStr | None = Field(
        None, min_length=MIN_TOKEN, description="API token; made and kept in the data folder by default"
    )
    remember_requests: int = Field(
        24 * 3600, ge=60, le=366 * 24 * 3600, description="seconds for which idempotency keys are remembered"
    )
    tsa: str | None = Field(None, description="URL of an RFC 3161 time-stamping authority for batch roots")
    rate_caller: int = Field(30_000, ge=0, description="calls a minute of one API key, person or token; 0: no limit")
    rate_address: int = Field(
        3_000, ge=0, description="calls a minute from one address without a credential that holds"
    )
    rate_member: int = Field(30_000, ge=0, description="calls a minute of one other member's node")
    proxies: str = Field("", description="address ranges of proxies whose X-Forwarded-For counts")
    metrics_networks: str = Field("", description="address ranges from which /metrics is read without a credential")
    peer_networks: str | None = Field(
        None,
        description="where other members' nodes may be called: address ranges, public, private, loopback, any;"
        " by default public, and on a development chain any",
    )
    peer_schemes: str = Field("https,http", description="how other members' nodes may be called")
    ca_file: Path | None = Field(
        None, description="certificate authorities (PEM) that other nodes, issuer and TSA may have beside public ones"
    )
    oidc_issuer: str | None = Field(None, description="OIDC issuer whose access tokens people may bring")
    oidc_audience: str | None = Field(None, min_length=1, description="what the tokens' aud has to name")
    oidc_jwks: str | None = Field(None, description="URL or file of the issuer's keys; by discovery by default")
    oidc_roles_claim: str = Field("roles", min_length=1, description="claim with the roles; a path with dots may be")
    oidc_roles: dict[str, Role] = Field(
        dict(DEFAULT_ROLES), min_length=1, description='which value of it is which role: {"docex-supplier": "supplier"}'
    )
    oidc_folders_claim: str | None = Field(None, min_length=1, description="claim with the folders to be kept to")

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL in use."""
        return self.database or f"sqlite+aiosqlite:///{self.data.absolute() / 'docex.db'}"

    @property
    def listens(self) -> bool:
        """Whether there is a port to listen on. A worker alone listens only where it is told a port."""
        return self.parts != "worker" or "port" in self.model_fields_set
