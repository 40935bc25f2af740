"""The reasons that conditions, events and rejections give: one stable word each, with one sentence.

The order is that of the reference page, which is generated from here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A stable word for machines; `sentence` says to people when it is used."""

    sentence: str

    def __new__(cls, word: str, sentence: str = "") -> Self:
        """The member with its sentence."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.sentence = sentence
        return member

    # why a variant may not run in a pool, in the order of the checks
    NamespaceNotAllowed = "NamespaceNotAllowed", "The pool's allowedNamespaces do not take this namespace."
    PoolNotReady = "PoolNotReady", "The pool can take nothing new; its condition Ready says why."
    PoolCordoned = "PoolCordoned", "The pool is cordoned: it takes no new placements."
    PoolBackOff = (
        "PoolBackOff",
        "The pool failed to start pods of late; it takes nothing new until a moment that the message names.",
    )
    AcceleratorMismatch = (
        "AcceleratorMismatch",
        "The pool's accelerator is none of those that the variant, or constraints of the workload, name.",
    )
    ResidencyMismatch = "ResidencyMismatch", "The pool does not state a residency that the workload requires."
    CapacityTypeMismatch = "CapacityTypeMismatch", "The workload does not take this pool's capacity type."
    MaturityMismatch = "MaturityMismatch", "The workload does not take pools of this maturity."
    ZoneMismatch = "ZoneMismatch", "The pool has a zone that the workload does not take, or states none."
    InsufficientMemory = (
        "InsufficientMemory",
        "The devices of a replica hold less memory than the model needs.",
    )
    PrecisionUnsupported = "PrecisionUnsupported", "The devices do not compute in the variant's precision."
    RuntimeUnsupported = "RuntimeUnsupported", "The variant's software stack does not run on the devices."
    AllocationUnit = (
        "AllocationUnit",
        "The devices of a replica can't be had together: more than the pool's largest unit, or than a node.",
    )
    PodTemplateNotFound = "PodTemplateNotFound", "The PodTemplate that the variant refers to does not exist."
    ProfileMissing = (
        "ProfileMissing",
        "The variant has no usable profile, so nobody knows what a replica carries.",
    )
    ObjectiveUnreachable = (
        "ObjectiveUnreachable",
        "A latency objective is missed even by a replica that has nothing else to do, or at peak demand.",
    )
    MaxReplicasExceeded = (
        "MaxReplicasExceeded",
        "Peak demand needs more replicas than scaling.maxReplicas allows.",
    )
    QuotaExceeded = "QuotaExceeded", "A ResourceQuota of the namespace leaves fewer devices than are needed."
    SpotNotSurvivable = (
        "SpotNotSurvivable",
        "Losing one spot pool would leave less of the demand than constraints.spot.survivalPercent asks.",
    )
    FirmFloorUnreachable = (
        "FirmFloorUnreachable",
        "Fewer replicas would run outside spot pools than constraints.spot.minFirmReplicas asks.",
    )
    SpreadUnreachable = (
        "SpreadUnreachable",
        "More of the demand would depend on one pool or zone than constraints.spread allows.",
    )
    OverBudget = "OverBudget", "The placement costs more than the workload's budget, or than the pilot may."
    InsufficientCapacity = "InsufficientCapacity", "Fewer devices are free than the replicas need."
    CostHigher = "CostHigher", "The pair would do, and costs more than the placement that was chosen."
    Sticky = (
        "Sticky",
        "The pair would cost less; what serves stays, because a live service moves by a CutoverPlan only.",
    )

    FallbackNotNeeded = "FallbackNotNeeded", "A fallback: it serves only where nothing meets the objectives."

    # of a workload
    FallbackInUse = (
        "FallbackInUse",
        "A fallback serves, because nothing that meets the objectives has room; it says how good it is.",
    )
    ProfileEstimated = (
        "ProfileEstimated",
        "The capacity of a replica is estimated from data sheets, as placement.estimate allows.",
    )
    Placed = "Placed", "A variant and a pool are chosen."
    NoPools = "NoPools", "There is no AcceleratorPool."
    UnknownAccelerator = (
        "UnknownAccelerator",
        "Neither the catalog nor any pool has an accelerator of that name.",
    )
    Displaced = "Displaced", "The devices went to a workload of a higher tier."
    Serving = "Serving", "Replicas are ready and answer."
    WaitingForPods = (
        "WaitingForPods",
        "Replicas are being started; the message has what the cluster says of them.",
    )
    Replacing = "Replacing", "The service moves: its new track takes over when its pods are ready."
    NotServing = "NotServing", "Nothing is placed, so nothing can be said."
    PredictedWithinTargets = (
        "PredictedWithinTargets",
        "The predicted latency at peak demand meets every objective.",
    )
    NoObjectives = "NoObjectives", "The workload states no objectives."
    WithinBudget = "WithinBudget", "The placement costs no more than the budget."
    NoBudget = "NoBudget", "The workload states no budget."
    PlacementOutdated = (
        "PlacementOutdated",
        "What serves stays, but would be refused if it were placed today; the message says why.",
    )
    NameConflict = (
        "NameConflict",
        "An object of somebody else has the name of one that is needed; it is never overwritten.",
    )
    ChildRefused = (
        "ChildRefused",
        "The API server refused an object that is needed; the message is its answer.",
    )
    InvalidSpec = "InvalidSpec", "The spec can't be read or is not enough; the message names the field."

    # of a workload's exposure
    RouteAccepted = "RouteAccepted", "Every Gateway that the exposure names has taken the HTTPRoute."
    RouteWritten = "RouteWritten", "The VirtualService is written; Istio does not say whether it took it."
    RoutePending = "RoutePending", "The route is not written yet, or a Gateway has not answered about it."
    RouteNotAccepted = (
        "RouteNotAccepted",
        "A Gateway refuses the HTTPRoute, or does not find what it refers to; the message is its answer.",
    )
    RouteKindMissing = (
        "RouteKindMissing",
        "The cluster does not know the kind of route that is asked for; the message says what to install.",
    )

    # of a workload's demand, and of a better place for it
    SignalCurrent = "SignalCurrent", "The demand was measured within the last five minutes."
    SignalNever = (
        "SignalNever",
        "The demand was never measured: requestsPerSecond counts, or minReplicas where it is not set.",
    )
    DemandFrozen = (
        "DemandFrozen",
        "The demand's signal is missing: the last known demand counts, and nothing is scaled down.",
    )
    RecommendationReady = (
        "RecommendationReady",
        "Another placement has been cheaper for long enough, and repays the change; see recommendation.",
    )
    TargetBackOff = (
        "TargetBackOff",
        "A plan for the place was rolled back or aborted; no other is made before the moment in the message.",
    )
    CutoverProposed = (
        "CutoverProposed",
        "A CutoverPlan is made that moves the workload to the recommended place, as migration: auto asks.",
    )

    # of a pool
    SpotInterruption = (
        "SpotInterruption",
        "A spot node was taken back, or is about to be; the pool takes nothing new for a while.",
    )
    PoolReady = "PoolReady", "Nodes of the pool take pods."
    NoNodes = "NoNodes", "No node carries the labels of the pool."
    NodesClaimed = "NodesClaimed", "All nodes of the pool are counted for an earlier pool."
    NodesNotReady = "NodesNotReady", "Nodes of the pool are not ready, or all are cordoned."
    NodesTainted = "NodesTainted", "Taints that the pool does not tolerate keep pods off its nodes."
    NoDevices = "NoDevices", "The nodes are there, but none offers the pool's resource."
    DevicesFree = "DevicesFree", "Devices are free."
    PoolFull = "PoolFull", "All devices are in use."
    AllHealthy = "AllHealthy", "Every node and device is healthy."
    DevicesUnhealthy = "DevicesUnhealthy", "Nodes report devices as unhealthy."
    PriceCurrent = "PriceCurrent", "The prices are younger than the operator's limit."
    PriceStale = "PriceStale", "The prices are older than the operator's limit."
    PriceUndated = "PriceUndated", "The prices carry no date."
    PriceUnknown = "PriceUnknown", "The pool states no price; its devices count as free of charge."
    NoReviewNeeded = "NoReviewNeeded", "The pool is no pilot."
    ReviewDue = "ReviewDue", "The pilot has a date for its review, and it is ahead."
    ReviewOverdue = "ReviewOverdue", "The pilot's review is overdue, or has no date."

    # of a cutover: why it does not begin, or waits
    WaitingForPlan = "WaitingForPlan", "Another plan moves the workload; this one begins when that has ended."
    WorkloadNotFound = "WorkloadNotFound", "The workload is absent, or is being deleted."
    ModeNotSupported = "ModeNotSupported", "Only a workload that one track serves can be moved."
    VariantNotFound = "VariantNotFound", "The workload has no variant of that name."
    PoolNotFound = "PoolNotFound", "There is no AcceleratorPool of that name."
    AlreadyServing = "AlreadyServing", "The target is where the workload is served already."
    RouteDrifted = "RouteDrifted", "Somebody else changed what carries the traffic of a plan; it is put back."
    RouterUnknown = "RouterUnknown", "What can be done with the workload's traffic is not known yet."
    RouterUnsupported = (
        "RouterUnsupported",
        "The way of routing lacks something that the plan asks for; the message says what, and what helps.",
    )
    PaybackTooLong = "PaybackTooLong", "The saving repays the move later than requirePaybackWithin, or never."
    AwaitingApproval = "AwaitingApproval", "A stage waits for a person; the message names it."
    OutsideWindow = "OutsideWindow", "No window is open; the message says when the next one opens."
    Suspended = "Suspended", "The plan is held by spec.suspend."
    BaselineLost = "BaselineLost", "The baseline has no ready pod: nothing is copied and nothing moves."
    EvidenceMissing = "EvidenceMissing", "A side, or a metric, brings no data: neither a pass nor a failure."
    StageOverdue = "StageOverdue", "The evidence did not decide in the longest time of the stage."

    # of a cutover: its way
    CutoverStarted = "CutoverStarted", "The plan has begun, and is being checked."
    Approved = "Approved", "A person has released a stage."
    Resumed = "Resumed", "The plan goes on where it was held."
    Restarted = "Restarted", "A new restartToken starts the plan anew."
    Provisioning = "Provisioning", "Replicas of the candidate are being started."
    ShadowStarted = "ShadowStarted", "Requests are copied to the candidate; no user is served by it."
    ShadowFitted = "ShadowFitted", "The share of copies was changed to what the candidate can carry."
    StepStarted = "StepStarted", "The candidate answers a larger share of a segment."
    SoakStarted = "SoakStarted", "All that moves is on the candidate; the baseline is kept warm."
    Promoting = "Promoting", "The service is handed to the candidate."
    CutoverCompleted = "CutoverCompleted", "The move is done."
    InputsChanged = (
        "InputsChanged",
        "The workload, the target or the plan was changed under way; earlier evidence does not count.",
    )
    CompletionOverdue = "CompletionOverdue", "Handing the service over takes longer than it should."

    # of a cutover: its way back
    GateFailed = "GateFailed", "A gate's margin is broken; the message has the figures."
    CandidateNotReady = "CandidateNotReady", "The candidate's pods were not ready in time."
    CandidateLost = "CandidateLost", "The candidate that served users has no ready pod."
    TargetGone = "TargetGone", "The target's variant or pool was taken away."
    RouteNotEffective = (
        "RouteNotEffective",
        "The path did not confirm the traffic that was asked for in time.",
    )
    DualRunBudgetExceeded = "DualRunBudgetExceeded", "Running both sides costs more than maxDualRunCost."
    DeadlineExceeded = "DeadlineExceeded", "The plan, or a time in which nothing moved, took too long."
    RollbackHalted = (
        "RollbackHalted",
        "The baseline has no ready pod while the candidate answers: shares stay until it has.",
    )
    ReturnOverdue = "ReturnOverdue", "Returning the traffic takes longer than it should; it is not given up."
    RolledBack = (
        "RolledBack",
        "Traffic is back on the baseline, all of it or that of the segment that failed.",
    )
    Aborted = "Aborted", "The plan was ended, and all traffic is on the baseline."
