//! A Hipchat Data Center, whole ([`interlock_e2e::systems::hcdc`]).
//!
//! | module | |
//! |---|---|
//! | `order` | starting and stopping |
//! | `stores` | stores are lost |
//! | `members` | the load balancer and its three nodes |
//! | `drift` | nodes that are not as the others |
//! | `share` | a node without the share |

mod drift;
mod members;
mod order;
mod share;
mod stores;
