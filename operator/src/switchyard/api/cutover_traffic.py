"""What a CutoverPlan says of traffic: its parts, the steps in which they move, and the copies before that."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from switchyard.api.base import ApiModel
from switchyard.api.policy import Percent, Share
from switchyard.api.schema_marks import ATOMIC, map_by, one_of, rule, rules, within
from switchyard.api.values import Duration, RatioAboveZero
from switchyard.api.workload import Tier

SegmentName = Annotated[str, Field(max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
HeaderName = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue = Annotated[
    str, Field(min_length=1, max_length=256, pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$")
]
PathPrefix = Annotated[str, Field(max_length=512, pattern=r"^/[^?#\s]*$")]
Method = Annotated[str, Field(max_length=16, pattern=r"^[A-Z]+$")]
Samples = Annotated[int, Field(ge=0, le=100_000_000)]

REST_SEGMENT = "rest"

_STAGE_RULES = (
    rule(within("minDuration", "0s", "168h"), "give a minDuration of at most 168h", ".minDuration"),
    rule(within("maxDuration", "1s", "720h"), "give a maxDuration of 1s to 720h", ".maxDuration"),
    rule(
        "!has(self.minDuration) || !has(self.maxDuration) || "
        "duration(self.minDuration) <= duration(self.maxDuration)",
        "give a minDuration that is not above maxDuration",
        ".minDuration",
    ),
)


class HeaderMatch(ApiModel):
    """A header field and its exact value."""

    name: HeaderName = Field(description="Name of the field; its case does not matter.", examples=["x-team"])
    value: HeaderValue = Field(description="Value, compared exactly.", examples=["research"])


_ONE_CASE = rules(
    rule(
        "self.all(h, self.exists_one(o, o.name.lowerAscii() == h.name.lowerAscii()))",
        "names of header fields do not care about case: give each once",
    )
)


class SegmentMatch(ApiModel):
    """What a request must have; everything stated must hold."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.headers) || has(self.pathPrefix) || has(self.tier)",
                "give headers, pathPrefix or tier; leave match out for all that is left",
            )
        )
    )

    headers: (
        Annotated[
            tuple[HeaderMatch, ...],
            Field(min_length=1, max_length=8, json_schema_extra=map_by("name") | _ONE_CASE),
        ]
        | None
    ) = Field(
        default=None,
        description="Header fields that it has, all of them. Default: any.",
        examples=[[{"name": "x-team", "value": "research"}]],
    )
    path_prefix: PathPrefix | None = Field(
        default=None,
        description="Path elements that its path begins with: `/v1` takes `/v1/x`, not `/v10`. Default: any.",
        examples=["/v1/embeddings"],
    )
    tier: Tier | None = Field(
        default=None,
        description="Value of its header `x-switchyard-tier`. Default: any.",
        examples=["batch"],
    )


class Sticky(ApiModel):
    """What keeps a caller on one side: requests with the same value go to the same side."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule(one_of("header", "cookie"), "give exactly one of header and cookie"))
    )

    header: HeaderName | None = Field(
        default=None, description="Name of a header field.", examples=["x-session"]
    )
    cookie: HeaderName | None = Field(default=None, description="Name of a cookie.", examples=["session"])


class Step(ApiModel):
    """A share of a segment on the candidate, and what must be seen there before the next."""

    model_config = ConfigDict(json_schema_extra=rules(*_STAGE_RULES))

    weight: Share = Field(
        description="Share of the segment's requests that the candidate answers, in percent.", examples=[10]
    )
    min_duration: Duration = Field(
        default=Duration("5m"),
        description="Shortest time at this share, at most 168h, once the path has confirmed it.",
        examples=["10m"],
    )
    min_samples: Samples = Field(
        default=100,
        description="Fewest requests that the candidate must have answered at this share.",
        examples=[1000],
    )
    max_duration: Duration = Field(
        default=Duration("24h"),
        description="Longest time at this share, 1s to 720h; then analysis.onInconclusive decides.",
        examples=["6h"],
    )


_RISING: dict[str, Any] = rules(
    rule(
        "self.map(s, s.weight).isSorted() && self.all(s, self.exists_one(t, t.weight == s.weight))",
        "weights must rise from step to step",
    ),
    rule("self[size(self) - 1].weight == 100", "the last step must have weight 100"),
)
Steps = Annotated[tuple[Step, ...], Field(min_length=1, max_length=12, json_schema_extra=ATOMIC | _RISING)]


class Segment(ApiModel):
    """A part of the traffic that moves, and goes back, by itself."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"self.name != '{REST_SEGMENT}' || !has(self.match)",
                f"{REST_SEGMENT} is the name of what no other segment takes: give another name to one that "
                "has a match",
                ".name",
            ),
            rule(
                "!self.stay || "
                "!(has(self.steps) || has(self.sticky) || has(self.onFailure) || self.approval)",
                "a segment that stays never moves: leave steps, sticky, onFailure and approval out",
                ".stay",
            ),
        )
    )

    name: SegmentName = Field(description="Name, its own within the plan.", examples=["batch"])
    match: SegmentMatch | None = Field(
        default=None,
        description="Which requests belong to it, of those that no segment before it took. Only the last "
        "segment may leave it out. Default: all that are left.",
        examples=[{"tier": "batch"}],
    )
    steps: Steps | None = Field(
        default=None,
        description="Its steps; weights rise to 100. Default: the plan's.",
        examples=[[{"weight": 20}, {"weight": 100}]],
    )
    sticky: Sticky | None = Field(
        default=None,
        description="What keeps a caller on one side. Default: as traffic.sticky says.",
        examples=[{"header": "x-session"}],
    )
    approval: bool = Field(
        default=False,
        description="True: it waits for a person before it begins to move, like `segment:` and its name in "
        "approvals.",
        examples=[True],
    )
    on_failure: Literal["rollbackSegment", "rollbackPlan"] | None = Field(
        default=None,
        description="What goes back when a gate fails here: this segment, or all. Default: as rollback.scope "
        "says.",
        examples=["rollbackPlan"],
    )
    stay: bool = Field(default=False, description="True: it stays on the baseline for good.", examples=[True])


class Exclusion(ApiModel):
    """Requests that must not be repeated; everything stated must hold."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule("has(self.method) || has(self.pathPrefix)", "give method or pathPrefix"))
    )

    method: Method | None = Field(default=None, description="Their method. Default: any.", examples=["POST"])
    path_prefix: PathPrefix | None = Field(
        default=None,
        description="Path elements that their path begins with. Default: any.",
        examples=["/v1/files"],
    )


class Shadow(ApiModel):
    """Copies of users' requests for the candidate, before any user is served by it."""

    model_config = ConfigDict(json_schema_extra=rules(*_STAGE_RULES))

    percent: Percent = Field(
        default=20,
        description="Share of users' requests that is copied, in percent; 0 leaves the stage out.",
        examples=[10],
    )
    min_duration: Duration = Field(
        default=Duration("10m"),
        description="Shortest time of the stage, at most 168h, once the path has confirmed it.",
        examples=["30m"],
    )
    min_samples: Samples = Field(
        default=500,
        description="Fewest copies that the candidate must have answered.",
        examples=[2000],
    )
    max_duration: Duration = Field(
        default=Duration("24h"),
        description="Longest time of the stage, 1s to 720h; then analysis.onInconclusive decides.",
        examples=["48h"],
    )
    max_concurrency: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=32,
        description="Copies under way at a time, per worker of the router; more wait shortly, then are "
        "dropped and counted.",
        examples=[64],
    )
    max_candidate_utilisation: RatioAboveZero = Field(
        default="0.8",
        description="Predicted load of the candidate above which less is copied, as a ratio, so that an "
        "overload by copies is not taken for a regression.",
        examples=["0.7"],
        validate_default=True,
    )
    replay_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        default=10,
        description="Behind a Gateway or a mesh: share of the copied requests that the baseline is asked "
        "again, as only those can be compared, in percent. The built-in router compares every copy.",
        examples=[50],
    )
    noise_arm_percent: Percent = Field(
        default=10,
        description="Share of the copied requests that the baseline is asked a second time, to know how far "
        "its own answers differ, in percent.",
        examples=[20],
    )
    exclude: Annotated[tuple[Exclusion, ...], Field(max_length=32, json_schema_extra=ATOMIC)] = Field(
        default=(),
        description="Requests that must not be repeated. PUT, PATCH and DELETE never are. Default: none "
        "beyond those.",
        examples=[[{"pathPrefix": "/v1/files"}]],
    )


class Traffic(ApiModel):
    """How traffic is moved."""

    router: Literal["auto", "builtin", "gatewayAPI", "istio"] = Field(
        default="auto",
        description="What splits it: builtin (the dual-run router), gatewayAPI (the workload's HTTPRoute), "
        "istio (its VirtualService), or auto (as the workload is exposed).",
        examples=["builtin"],
    )
    sticky: Sticky | None = Field(
        default=None,
        description="What keeps a caller on one side, where a segment says nothing. Default: each request "
        "by itself.",
        examples=[{"header": "x-session"}],
    )
