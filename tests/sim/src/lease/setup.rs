//! What a seed stands for.

use std::time::Duration;

use interlock_model::lease::{
    ControlLoss, Durations, Election, Profile, RateError, Terms, Timings, VmPause,
};

use super::mutant::Mutant;
use crate::random::Random;

/// How many nodes there are.
pub(super) const NODES: usize = 3;

/// Which faults a seed may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Links are cut, messages late, agents stopped at the worst moment, clocks as wrong as they may be.
    Cuts,
    /// Databases die, promotions drag on, operations are under way, standbys lag. Nothing but a watchdog acts.
    Deaths,
    /// Everything that ends by itself, under a policy whose leases expire.
    Usual,
    /// The same under `hold`, with and without a fence agent.
    Hold,
    /// The same under `failsafe`.
    Failsafe,
    /// Machines are paused by their hypervisor.
    Pauses,
    /// Disks of nodes go back to a snapshot.
    Reverts,
    /// The store goes back to a backup.
    Restores,
    /// Nothing but elections of the store.
    Hiccups,
    /// Moves are given up once their primary was asked for its role, nothing moves by itself from then on, and coordinators die.
    Moves,
    /// Other timings are applied, which no node's watchdog suits, and none takes the role without one.
    Required,
    /// A member joins while the primary goes on by the promises of the one that it has, and nobody hears those two.
    Joins,
    /// The watchdog is armed and does nothing; agents go on.
    Blind,
    /// The watchdog is armed and does nothing; agents do not go on, and nothing is cut off.
    Seen,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Cuts,
        Self::Deaths,
        Self::Usual,
        Self::Hold,
        Self::Failsafe,
        Self::Pauses,
        Self::Reverts,
        Self::Restores,
        Self::Hiccups,
        Self::Moves,
        Self::Required,
        Self::Joins,
        Self::Blind,
        Self::Seen,
    ];
}

/// One run.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Everything that is left to chance.
    pub seed: u64,
    /// Which faults there are.
    pub kind: Kind,
    /// The rule that is not kept.
    pub mutant: Option<Mutant>,
    /// How long things go wrong.
    pub trouble: Duration,
}

/// What a cluster is like.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    pub(super) terms: Terms,
    pub(super) watchdog: bool,
    /// The device has one time, which suits the timings that this begins with alone.
    pub(super) fixed: Option<Duration>,
    pub(super) path: bool,
    pub(super) fence: bool,
    pub(super) synchronous: bool,
    /// For how long after its start a machine is young.
    pub(super) boot_dead: Duration,
    /// Parts per million by which the slewed and the raw clock of each machine err.
    pub(super) slew: i64,
    pub(super) raw: i64,
}

impl Setup {
    /// A run of forty bad seconds.
    #[must_use]
    pub fn new(seed: u64, kind: Kind) -> Self {
        Self {
            seed,
            kind,
            mutant: None,
            trouble: Duration::from_secs(40),
        }
    }

    /// The same with a rule taken away.
    #[must_use]
    pub fn without(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The cluster of this seed.
    pub(super) fn cluster(&self, random: &mut Random) -> Cluster {
        let guard = match self.kind {
            Kind::Blind | Kind::Seen | Kind::Deaths | Kind::Required => 0,
            // Each alone: one would hide what the other does not do.
            Kind::Cuts => random.below(2),
            _ => random.below(3),
        };
        let policy = match self.kind {
            Kind::Hold | Kind::Moves => ControlLoss::Hold,
            Kind::Failsafe | Kind::Joins => ControlLoss::Failsafe,
            _ => ControlLoss::Demote,
        };
        let bare = self.is(Mutant::ClaimsWatchdog);
        let pauses = self.kind == Kind::Pauses && !self.is(Mutant::AcceptsPauses);
        let timings = self.timings(random);
        let fixed = self.kind == Kind::Required
            || (self.kind == Kind::Cuts && guard == 0 && self.seed.is_multiple_of(3));
        Cluster {
            fixed: fixed.then(|| timings.watchdog()),
            terms: Terms {
                timings,
                on_control_loss: policy,
                vm_pause: if pauses {
                    VmPause::Possible
                } else {
                    VmPause::Accepted
                },
                members: (0..NODES).map(super::machine::name).collect(),
                max_lag: 20,
            },
            watchdog: guard != 1 && !bare,
            path: guard != 0 && !bare,
            fence: match self.kind {
                Kind::Usual | Kind::Failsafe => random.chance(25),
                Kind::Hold | Kind::Pauses => random.chance(70),
                _ => false,
            },
            // Who joins has everything.
            synchronous: random.chance(50) || self.kind == Kind::Joins,
            boot_dead: Duration::from_secs(self.seed % 3 * 5),
            // One clock of each machine keeps what the timings say; the other one is slewed by much more.
            slew: if random.chance(if self.kind == Kind::Cuts { 75 } else { 40 }) {
                200_000
            } else {
                50_000
            },
            raw: 50_000,
        }
    }

    fn timings(&self, random: &mut Random) -> Timings {
        if self.is(Mutant::TrustsClocks) {
            // As if clocks did not err: as short a life as the arithmetic then allows.
            let error = RateError::per_mille(0).unwrap_or(RateError::DEFAULT);
            let tight = Durations {
                life: Duration::from_millis(9550),
                rate_error: error,
                ..Profile::Conservative.durations()
            };
            return Timings::new(tight).unwrap_or_default();
        }
        let timings = Timings::of(Profile::Fast);
        if self.kind == Kind::Hiccups {
            let survives = timings.survives(Election::ETCD).is_ok();
            return if survives || self.is(Mutant::IgnoresElections) {
                timings
            } else {
                Timings::default()
            };
        }
        let often = if self.kind == Kind::Cuts { 40 } else { 15 };
        if random.chance(often) {
            Timings::default()
        } else {
            timings
        }
    }
}
