"""How many devices a pool has or may get, and how long spot devices stay."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from switchyard.api.base import ApiModel
from switchyard.api.schema_marks import rule, rules, within
from switchyard.api.values import Duration, Rate

DeviceTotal = Annotated[int, Field(ge=0, le=1_000_000)]


class Capacity(ApiModel):
    """How many devices the pool has or may get, and how many are paid for whether used or not."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.mode != 'elastic' || has(self.maxDevices)",
                "mode elastic needs maxDevices: how many devices the pool may have at most",
                ".maxDevices",
            ),
            rule(
                "self.mode == 'elastic' || !has(self.maxDevices)",
                "maxDevices is for mode: elastic; a pool of nodes has the devices of its nodes",
                ".maxDevices",
            ),
            rule(
                "self.mode == 'elastic' || !has(self.provisioningTime)",
                "provisioningTime is for mode: elastic; a pool of nodes provisions nothing",
                ".provisioningTime",
            ),
            rule(
                within("provisioningTime", "0s", "24h"),
                "give a provisioningTime of at most 24h",
                ".provisioningTime",
            ),
            rule(
                "!has(self.maxDevices) || !has(self.reservedDevices) || self.reservedDevices <= "
                "self.maxDevices",
                "reservedDevices is above maxDevices",
                ".reservedDevices",
            ),
        )
    )

    mode: Literal["nodes", "elastic"] = Field(
        default="nodes",
        description="Whether the pool has the devices of the nodes that exist, or more nodes come when pods "
        "wait for them (an autoscaler's node group).",
        examples=["elastic"],
    )
    max_devices: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="Devices that the pool may have at most, those of nodes that exist included, with mode: "
        "elastic. Default: none, and must be given there.",
        examples=[64],
    )
    provisioning_time: Duration | None = Field(
        default=None,
        description="Time until a new node takes a pod that waits, with mode: elastic. Default: 5m.",
        examples=["4m"],
    )
    reserved_devices: DeviceTotal | None = Field(
        default=None,
        description="Devices paid for already; placing on them costs only energy. Default: all devices of a "
        "reserved or owned pool, none of another.",
        examples=[16],
    )


class Spot(ApiModel):
    """How often the provider takes spot capacity back."""

    interruptions_per_day: Rate | None = Field(
        default=None,
        description="How often a node is taken back, on average per day. What a restart costs so often is "
        "part of the price that pools are compared by. Default: 0.",
        examples=["0.5"],
    )
    notice_period: Duration | None = Field(
        default=None,
        description="Time between the notice and the end of the node. Default: none is counted on.",
        examples=["2m"],
    )
