//! `failover`: the lease of an exclusive service.

use super::checks::parse_size;
use super::{Field, Section};
use crate::lease::{ControlLoss, Profile, Timings, VmPause};
use crate::spec::problem::{Problem, quoted};
use crate::spec::shape::{Kind, Shape, default, derived, later, optional};
use crate::spec::{Budget, Clients, Failover, Fence, TRANSACTIONS};

/// The lease.
pub(super) static FAILOVER: Shape = Shape {
    name: "failover",
    doc: "The lease of an exclusive service: whoever holds it is primary, and nobody else can be. `{}` takes the cautious \
          choice everywhere.",
    keys: &[
        default(
            "automatic",
            Kind::Flag,
            "false",
            "Does the role move by itself when its holder is lost?",
        ),
        default(
            "profile",
            Kind::Word {
                words: &["conservative", "fast"],
                later: &[],
            },
            "conservative",
            "`conservative`: an election of an etcd that nobody has tuned goes unnoticed, a lost host costs about twelve \
             seconds. `fast`: about three; needs the embedded store, or times of its own.",
        ),
        optional(
            "timings",
            Kind::Section(&TIMINGS),
            "Other durations than those of the profile, one by one.",
        ),
        default(
            "on_control_loss",
            Kind::Word {
                words: &["hold", "failsafe", "demote"],
                later: &[],
            },
            "hold",
            "What a primary does that reaches no coordinator. `hold`: it goes on, and its lease never expires. `failsafe`: it goes \
             on for as long as its agent reaches those of all other nodes of the service, and each of them promises to wait; else \
             it stops before its lease ends. `demote`: it stops before its lease ends.",
        ),
        default(
            "vm_pause",
            Kind::Word {
                words: &["possible", "accepted"],
                later: &[],
            },
            "possible",
            "Whether the hypervisor may pause the machines. A paused machine's clocks stand still, so a lease expires only \
             where that risk is `accepted`.",
        ),
        default(
            "clients",
            Kind::Word {
                words: &["any", "address"],
                later: &[],
            },
            "any",
            "`address`: all who write come by the addresses among its parts, which the kernel of the node shuts by itself \
             when the lease is not renewed.",
        ),
        default(
            "fence",
            Kind::Word {
                words: &["never", "off"],
                later: &[],
            },
            "never",
            "What may be done, without asking anybody, to the machine of a primary that is lost: nothing is heard of it, and other \
             nodes do not reach it either. `off`: its power source switches it off, and what it confirms is a proof that the \
             role may move; it stays off until somebody switches it on.",
        ),
        default(
            "budget",
            Kind::Count {
                least: 1,
                most: 1000,
            },
            "3",
            "How often the role may move by itself within `window`. Then it waits for a person (`interlockctl unblock`).",
        ),
        default(
            "window",
            Kind::Duration,
            "1h",
            "The sliding window of the budget.",
        ),
        default(
            "boot_dead",
            Kind::Duration,
            "1m",
            "For how long after the start of its machine a standby takes over by itself only if it is proven to have everything: \
             after a loss of power who was primary last may be about to come up. And once that one is heard, and was restarted as \
             well, it is waited for until its own machine has been up for so long.",
        ),
        default(
            "max_lag",
            Kind::Text,
            "0B",
            "How far behind its primary, as that was last heard of, the data of a standby may be for it to take over by \
             itself: `16MiB`, of MariaDB in transactions: `10tx`. A planned move waits for all that was written, whatever this and `synchronous` say.",
        ),
    ],
    choice: &[],
    later: &[
        later("rejoin", "what becomes of a former primary"),
        later("failback", "the planned return of a role"),
    ],
};

static TIMINGS: Shape = Shape {
    name: "timings",
    doc: "The durations of a lease. They must leave room for each other; what does not is refused with the arithmetic.",
    keys: &[
        derived(
            "renewal",
            Kind::Duration,
            "as the profile has it",
            "R: how often the primary renews.",
        ),
        derived(
            "life",
            Kind::Duration,
            "as the profile has it",
            "L: how long coordinators wait before they take a lease for expired.",
        ),
        derived(
            "fence",
            Kind::Duration,
            "as the profile has it",
            "S: how long after its last acknowledged renewal a primary stops itself.",
        ),
        derived(
            "stop",
            Kind::Duration,
            "as the profile has it",
            "K: within what time a forced stop is done. What is not ended by then has the node reset, if its agent's own file says so \
             (`[lease] reset`); otherwise the role stays taken.",
        ),
        derived(
            "watchdog",
            Kind::Duration,
            "as the profile has it",
            "W: how long after it was last petted a watchdog resets its machine. What counts is what a device says of itself; this is \
             what is looked at here.",
        ),
        derived(
            "pet_age",
            Kind::Duration,
            "as the profile has it",
            "A: the greatest age of an acknowledged renewal that may pet a watchdog device.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// Reads a size, or a number of transactions.
fn size(field: &Field<'_>) -> Option<u64> {
    let text = field.text()?;
    let size = match text.strip_suffix(TRANSACTIONS) {
        Some(number) => number.parse().ok(),
        None => parse_size(text),
    };
    if size.is_none() {
        field.report(
            Problem::error(format!("{} is no size", quoted(text)))
                .why("a size is a whole number with a unit: B, KiB, MiB or GiB, or tx for transactions")
                .suggest("write it as 16MiB"),
        );
    }
    size
}

/// Reads the lease.
pub(super) fn failover(section: &Section<'_>) -> Option<Failover> {
    let profile: Profile = section.word("profile").unwrap_or_default();
    let mut durations = profile.durations();
    let own = section.optional("timings", |timings| {
        for (key, duration) in [
            ("renewal", &mut durations.renewal),
            ("life", &mut durations.life),
            ("fence", &mut durations.fence),
            ("stop", &mut durations.stop),
            ("watchdog", &mut durations.watchdog),
            ("pet_age", &mut durations.pet_age),
        ] {
            if let Some(given) = timings.duration(key) {
                *duration = given;
            }
        }
    });
    let read = Failover {
        automatic: section.flag("automatic"),
        timings: Timings::of(profile),
        on_control_loss: section.word("on_control_loss").unwrap_or(ControlLoss::Hold),
        vm_pause: section.word("vm_pause").unwrap_or(VmPause::Possible),
        max_lag: section
            .get("max_lag")
            .map_or(Some(0), |field| size(&field))
            .unwrap_or_default(),
        clients: section.word("clients").unwrap_or(Clients::Any),
        fence: section.word("fence").unwrap_or(Fence::Never),
        budget: Budget {
            times: section
                .count("budget")
                .map_or(1, |n| u32::try_from(n).unwrap_or(u32::MAX)),
            window: section.duration("window").unwrap_or_default(),
        },
        boot_dead: section.duration("boot_dead").unwrap_or_default(),
    };
    match Timings::new(durations) {
        Ok(timings) => Some(Failover { timings, ..read }),
        Err(bad) => {
            let problem = Problem::error("these timings are not safe").why(bad.to_string());
            match own.and(section.get("timings")) {
                Some(field) => field.report(problem),
                None => section.report(problem),
            }
            None
        }
    }
}
