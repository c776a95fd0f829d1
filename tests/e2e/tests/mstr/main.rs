//! A MicroStrategy Collaboration Server cluster, whole: the shipped spec (`deploy/clusters/mstr.yaml`), a real nginx, a real
//! Redis, and stand-ins for the closed products, as processes on this machine's loopback network.
//!
//! | module | |
//! |---|---|
//! | `spec` | the shipped spec, as it is on loopback |
//! | `site` | the cluster, its files, and what can be asked of its parts |
//! | `clients` | people at the load balancer, in networks of their own |
//! | `order` | starting and stopping |
//! | `trouble` | Redis is lost, for all and for one |
//! | `rolling` | a restart under WebSocket clients |

mod clients;
mod order;
mod rolling;
mod site;
mod spec;
mod trouble;
