//! Orders to switch off the machine of a holder that is lost: given through the engine, and what came of them.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use interlock_engine::coordinator::{Fencing as Ordered, Lost};
use interlock_engine::lease::Clock;
use interlock_engine::lease::leader::Event;
use interlock_model::action::Power;
use interlock_model::ids::OperationId;
use interlock_model::lease::Epoch;
use interlock_model::names::{NodeName, ServiceName};

use super::Leases;
use crate::clock;

/// An order that is being given.
struct Giving {
    node: NodeName,
    given: BoxFuture<'static, Result<Ordered, String>>,
}

/// An order whose answer is awaited.
struct Given {
    node: NodeName,
    /// Read before it was given, maybe for another service: what is confirmed is as of then.
    asked: Clock,
    order: u64,
}

/// The orders of one service; one at a time.
pub(super) struct Fencing {
    leases: Leases,
    service: ServiceName,
    giving: Option<Giving>,
    given: Option<Given>,
}

impl Fencing {
    pub(super) fn new(leases: Leases, service: ServiceName) -> Self {
        Self {
            leases,
            service,
            giving: None,
            given: None,
        }
    }

    /// Orders that a machine is switched off.
    pub(super) fn order(&mut self, node: NodeName, epoch: Epoch, operation: Option<OperationId>) {
        let driver = self.leases.driver().clone();
        let lost = Lost {
            service: self.service.clone(),
            epoch,
            node: node.clone(),
            operation,
            asked: clock::of_leases(),
        };
        let given = async move {
            let ordered = driver.call(move |desk| desk.coordinator.fence(&lost, clock::now()));
            match ordered.await {
                Ok(ordered) => ordered.map_err(|why| why.to_string()),
                Err(not_done) => Err(not_done.to_string()),
            }
        };
        self.given = None;
        self.giving = Some(Giving {
            node,
            given: given.boxed(),
        });
    }

    /// Waits until the order is given; for ever if there is none. What came of it, if it was not.
    pub(super) async fn ordered(&mut self) -> Option<Event> {
        let Some(giving) = &mut self.giving else {
            return std::future::pending().await;
        };
        let given = giving.given.as_mut().await;
        let Giving { node, .. } = self.giving.take()?;
        match given {
            Ok(order) => {
                let (asked, order) = (order.of_leases, order.order);
                self.given = Some(Given { node, asked, order });
                None
            }
            Err(why) => Some(Event::NotFenced {
                node,
                why,
                asked: false,
            }),
        }
    }

    /// What the power source has answered, if it has.
    pub(super) fn answer(&mut self, orders: &BTreeMap<NodeName, Ordered>) -> Option<Event> {
        let given = self.given.as_ref()?;
        let order = orders
            .get(&given.node)
            .filter(|it| it.order == given.order)?;
        let (power, detail) = order.answer.clone()?;
        let Given { node, asked, .. } = self.given.take()?;
        Some(match power {
            Power::Off => Event::PoweredOff { node, asked },
            Power::On | Power::Unknown => Event::NotFenced {
                node,
                why: detail,
                asked: true,
            },
        })
    }
}
