//! A MicroStrategy Collaboration Server cluster, whole ([`interlock_e2e::systems::mstr`]).
//!
//! | module | |
//! |---|---|
//! | `order` | starting and stopping |
//! | `trouble` | stores are lost, for all and for one |
//! | `rolling` | a restart under WebSocket clients |

mod order;
mod rolling;
mod trouble;
