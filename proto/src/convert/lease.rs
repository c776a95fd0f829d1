//! Leases: who holds, on which terms, on which side.

use std::time::Duration;

use interlock_model::ids::BootId;
use interlock_model::lease::{
    ControlLoss, Durations, Epoch, Holder, RateError, Synchrony, Terms, Timings, VmPause,
};
use interlock_model::names::NodeName;
use interlock_model::observation::{Fitness, Loss, RoleObservation};

use super::{Invalid, millis, name};
use crate::v1;

/// A holder, for the wire.
#[must_use]
pub fn holder_to_wire(holder: &Holder) -> v1::LeaseHolder {
    v1::LeaseHolder {
        node: holder.node.to_string(),
        boot_id: holder.boot.0.clone(),
    }
}

/// A holder, from the wire.
///
/// # Errors
/// If its node is no name, or its boot is not said: two boots must never be taken for one.
pub fn holder_from_wire(wire: Option<&v1::LeaseHolder>) -> Result<Holder, Invalid> {
    let wire = wire.ok_or_else(|| Invalid::missing("lease.holder"))?;
    if wire.boot_id.is_empty() || wire.boot_id.len() > 100 {
        return Err(Invalid::new(
            "lease.holder.boot_id",
            "is not that of a boot",
        ));
    }
    Ok(Holder {
        node: name("lease.holder.node", &wire.node)?,
        boot: BootId(wire.boot_id.clone()),
    })
}

/// Terms, for the wire.
#[must_use]
pub fn terms_to_wire(terms: &Terms) -> v1::LeaseTerms {
    let durations = Durations::from(terms.timings);
    v1::LeaseTerms {
        renewal_ms: millis(durations.renewal),
        life_ms: millis(durations.life),
        fence_ms: millis(durations.fence),
        stop_ms: millis(durations.stop),
        watchdog_ms: millis(durations.watchdog),
        pet_age_ms: millis(durations.pet_age),
        rate_error: u32::from(durations.rate_error.thousandths()),
        on_control_loss: terms.on_control_loss.to_string(),
        vm_pause: match terms.vm_pause {
            VmPause::Possible => "possible",
            VmPause::Accepted => "accepted",
        }
        .to_owned(),
        members: names(&terms.members),
        max_lag: terms.max_lag,
    }
}

/// Terms, from the wire.
///
/// # Errors
/// If a word is not known, a name is none, or the timings are not safe: who keeps them could still be primary when
/// another one begins.
pub fn terms_from_wire(wire: &v1::LeaseTerms) -> Result<Terms, Invalid> {
    let rate_error = u16::try_from(wire.rate_error)
        .ok()
        .and_then(RateError::per_mille)
        .ok_or_else(|| Invalid::new("lease.terms.rate_error", "is out of range"))?;
    let timings = Timings::new(Durations {
        renewal: Duration::from_millis(wire.renewal_ms),
        life: Duration::from_millis(wire.life_ms),
        fence: Duration::from_millis(wire.fence_ms),
        stop: Duration::from_millis(wire.stop_ms),
        watchdog: Duration::from_millis(wire.watchdog_ms),
        pet_age: Duration::from_millis(wire.pet_age_ms),
        rate_error,
    });
    Ok(Terms {
        timings: timings.map_err(|bad| Invalid::new("lease.terms", bad.to_string()))?,
        on_control_loss: match wire.on_control_loss.as_str() {
            "hold" => ControlLoss::Hold,
            "failsafe" => ControlLoss::Failsafe,
            "demote" => ControlLoss::Demote,
            other => return Err(Invalid::word("lease.terms.on_control_loss", other)),
        },
        vm_pause: match wire.vm_pause.as_str() {
            "possible" => VmPause::Possible,
            "accepted" => VmPause::Accepted,
            other => return Err(Invalid::word("lease.terms.vm_pause", other)),
        },
        members: parse_names("lease.terms.members", &wire.members)?,
        max_lag: wire.max_lag,
    })
}

/// Whom writes wait for, for the wire.
#[must_use]
pub fn synchrony_to_wire(synchrony: &Synchrony) -> Option<v1::LeaseSynchrony> {
    match synchrony {
        Synchrony::Off => None,
        Synchrony::With(nodes) => Some(v1::LeaseSynchrony {
            nodes: names(nodes),
        }),
    }
}

/// Whom writes wait for, from the wire.
///
/// # Errors
/// If a name is none.
pub fn synchrony_from_wire(wire: Option<&v1::LeaseSynchrony>) -> Result<Synchrony, Invalid> {
    Ok(match wire {
        None => Synchrony::Off,
        Some(wire) => Synchrony::With(parse_names("lease.synchrony.nodes", &wire.nodes)?),
    })
}

/// A role, for the wire.
#[must_use]
pub fn role_to_wire(role: &RoleObservation) -> v1::Role {
    v1::Role {
        side: v1::Side::from(role.side).into(),
        epoch: role.epoch.0,
        detail: role.detail.clone(),
        lost: role.lost.as_ref().map(|lost| v1::WritesLost {
            epoch: lost.epoch.0,
            text: lost.text.clone(),
        }),
    }
}

/// A role, from the wire.
#[must_use]
pub fn role_from_wire(wire: &v1::Role) -> RoleObservation {
    RoleObservation {
        side: wire.side().into(),
        epoch: Epoch(wire.epoch),
        detail: wire.detail.clone(),
        lost: wire.lost.as_ref().map(|lost| Loss {
            epoch: Epoch(lost.epoch),
            text: lost.text.clone(),
        }),
        // Not an agent's to say.
        fitness: Fitness::Unknown,
    }
}

fn names<'a>(nodes: impl IntoIterator<Item = &'a NodeName>) -> Vec<String> {
    nodes.into_iter().map(ToString::to_string).collect()
}

fn parse_names<C: FromIterator<NodeName>>(field: &str, texts: &[String]) -> Result<C, Invalid> {
    texts.iter().map(|text| name(field, text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use interlock_model::lease::Profile;

    fn terms() -> Terms {
        Terms {
            timings: Timings::of(Profile::Fast),
            on_control_loss: ControlLoss::Demote,
            vm_pause: VmPause::Accepted,
            members: ["db1", "db2"]
                .map(|node| node.parse().expect("a name"))
                .into(),
            max_lag: 1 << 20,
        }
    }

    #[test]
    fn terms_survive_the_wire_and_unsafe_ones_do_not_come_off_it() {
        let wire = terms_to_wire(&terms());
        assert_eq!(terms_from_wire(&wire), Ok(terms()));
        let late = v1::LeaseTerms {
            stop_ms: 5000,
            ..wire
        };
        let refused = terms_from_wire(&late).unwrap_err();
        assert!(refused.problem.contains("may still write"), "{refused}");
    }

    #[test]
    fn a_holder_without_a_boot_is_none() {
        let wire = v1::LeaseHolder {
            node: "db1".to_owned(),
            boot_id: String::new(),
        };
        assert!(holder_from_wire(Some(&wire)).is_err());
        assert!(holder_from_wire(None).is_err());
    }
}
