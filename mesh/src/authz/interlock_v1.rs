//! The rows of `interlock.v1`, with the comments of the protos as their reason.
//!
//! A test holds them equal to the methods of the compiled protos, and each to the role that its comment states.

use super::Access;

/// Every method that a program of ours serves.
pub(super) const ROWS: &[(&str, Access)] = &[
    // Programs and people look at a server's health and at its reflection before they know anything else.
    ("/grpc.health.v1.Health/Check", Access::MEMBERS),
    ("/grpc.health.v1.Health/Watch", Access::MEMBERS),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Access::MEMBERS,
    ),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        Access::MEMBERS,
    ),
    // The one stream between an agent and a coordinator. Not even for admins: who speaks here speaks for a node.
    ("/interlock.v1.AgentService/Connect", Access::AGENTS),
    ("/interlock.v1.ClusterService/ApplySpec", Access::ADMINS),
    (
        "/interlock.v1.ClusterService/EnterMaintenance",
        Access::OPERATORS,
    ),
    ("/interlock.v1.ClusterService/GetSpec", Access::READERS),
    ("/interlock.v1.ClusterService/GetStatus", Access::READERS),
    (
        "/interlock.v1.ClusterService/LeaveMaintenance",
        Access::OPERATORS,
    ),
    (
        "/interlock.v1.ClusterService/ListAgentTypes",
        Access::READERS,
    ),
    (
        "/interlock.v1.ClusterService/ListMaintenance",
        Access::READERS,
    ),
    (
        "/interlock.v1.ClusterService/UnblockFailover",
        Access::OPERATORS,
    ),
    (
        "/interlock.v1.ClusterService/VerifyPower",
        Access::OPERATORS,
    ),
    ("/interlock.v1.ClusterService/WatchStatus", Access::READERS),
    ("/interlock.v1.EventService/ListDecisions", Access::READERS),
    ("/interlock.v1.EventService/ListEvents", Access::READERS),
    ("/interlock.v1.EventService/WatchEvents", Access::READERS),
    // The other end of somebody's ReadLogs.
    ("/interlock.v1.LogRelayService/AnswerLogs", Access::AGENTS),
    // Logs say more than states: what applications write about their users.
    ("/interlock.v1.LogService/ReadLogs", Access::OPERATORS),
    (
        "/interlock.v1.NodeService/ControlInstance",
        Access::OPERATORS,
    ),
    ("/interlock.v1.NodeService/GetNode", Access::READERS),
    ("/interlock.v1.NodeService/ListAttempts", Access::READERS),
    // An approval may need more than this; the operation's gate says so, and the handler checks it.
    (
        "/interlock.v1.OperationService/ControlOperation",
        Access::OPERATORS,
    ),
    ("/interlock.v1.OperationService/GetJournal", Access::READERS),
    (
        "/interlock.v1.OperationService/GetOperation",
        Access::READERS,
    ),
    (
        "/interlock.v1.OperationService/ListOperations",
        Access::READERS,
    ),
    (
        "/interlock.v1.OperationService/StartOperation",
        Access::OPERATORS,
    ),
    (
        "/interlock.v1.OperationService/WatchOperation",
        Access::READERS,
    ),
    // Between agents: who asks speaks for the node of its certificate, which the handler checks.
    ("/interlock.v1.PeerService/Promise", Access::AGENTS),
    ("/interlock.v1.PlanService/MakePlan", Access::READERS),
    // An export is everything that the cluster knows, and an import everything that it will.
    ("/interlock.v1.StoreService/AdoptAgents", Access::ADMINS),
    ("/interlock.v1.StoreService/ExportStore", Access::ADMINS),
    ("/interlock.v1.StoreService/ImportStore", Access::ADMINS),
];
